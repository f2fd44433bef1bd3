"""Answers requests: maps original ids to indices, runs the model, and leaves out what must not be recommended.

A request that only asks for a model's best items gets the top-k of the model's graph. One with constraints (allowed
items, a filter, more denied items or a larger k than that top-k covers) gets the best of the scores of all items, so
that no answer is shorter than the number of items that are allowed. A request without a known user or item gets the
most popular items, under the same constraints. The command line and Triton's Python backend use the same class.

Shape legend: I items, B requests in a batch, L history length, k recommended items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from serving.engines.engine import Engine
from serving.engines.outputs import ALL_SCORES, RANKED
from serving.export_folder import Arrays, ExportFolder, Id
from serving.histories.store import HistoryStore
from serving.recommend.answers import ERROR, MODEL, POPULAR, Recommendation, shortfall_note
from serving.recommend.item_table import item_table
from serving.recommend.known_users import NOBODY, KnownUser, KnownUsers, find_store
from serving.recommend.ranking import top_k
from serving.recommend.requests import Request, RequestError
from serving.recommend.where import ItemFilter

__all__ = ["ERROR", "MODEL", "POPULAR", "Recommendation", "Recommender"]
SCORES_AT_ONCE = 1 << 24
"""Scores of all items that one call of the engine gives: 64 MiB."""
OLD_MODEL = (
    "this model does not give the scores of all items; convert it again (or train again, if its export is older)"
)

Ranked = tuple[npt.NDArray[np.int32], npt.NDArray[np.float32]]
"""Items and scores of an answer, best first."""


@dataclass(frozen=True, kw_only=True)
class _Resolved:
    """A request with its ids mapped to indices."""

    request: Request
    row: int | None
    """Row of the user; None if the request names none or it is not known."""
    history: npt.NDArray[np.int32]
    """Indices of the user's items and of the items in the request, the latest last. They are not recommended."""
    allowed: npt.NDArray[np.bool_] | None
    """[I] the items that may be recommended; None for all."""
    denied: int
    """Known items that the request denies."""
    chooses: bool
    """Whether the request names the items that it allows, or a filter."""
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
        item_filter: ItemFilter | None = None,
    ) -> None:
        """
        Args:
            engine: runs the signature `serving` or one with the same inputs.
            history_limit: largest number of items that the engine takes; it gets the latest ones of a longer history.
            store: the histories of users; None for the users of the export or those of its data set, if it has any.
            popular_if_down: answer requests that name a user with popular items while the store is down.
            item_filter: evaluates `Request.where`; None for one of the columns of the export's items.
        """
        self._export, self._engine, self._limit = export, engine, history_limit
        items, store = export.items, store if store is not None else find_store(export, None)
        self._users = KnownUsers(export, store, popular_if_down=popular_if_down)
        self._item_ids, self._titles = export.item_ids, export.titles
        self._counts = items["count"].to_numpy(np.float32)
        self._index: dict[Id, int] = {original: k for k, original in enumerate(self._item_ids.tolist())}
        self._given_filter = item_filter

    @property
    def gives_all_scores(self) -> bool:
        """Whether constrained requests can be answered in full. Models made by earlier versions cannot do it."""
        return ALL_SCORES in self._engine.outputs

    @property
    def largest_k(self) -> int:
        """Items that an answer may hold."""
        return self._export.n_items if self.gives_all_scores else self._export.top_k

    @cached_property
    def item_filter(self) -> ItemFilter:
        return self._given_filter or ItemFilter(item_table(self._export))

    def _indices(self, ids: Iterable[Id]) -> npt.NDArray[np.int32]:
        """Indices of the known ones of these items."""
        return np.array([self._index[i] for i in ids if i in self._index], np.int32)

    def _resolve(self, request: Request, user: KnownUser = NOBODY) -> _Resolved:
        """
        Args:
            user: what is known of the user of the request.

        Raises:
            RequestError: the filter is none, or k is above what this model can give.
        """
        if request.k > self.largest_k:
            raise RequestError(f"k is {request.k}, expected a whole number from 1 to {self.largest_k}: {OLD_MODEL}")
        unknown = [*request.unknown_titles, *(i for i in request.item_ids if i not in self._index)]
        history = self._indices((*user.items, *request.item_ids)).tolist()
        latest_first = dict.fromkeys(reversed(history))  # an item counts where it stands last
        denied = self._indices(request.deny)
        return _Resolved(
            request=request,
            row=user.row,
            history=np.array([*reversed(latest_first)], np.int32),
            allowed=self._allowed(request, denied),
            denied=len(denied),
            chooses=request.allow is not None or bool(request.where),
            unknown=tuple(unknown),
            note=user.note,
        )

    def _allowed(self, request: Request, denied: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_] | None:
        """[I] the items that the request allows; None for all."""
        if request.allow is None and not request.where and not len(denied):
            return None
        allowed = np.ones(self._export.n_items, bool)
        if request.allow is not None:
            allowed[:] = False
            allowed[self._indices(request.allow)] = True
        if request.where:
            allowed &= self.item_filter.mask(request.where)
        allowed[denied] = False
        return allowed

    def _model_applies(self, resolved: _Resolved) -> bool:
        """Whether the model can answer: NCF needs a known user, VAE-CF a history."""
        return resolved.row is not None if self._export.knows_users else len(resolved.history) > 0

    def _cut(self, resolved: _Resolved) -> int:
        """Items of the history that the engine does not get."""
        return 0 if self._limit is None else max(0, len(resolved.history) - self._limit)

    def _ranks_enough(self, resolved: _Resolved) -> bool:
        """Whether the top-k of the model's graph surely holds the answer, or nothing better is to be had."""
        if not self.gives_all_scores:
            return True
        needed = resolved.request.k + resolved.denied + self._cut(resolved)
        return not resolved.chooses and needed <= self._export.top_k

    def _run_engine(self, batch: Sequence[_Resolved], outputs: Sequence[str]) -> Arrays:
        """Outputs of the model, by one call of the engine."""
        width = max(1, *(len(r.history) - self._cut(r) for r in batch))
        item_ids = np.full((len(batch), width), self._export.n_items, np.int32)
        for k, resolved in enumerate(batch):
            history = resolved.history[self._cut(resolved) :]
            item_ids[k, : len(history)] = history
        inputs: Arrays = {"item_ids": item_ids}
        if self._export.knows_users:
            inputs["user_ids"] = np.array([r.row for r in batch], np.int32)
        return self._engine(inputs, outputs)

    def _by_graph(self, batch: Sequence[_Resolved]) -> list[Ranked]:
        """The answers that the model's own top-k holds."""
        found = self._run_engine(batch, RANKED)
        answers = []
        for resolved, items, scores in zip(batch, found["items"], found["scores"], strict=True):
            kept = (items >= 0) & ~np.isin(items, resolved.history)
            if resolved.allowed is not None:
                kept &= resolved.allowed[items]
            places = np.flatnonzero(kept)[: resolved.request.k]
            answers.append((items[places], scores[places]))
        return answers

    def _by_all_scores(self, batch: Sequence[_Resolved]) -> list[Ranked]:
        """The answers that the scores of all items give."""
        answers: list[Ranked] = []
        size = max(1, SCORES_AT_ONCE // self._export.n_items)
        for start in range(0, len(batch), size):
            part = batch[start : start + size]
            scores = self._run_engine(part, (ALL_SCORES,))[ALL_SCORES]
            answers += [self._best(resolved, own) for resolved, own in zip(part, scores, strict=True)]
        return answers

    def _best(self, resolved: _Resolved, scores: npt.NDArray[np.float32]) -> Ranked:
        """The best of scores [I], which are written to, that the request allows and the user does not have."""
        scores[resolved.history] = -np.inf
        items, best = top_k(scores[None], resolved.request.k, resolved.allowed)
        found = int((items[0] >= 0).sum())
        return items[0, :found], best[0, :found]

    def recommend(self, requests: Sequence[Request | RequestError]) -> list[Recommendation]:
        """Answer requests. Those to which the model applies share a call of the engine; the others get POPULAR.

        A request that cannot be answered gets ERROR and takes nothing from the others. A RequestError stands for one
        that could not be read.

        Raises:
            StoreUnavailableError: a request names a user, and the store is down.
        """
        answers: dict[int, Recommendation] = {}
        groups: dict[str, list[tuple[int, _Resolved]]] = {"graph": [], "all": [], POPULAR: []}
        users = self._users.find([r.user_id if isinstance(r, Request) else None for r in requests])
        for k, (request, user) in enumerate(zip(requests, users, strict=True)):
            try:
                if isinstance(request, RequestError):
                    raise request
                resolved = self._resolve(request, user)
            except RequestError as error:
                answers[k] = self._error(error)
                continue
            way = POPULAR if not self._model_applies(resolved) else "graph" if self._ranks_enough(resolved) else "all"
            groups[way].append((k, resolved))
        ways = (("graph", self._by_graph), ("all", self._by_all_scores), (POPULAR, self._by_count))
        for way, rank in ways:
            if group := groups[way]:
                found = rank([resolved for _, resolved in group])
                source = POPULAR if way == POPULAR else MODEL
                for (k, resolved), ranked in zip(group, found, strict=True):
                    answers[k] = self._answer(resolved, source, ranked)
        return [answers[k] for k in range(len(requests))]

    def _by_count(self, batch: Sequence[_Resolved]) -> list[Ranked]:
        """The most popular items."""
        return [self._best(resolved, self._counts.copy()) for resolved in batch]

    def _answer(self, resolved: _Resolved, source: str, ranked: Ranked) -> Recommendation:
        items, scores = ranked
        notes = (resolved.note, *self._notes(resolved, source, len(items)))
        return Recommendation(
            source=source,
            item_ids=self._item_ids[items],
            titles=tuple(self._titles[k] for k in items),
            scores=scores.astype(np.float32),
            unknown=resolved.unknown,
            note="; ".join(n for n in notes if n),
        )

    def _error(self, error: RequestError) -> Recommendation:
        empty = np.zeros(0, np.float32)
        return Recommendation(source=ERROR, item_ids=self._item_ids[:0], titles=(), scores=empty, note=str(error))

    def _notes(self, resolved: _Resolved, source: str, found: int) -> Iterable[str]:
        """Why the answer does not come from the model, or not from all of the history, or has fewer items."""
        request = resolved.request
        if source == POPULAR and self._export.knows_users and request.item_ids:
            yield "this model ranks items for its known users only, not from a list of items"
        if source == MODEL and not self._export.knows_users and (cut := self._cut(resolved)):
            seen = len(resolved.history)
            yield f"this engine reads the latest {seen - cut:,} of the {seen:,} items of the history"
        if found >= request.k:
            return
        if source == MODEL and not self.gives_all_scores and self._may_be_incomplete(resolved):
            yield f"{found} of {request.k}, from the model's best {self._export.top_k} only: {OLD_MODEL}"
            return
        fitting = None if resolved.allowed is None else int(resolved.allowed.sum())
        yield shortfall_note(request, found, seen=len(resolved.history), fitting=fitting, n_items=self._export.n_items)

    def _may_be_incomplete(self, resolved: _Resolved) -> bool:
        return resolved.allowed is not None or self._cut(resolved) > 0
