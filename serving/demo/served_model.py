"""An export with its engine, as the page asks it: recommendations with reasons and novelty, and similar items.

Shape legend: I items, k recommended items, L items of a history.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.demo.parameters import BadRequest
from serving.engines.engine import Engine
from serving.engines.outputs import ALL_SCORES
from serving.export_folder import ExportFolder
from serving.histories.store import HistoryStore
from serving.ids import Id, IdTypes
from serving.reasons.explainer import Explainer, why_not
from serving.recommend import ranking
from serving.recommend.answers import ERROR, MODEL, POPULAR
from serving.recommend.known_users import types_of_users
from serving.recommend.recommender import Recommender
from serving.recommend.requests import RequestError, check_request
from serving.similar.finder import SimilarItems

Check = Callable[[], None]
"""Raises an exception when a request has taken too long."""
REASONS = 3
"""Largest number of items of the history that are named with a recommended item."""
RANKED_ANEW = 200
"""Number of the model's best items that novelty ranks anew."""
CARD = "MODEL_CARD.html"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The recommendations of one request."""

    source: str
    """MODEL or POPULAR, as in `Recommendation`."""
    items: npt.NDArray[np.int32]
    """[k] indices, best first."""
    scores: npt.NDArray[np.float32]
    """[k] the model's own scores, before novelty is added."""
    reasons: Sequence[Sequence[tuple[int, float]]]
    """[k] for each item: items of the history, and how much lower it would score without each."""
    notes: Sequence[str]


