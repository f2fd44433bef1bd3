"""From requests to recommendations: original ids to indices, the model, what must not be shown, cold start.

Runs anywhere: in the command line, in Triton's Python backend, in tests. Batches whatever the model answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.engines.engine import Runner
from serving.export_folder import Arrays, ExportFolder
from serving.recommend.requests import Asked

MODEL, POPULAR = "model", "popular"


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """An answer, best first."""

    source: str
    """MODEL, or POPULAR where nobody and nothing known was named."""
    item_ids: npt.NDArray[np.int64]
    """[k] original ids; fewer than asked for where nothing is left."""
    titles: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    """[k] the model's scores; for POPULAR the number of users who have the item."""
    unknown: tuple[int, ...] = ()
    """Original ids that were named and are not known."""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A request in indices."""

    row: int | None
    history: npt.NDArray[np.int32]
    """What is given to the model."""
    seen: npt.NDArray[np.int32]
    """What must not come back."""
    unknown: tuple[int, ...]
    note: str


class Recommender:
    """A model of an export with everything around it that people need."""

    def __init__(self, export: ExportFolder, runner: Runner, history_limit: int | None = None) -> None:
        """
        Args:
            runner: gives items and scores for the inputs of `serving`.
            history_limit: items that the model is given at most (the first ones; all count as seen).
        """
        self._export, self._runner, self._limit = export, runner, history_limit
        items, users, self._histories = export.items, export.users, export.histories
        self._item_ids = items["item_id"].to_numpy(np.int64)
        self._titles = [t if isinstance(t, str) else "" for t in items["title"].tolist()]
        self._counts = items["count"].to_numpy(np.float32)
        self._by_count = np.lexsort((np.arange(len(items)), -self._counts)).astype(np.int32)
        self._index = {int(original): k for k, original in enumerate(self._item_ids)}
        self._row = dict(zip(users["user_id"].astype(int), users["row"].astype(int), strict=True))

    @property
    def titles(self) -> list[str]:
        """[I]"""
        return self._titles

    def original(self, indices: Sequence[int]) -> list[int]:
        """Original ids of item indices."""
        return [int(self._item_ids[k]) for k in indices]

    def _resolve(self, asked: Asked) -> _Known:
        known = [self._index[i] for i in asked.item_ids if i in self._index]
        unknown = [i for i in asked.item_ids if i not in self._index]
        note, row, own = "", None, np.zeros(0, np.int32)
        if asked.user_id is not None:
            row = self._row.get(asked.user_id)
            if row is None:
                note = f"user {asked.user_id} is not known"
            else:
                own = self._histories.row(row)
        history = np.array(list(dict.fromkeys([*own.tolist(), *known])), np.int32)
        return _Known(row=row, history=history, seen=history, unknown=tuple(unknown), note=note)

    def _can_be_asked(self, known: _Known) -> bool:
        return known.row is not None if self._export.knows_users else len(known.history) > 0

    def _answers(self, requests: Sequence[_Known]) -> Arrays:
        """One call of the model for all of them."""
        width = max(1, *(len(r.history) for r in requests))
        if self._limit is not None:
            width = min(width, self._limit)
        block = np.full((len(requests), width), self._export.n_items, np.int32)
        for k, request in enumerate(requests):
            given = request.history[:width]
            block[k, : len(given)] = given
        inputs: Arrays = {"item_ids": block}
        if self._export.knows_users:
            inputs["user_ids"] = np.array([r.row for r in requests], np.int32)
        return self._runner(inputs)

    def recommend(self, asked: Sequence[Asked]) -> list[Recommendation]:
        """Answer several requests, those that the model knows something of in one call."""
        known = [self._resolve(a) for a in asked]
        for_model = [k for k, r in enumerate(known) if self._can_be_asked(r)]
        found = self._answers([known[k] for k in for_model]) if for_model else None
        answers: list[Recommendation] = []
        for k, (request, resolved) in enumerate(zip(asked, known, strict=True)):
            if found is not None and k in for_model:
                place = for_model.index(k)
                items, scores = found["items"][place], found["scores"][place]
                answers.append(self._chosen(request, resolved, MODEL, items, scores))
            else:
                scores = self._counts[self._by_count]
                answers.append(self._chosen(request, resolved, POPULAR, self._by_count, scores))
        return answers

    def _chosen(
        self,
        asked: Asked,
        known: _Known,
        source: str,
        items: npt.NDArray[np.int32],
        scores: npt.NDArray[np.float32],
    ) -> Recommendation:
        """The first k that may be shown."""
        fit = (items >= 0) & ~np.isin(items, known.seen)
        if asked.deny:
            fit &= ~np.isin(self._item_ids[items], list(asked.deny))
        if asked.allow is not None:
            fit &= np.isin(self._item_ids[items], list(asked.allow))
        places = np.flatnonzero(fit)[: asked.k]
        notes = [known.note]
        if source == MODEL and len(places) < asked.k and (asked.deny or asked.allow is not None):
            notes.append(f"{len(places)} of {asked.k}: the lists leave no more of the model's best {len(items)}")
        elif source == MODEL and len(places) < asked.k and self._limit is not None and len(known.history) > self._limit:
            notes.append(f"{len(places)} of {asked.k}: this engine reads {self._limit} items of a history")
        if source == POPULAR and self._export.knows_users and asked.item_ids:
            notes.append("this model knows users, not histories")
        chosen = items[places]
        return Recommendation(
            source=source,
            item_ids=self._item_ids[chosen],
            titles=tuple(self._titles[k] for k in chosen),
            scores=scores[places].astype(np.float32),
            unknown=known.unknown,
            note="; ".join(n for n in notes if n),
        )
