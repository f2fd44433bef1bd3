"""The API of the page: what each request of /api/ answers. It knows nothing of HTTP.

GET /api/models                                   the models, limits, and popular items to start with
GET /api/complete?text=T                          items whose title or id holds a text
GET /api/items?item=ID&item=ID...                 the items with these ids; unknown ones are left out
GET /api/history?user=U                           the items of a user of the store
GET /api/recommend?model=M&item=ID&item=ID...     recommendations; also user=U, k=10, novelty=0 (to 1), why=1
GET /api/similar?model=M&item=ID                  similar items; also k=10

Ids are text in every answer: the numbers of JavaScript hold 15 digits, ids have up to 19.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from serving.demo.completion import Completion
from serving.demo.parameters import MAX_HISTORY, MAX_ID, MAX_K, MAX_TEXT, BadRequest, Parameters, shortened
from serving.demo.served_model import Check, ServedModel
from serving.histories.store import HistoryStore
from serving.ids import Id, IdTypes

COMPLETIONS = 10
POPULAR = 10
"""Number of popular items to start with."""
Method = Callable[[Parameters, Check], dict[str, Any]]
FLAGS = {"0": False, "1": True}


class Api:
    """Answers the requests of the page."""

    def __init__(self, models: Sequence[ServedModel], store: HistoryStore | None = None) -> None:
        """
        Args:
            models: the first one's items are those that a person can choose.
            store: of the users whose histories may be asked for; None: nobody's.
        """
        self.models, self._store = list(models), store
        first = models[0]
        names = [title or id_ for title, id_ in zip(first.export.titles, first.ids, strict=True)]
        self._completion = Completion(names, first.ids, first.counts)

    @cached_property
    def methods(self) -> Mapping[str, tuple[Method, tuple[str, ...]]]:
        """Name below /api/ -> the method and the parameters that it takes."""
        return {
            "models": (self._models, ()),
            "complete": (self._complete, ("text",)),
            "items": (self._items, ("item",)),
            "history": (self._history, ("user",)),
            "recommend": (self._recommend, ("model", "item", "user", "k", "novelty", "why")),
            "similar": (self._similar, ("model", "item", "k")),
        }

    def _model(self, parameters: Parameters) -> ServedModel:
        return self.models[parameters.whole("model", 0, len(self.models) - 1)]

    def _models(self, parameters: Parameters, check: Check) -> dict[str, Any]:
        del parameters, check
        first = self.models[0]
        return {
            "models": [self._about(number) for number in range(len(self.models))],
            "popular": [first.described(k) for k in (-first.counts).argsort(kind="stable")[:POPULAR].tolist()],
            "users": self._store is not None,
            "limits": {"history": MAX_HISTORY, "k": MAX_K},
        }

    def _about(self, number: int) -> dict[str, Any]:
        model = self.models[number]
        settings = model.export.content["model"]
        return {
            "model": number,
            "name": model.name,
            "family": settings["package"],
            "kind": settings.get("kind"),
            "items": model.export.n_items,
            "needs_user": model.needs_user,
            "similar": model.has_similar,
            "no_reasons": model.no_reasons,
            "largest_k": MAX_K if model.gives_all_scores else min(MAX_K, model.export.top_k),
            "metrics": {
                name: {part: value.get(part) for part in ("mean", "standard_error")}
                for name, value in model.export.test_metrics.items()
            },
            "card": model.card is not None,
        }

    def _complete(self, parameters: Parameters, check: Check) -> dict[str, Any]:
        del check
        found = self._completion(parameters.text("text", MAX_TEXT), COMPLETIONS)
        return {"items": [self.models[0].described(k) for k in found]}

    def _items(self, parameters: Parameters, check: Check) -> dict[str, Any]:
        del check
        first = self.models[0]
        return {"items": [first.described(k) for k in first.known(parameters.ids("item"))[0].tolist()]}

    @staticmethod
    def _user(text: str, types: IdTypes | None) -> Id:
        """The id of a user, in its own type."""
        if types is None or types.user is str:
            return text
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 19 and -(2**63) <= int(text) < 2**63):
            raise BadRequest(f"user is {shortened(text)}, expected a whole number of at most 19 digits")
        return int(text)

    def _history(self, parameters: Parameters, check: Check) -> dict[str, Any]:
        if self._store is None:
            raise BadRequest("this page knows no users; start it with --store or --data")
        check()
        user = self._user(parameters.text("user", MAX_ID), self._store.id_types)
        (found,) = self._store.histories([user])
        if found is None:
            raise BadRequest(f"user {shortened(str(user))} is not known")
        first = self.models[0]
        known, _ = first.known([str(i) for i in found])
        return {"items": [first.described(k) for k in known[-MAX_HISTORY:].tolist()], "all": len(found)}

    def _recommend(self, parameters: Parameters, check: Check) -> dict[str, Any]:
        model = self._model(parameters)
        user = parameters.text("user", MAX_ID, "")
        why = parameters.text("why", 1, "0")
        if why not in FLAGS:
            raise BadRequest(f"why is {shortened(why)}, expected 0 or 1")
        answer = model.recommend(
            parameters.ids("item"),
            self._user(user, model.user_types) if user else None,
            k=parameters.whole("k", 1, MAX_K, 10),
            novelty=parameters.share("novelty"),
            reasons=FLAGS[why],
            check=check,
        )
        rows = zip(answer.items.tolist(), answer.scores.tolist(), answer.reasons, strict=True)
        return {
            "model": self.models.index(model),
            "source": answer.source,
            "notes": list(answer.notes),
            "items": [
                {
                    "rank": rank,
                    **model.described(item),
                    "score": round(score, 6),
                    "novelty": round(float(model.information[item]), 3),
                    "reasons": [{**model.described(i), "lower_by": round(by, 6)} for i, by in reasons],
                }
                for rank, (item, score, reasons) in enumerate(rows, 1)
            ],
        }

    def _similar(self, parameters: Parameters, check: Check) -> dict[str, Any]:
        model, item = self._model(parameters), parameters.text("item", MAX_ID)
        if item not in model.index_of:
            raise BadRequest(f"item {shortened(item)} is not known to this model")
        k = parameters.whole("k", 1, MAX_K, 10)
        check()
        index = model.index_of[item]
        items, scores = model.similar(index, k)
        return {
            "model": self.models.index(model),
            "to": model.described(index),
            "items": [
                {"rank": rank, **model.described(int(i)), "score": round(float(score), 6)}
                for rank, (i, score) in enumerate(zip(items, scores, strict=True), 1)
            ],
        }