class ServedModel:
    """A model that the page shows."""

    def __init__(
        self,
        name: str,
        export: ExportFolder,
        engine: Engine,
        *,
        history_limit: int | None = None,
        store: HistoryStore | None = None,
    ) -> None:
        """
        Args:
            name: shown to people.
            history_limit: largest number of items that the engine takes.
            store: of the histories of this model's users; None if they are not known.
        """
        self.name, self.export = name, export
        self._engine, self._limit, self._store = engine, history_limit, store
        self.no_reasons = why_not(export, engine)
        self._explainer = None if self.no_reasons else Explainer(export, engine, history_limit)
        self.ids = [str(i) for i in export.item_ids.tolist()]
        self.index_of = {text: k for k, text in enumerate(self.ids)}
        self.counts = export.items["count"].to_numpy(np.float32)
        try:
            self._similar: SimilarItems | None = SimilarItems(export, lambda: engine)
        except ValueError as error:
            self._similar, self.no_similar = None, str(error)

    @property
    def needs_user(self) -> bool:
        """Whether the model ranks items for the users that it was trained on only."""
        return self.export.knows_users

    @property
    def has_similar(self) -> bool:
        return self._similar is not None

    @property
    def gives_all_scores(self) -> bool:
        return ALL_SCORES in self._engine.outputs

    @cached_property
    def _recommender(self) -> Recommender:
        return Recommender(self.export, self._engine, self._limit, self._store)

    @property
    def user_types(self) -> IdTypes:
        """The types of the ids of users and items."""
        return types_of_users(self.export, self._store)

    @cached_property
    def information(self) -> npt.NDArray[np.float32]:
        """[I] self-information in bits: how many times the most popular item's users were halved to get the item's.

        An item without users counts as if one had it.
        """
        users = np.maximum(self.counts, 1)
        return np.log2(users.max(initial=1) / users).astype(np.float32)

    def known(self, ids: Sequence[str]) -> tuple[npt.NDArray[np.int32], int]:
        """Indices of the known ones of these items, and the number of the others."""
        found = [self.index_of[i] for i in ids if i in self.index_of]
        return np.array(found, np.int32), len(ids) - len(found)

    def recommend(
        self, ids: Sequence[str], user: Id | None, *, k: int, novelty: float, reasons: bool, check: Check
    ) -> Answer:
        """Recommendations for items that somebody likes.

        Args:
            ids: of the items, as text, the latest last.
            user: for a model that ranks items for its own users.
            novelty: from 0 to 1, see `_ranked`.
            reasons: whether to find the reasons too.
            check: called before each call of the engine.
        """
        history, unknown = self.known(ids)
        notes = [f"{unknown} of the items are not known to this model"] if unknown else []
        check()
        source, scores, note = self._scores(history, user)
        notes += [note] if note else []
        items = self._ranked(scores, k, novelty)
        found: Sequence[Sequence[tuple[int, float]]] = [[] for _ in items]
        if reasons and source == MODEL and self._explainer is not None:
            all_reasons = self._explainer.explain(history, items, check)
            found = [all_reasons.strongest(place, REASONS) for place in range(len(items))]
        elif reasons and source == MODEL and self.no_reasons:
            notes.append(self.no_reasons)
        return Answer(source=source, items=items, scores=scores[items], reasons=found, notes=notes)

    def _scores(self, history: npt.NDArray[np.int32], user: Id | None) -> tuple[str, npt.NDArray[np.float32], str]:
        """The source, the scores [I] (minus infinity for items that are not recommended), and a note."""
        if self.needs_user:
            return self._scores_of_user(history, user)
        if not len(history):
            return POPULAR, self._popular(history), ""
        item_ids = (history if self._limit is None else history[-self._limit :])[None, :]
        if self.gives_all_scores:
            scores = np.array(self._engine({"item_ids": item_ids}, (ALL_SCORES,))[ALL_SCORES][0], np.float32)
        else:
            answer = self._engine({"item_ids": item_ids})
            scores = self._filled(answer["items"][0], answer["scores"][0])
        scores[history] = -np.inf
        return MODEL, scores, ""

    def _scores_of_user(
        self, history: npt.NDArray[np.int32], user: Id | None
    ) -> tuple[str, npt.NDArray[np.float32], str]:
        if user is None:
            return POPULAR, self._popular(history), "this model ranks items for its own users: choose a user"
        try:
            k = min(self._recommender.largest_k, RANKED_ANEW)
            request = check_request(user_id=user, k=k, top_k=k, id_types=self.user_types)
        except RequestError as error:
            raise BadRequest(str(error)) from None
        (found,) = self._recommender.recommend([request])
        if found.source == ERROR:
            raise BadRequest(found.note)
        scores = self._filled(found.indices, found.scores)
        scores[history] = -np.inf
        return found.source, scores, found.note

    def _popular(self, history: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        scores = self.counts.copy()
        scores[history] = -np.inf
        return scores

    def _filled(self, items: npt.NDArray[np.int32], scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Scores [I] where an engine gives only its best items: minus infinity for the others."""
        every = np.full(self.export.n_items, -np.inf, np.float32)
        every[items[items >= 0]] = scores[items >= 0]
        return every

    def _ranked(self, scores: npt.NDArray[np.float32], k: int, novelty: float) -> npt.NDArray[np.int32]:
        """Indices of the k best items. With novelty, the model's best are ranked anew by score + weight · information.

        Both are taken in standard deviations among these items, since every model has a scale of its own: with the
        weight 1, one standard deviation of self-information counts as much as one of the scores.

        Args:
            novelty: the weight.
        """
        best, own = (found[0] for found in ranking.top_k(scores[None, :], max(k, RANKED_ANEW) if novelty else k))
        best, own = best[best >= 0], own[best >= 0]
        if not novelty or not len(best):
            return best[:k]
        information = self.information[best]
        spread, of_information = own.std(), information.std()
        weight = novelty * spread / of_information if of_information > 0 else 0.0
        return best[np.argsort(-(own + weight * information), kind="stable")[:k]]

    def similar(self, item: int, k: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]:
        """The most similar items to one, and their similarities.

        Raises:
            BadRequest: the export cannot tell.
        """
        if self._similar is None:
            raise BadRequest(self.no_similar)
        return self._similar.find(item, min(k, self._similar.largest_k))

    def described(self, item: int) -> dict[str, Any]:
        """An item, as the API shows it."""
        return {"id": self.ids[item], "title": self.export.titles[item], "users": int(self.counts[item])}

    @property
    def card(self) -> bytes | None:
        """The page of the model card; None if the export has none."""
        path = self.export.folder / CARD
        return path.read_bytes() if path.is_file() else None
