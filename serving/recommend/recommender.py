"""Answers requests: maps original ids to indices, runs the model, and removes items that must not be recommended.

A request without a known user or item gets the most popular items. The command line and Triton's Python backend use the
same class. Shape legend: I items, B requests in a batch, L history length, k recommended items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.engines.engine import Engine
from serving.export_folder import Arrays, ExportFolder, Id
from serving.histories.store import HistoryStore
from serving.recommend.known_users import NOBODY, KnownUser, KnownUsers, find_store
from serving.recommend.requests import Request

MODEL, POPULAR = "model", "popular"


@dataclass(frozen=True, kw_only=True)
class Recommendation:
    """The answer to a request, best item first."""

    source: str
    """MODEL, or POPULAR if the request holds no known user and no known item."""
    item_ids: npt.NDArray
    """[k] original ids (int64, or str in an object array); fewer than requested if no more items are allowed."""
    titles: tuple[str, ...]
    scores: npt.NDArray[np.float32]
    """[k] scores of the model; for POPULAR, the number of users who have the item."""
    unknown: tuple[Id, ...] = ()
    """Original ids and titles of the request that are not known."""
    note: str = ""
    """Why the answer is short, or why the model was not used."""


@dataclass(frozen=True, kw_only=True)
class _ResolvedRequest:
    """A request with its ids mapped to indices."""

    row: int | None
    """Row of the user; None if the request names none or it is not known."""
    history: npt.NDArray[np.int32]
    """Indices of the user's items and of the items in the request. They are not recommended."""
    unknown: tuple[Id, ...]
    note: str


class Recommender:
    """Answers requests with an engine, the items and titles of an export, and the histories of a store."""

    def __init__(
        self,
        export: ExportFolder,
        engine: Engine,
        history_limit: int | None = None,
        store: HistoryStore | None = None,
        *,
        popular_if_down: bool = False,
    ) -> None:
        """
        Args:
            engine: runs the signature `serving` or one with the same inputs.
            history_limit: largest number of items that the engine takes; it gets the first ones of a longer history.
            store: the histories of users; None for the users of the export or those of its data set, if it has any.
            popular_if_down: answer requests that name a user with popular items while the store is down.
        """
        self._export, self._engine, self._limit = export, engine, history_limit
        items, store = export.items, store if store is not None else find_store(export, None)
        self._users = KnownUsers(export, store, popular_if_down=popular_if_down)
        self._item_ids, self._titles = export.item_ids, export.titles
        self._counts = items["count"].to_numpy(np.float32)
        self._by_count = np.lexsort((np.arange(len(items)), -self._counts)).astype(np.int32)
        self._index: dict[Id, int] = {original: k for k, original in enumerate(self._item_ids.tolist())}

    def _indices(self, ids: Iterable[Id]) -> npt.NDArray[np.int32]:
        """Indices of the known ones of these items."""
        return np.array([self._index[i] for i in ids if i in self._index], np.int32)

    def _resolve(self, request: Request, user: KnownUser = NOBODY) -> _ResolvedRequest:
        known = [self._index[i] for i in (*user.items, *request.item_ids) if i in self._index]
        unknown = [*request.unknown_titles, *(i for i in request.item_ids if i not in self._index)]
        history = np.array(list(dict.fromkeys(known)), np.int32)
        return _ResolvedRequest(row=user.row, history=history, unknown=tuple(unknown), note=user.note)

    def _model_applies(self, resolved: _ResolvedRequest) -> bool:
        """Whether the model can answer: NCF needs a known user, VAE-CF a history."""
        return resolved.row is not None if self._export.knows_users else len(resolved.history) > 0

    def _run_engine(self, batch: Sequence[_ResolvedRequest]) -> Arrays:
        """items and scores [B, K] of the model, by one call of the engine."""
        width = max(1, *(len(r.history) for r in batch))
        if self._limit is not None:
            width = min(width, self._limit)
        item_ids = np.full((len(batch), width), self._export.n_items, np.int32)
        for k, resolved in enumerate(batch):
            history = resolved.history[:width]
            item_ids[k, : len(history)] = history
        inputs: Arrays = {"item_ids": item_ids}
        if self._export.knows_users:
            inputs["user_ids"] = np.array([r.row for r in batch], np.int32)
        return self._engine(inputs)

    def recommend(self, requests: Sequence[Request]) -> list[Recommendation]:
        """Answer requests. One call of the engine answers all to which the model applies; the others get POPULAR."""
        users = self._users.find([request.user_id for request in requests])
        resolved = [self._resolve(request, user) for request, user in zip(requests, users, strict=True)]
        for_model = [k for k, r in enumerate(resolved) if self._model_applies(r)]
        place_of = {k: place for place, k in enumerate(for_model)}
        found = self._run_engine([resolved[k] for k in for_model]) if for_model else None
        answers: list[Recommendation] = []
        for k, request in enumerate(requests):
            if found is not None and k in place_of:
                items, scores = found["items"][place_of[k]], found["scores"][place_of[k]]
                answers.append(self._select(request, resolved[k], MODEL, items, scores))
            else:
                scores = self._counts[self._by_count]
                answers.append(self._select(request, resolved[k], POPULAR, self._by_count, scores))
        return answers

    def _select(
        self,
        request: Request,
        resolved: _ResolvedRequest,
        source: str,
        items: npt.NDArray[np.int32],
        scores: npt.NDArray[np.float32],
    ) -> Recommendation:
        """The first `request.k` of the items that the request allows and the history does not hold."""
        allowed = (items >= 0) & ~np.isin(items, resolved.history)
        if request.deny:
            allowed &= ~np.isin(items, self._indices(request.deny))
        if request.allow is not None:
            allowed &= np.isin(items, self._indices(request.allow))
        places = np.flatnonzero(allowed)[: request.k]
        selected = items[places]
        notes = (resolved.note, self._shortfall_note(request, resolved, source, len(places), len(items)))
        return Recommendation(
            source=source,
            item_ids=self._item_ids[selected],
            titles=tuple(self._titles[k] for k in selected),
            scores=scores[places].astype(np.float32),
            unknown=resolved.unknown,
            note="; ".join(n for n in notes if n),
        )

    def _shortfall_note(
        self, request: Request, resolved: _ResolvedRequest, source: str, found: int, considered: int
    ) -> str:
        """Why the answer has fewer items than requested, or does not come from the model; else "".

        Args:
            found: number of items in the answer.
            considered: number of items that the model returned.
        """
        if source == POPULAR:
            only_users = self._export.knows_users and request.item_ids
            return "this model ranks items for its known users only, not from a list of items" if only_users else ""
        if found >= request.k:
            return ""
        if request.deny or request.allow is not None:
            return f"{found} of {request.k}: the lists leave no more of the model's best {considered}"
        if self._limit is not None and len(resolved.history) > self._limit:
            return f"{found} of {request.k}: this engine reads {self._limit} items of a history"
        return ""
