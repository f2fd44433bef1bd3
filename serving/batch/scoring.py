"""Runs the engine for many users: blocks of similar history length, answers in the order of the users.

Shape legend: P users of a part, B users of a block, L longest history of a block, I items, K recommended items.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.batch.users import UserBlock
from serving.engines.engine import Engine
from serving.engines.outputs import ALL_SCORES
from serving.export_folder import Arrays, ExportFolder, Rows
from serving.recommend.ranking import top_k

BLOCK_BYTES = 32 << 20
"""Bytes of the scores [B, I] of a block; engines hold a few arrays of this size."""
LARGEST_BLOCK = 1024
CELLS = 1 << 16
"""Largest B * L of a block: engines gather a vector for each cell of item_ids."""
SHORTEST = 16
"""Histories of up to this length may share a block, however short the shortest is."""
GROWTH = 1.25
"""In a block, the longest history has at most this many times the length of the shortest."""
COMPILED_GROWTH = 2.0
"""The same for models that XLA compiles: they pad histories to powers of two anyway."""


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Recommended items of some users, best first."""

    items: npt.NDArray[np.int32]
    """[P, K] item indices, -1 where there are no more."""
    scores: npt.NDArray[np.float32]
    """[P, K]"""
    popular: npt.NDArray[np.bool_]
    """[P] whether the items are the most popular ones, because the model cannot answer for the user."""


def largest_block(n_items: int) -> int:
    """Users whose scores take at most BLOCK_BYTES."""
    return max(1, min(LARGEST_BLOCK, BLOCK_BYTES // (4 * n_items)))


def block_bounds(lengths: npt.NDArray[np.int64], largest: int, growth: float = GROWTH) -> Iterator[tuple[int, int]]:
    """Start and end of each block.

    Args:
        lengths: [P] history lengths, ascending.
        largest: users of a block, at most.
    """
    start = 0
    while start < len(lengths):
        longest = max(int(growth * int(lengths[start])), SHORTEST)
        end = min(start + largest, int(np.searchsorted(lengths, longest, side="right")))
        # The lengths ascend, so the last user of the block has the longest history.
        while end - start > 1 and (end - start) * int(lengths[end - 1]) > CELLS:
            end = start + max(1, CELLS // int(lengths[end - 1]))
        yield start, end
        start = end


def padded(histories: Rows, rows: npt.NDArray[np.int64], padding: int, limit: int | None) -> npt.NDArray[np.int32]:
    """int32 [B, L] some histories, of each the latest `limit` items, filled up with `padding`."""
    ends = histories.indptr[rows + 1]
    lengths = ends - histories.indptr[rows]
    if limit is not None:
        lengths = np.minimum(lengths, limit)
    width = max(int(lengths.max(initial=1)), 1)
    inside = np.arange(width) < lengths[:, None]
    block = np.full((len(rows), width), padding, np.int32)
    places = np.arange(int(lengths.sum())) + np.repeat(ends - np.cumsum(lengths), lengths)
    block[inside] = histories.item_ids[places]
    return block


class Scorer:
    """Recommends items to the users of a part with an engine."""

    def __init__(
        self,
        export: ExportFolder,
        engine: Engine,
        k: int,
        *,
        history_limit: int | None = None,
        batch_limit: int | None = None,
        allowed: npt.NDArray[np.bool_] | None = None,
        popular: bool = False,
        compiled: bool = False,
    ) -> None:
        """
        Args:
            k: at most the K of the model, or I if the engine gives all scores.
            history_limit: largest number of items that the engine takes; it gets the latest ones of a longer history.
            batch_limit: largest number of users that the engine takes at once.
            allowed: [I] the items that may be recommended; None for all.
            popular: give the most popular items to users for whom the model cannot answer.
            compiled: XLA compiles the model, a program for each shape.

        Raises:
            ValueError: the model was made before models gave all scores, which these answers need.
        """
        self.engine, self._k, self._limit, self._allowed = engine, k, history_limit, allowed
        self._from_all = allowed is not None or k > export.top_k
        if self._from_all and ALL_SCORES not in engine.outputs:
            raise ValueError(
                f"--allow, --deny, --where and -k above {export.top_k} need the scores of all items, which this model "
                "does not give: an earlier version made it; train again, or convert an export of this version"
            )
        self._padding, most = export.n_items, largest_block(export.n_items)
        self._largest = min(most, batch_limit or most)
        self._growth = COMPILED_GROWTH if compiled else GROWTH
        counts = export.items["count"].to_numpy(np.float32)
        self._by_count = np.lexsort((np.arange(len(counts)), -counts)).astype(np.int32) if popular else None
        self._counts = counts

    def answers(self, users: UserBlock, report: Callable[[int], None] = lambda _: None) -> Answers:
        """The answers for users, in their order.

        Args:
            report: told the number of users of each block when it is answered.
        """
        count = len(users.ids)
        found = Answers(
            items=np.full((count, self._k), -1, np.int32),
            scores=np.full((count, self._k), -np.inf, np.float32),
            popular=np.zeros(count, np.bool_),
        )
        lengths = users.histories.lengths
        able = np.flatnonzero(users.answerable())
        order = able[np.argsort(lengths[able], kind="stable")]
        bounds = lengths[order] if self._limit is None else np.minimum(lengths[order], self._limit)
        for start, end in block_bounds(bounds, self._largest, self._growth):
            self._fill(found, users, order[start:end])
            report(end - start)
        report(count - len(able))
        if self._by_count is not None:
            self._fill_popular(found, users, np.flatnonzero(~users.answerable()))
        return found

    def _fill(self, found: Answers, users: UserBlock, rows: npt.NDArray[np.int64]) -> None:
        inputs: Arrays = {"item_ids": padded(users.histories, rows, self._padding, self._limit)}
        if users.rows is not None:
            inputs["user_ids"] = users.rows[rows]
        if self._from_all:
            scores = self.engine(inputs, (ALL_SCORES,))[ALL_SCORES]
            self._hide_cut(scores, users.histories, rows)
            found.items[rows], found.scores[rows] = top_k(scores, self._k, self._allowed)
            return
        answer = self.engine(inputs)
        items, scores = answer["items"], answer["scores"]
        if self._limit is not None:
            items, scores = self._without_seen(items, scores, users.histories, rows)
        found.items[rows], found.scores[rows] = items[:, : self._k], scores[:, : self._k]

    def _hide_cut(self, scores: npt.NDArray[np.float32], histories: Rows, rows: npt.NDArray[np.int64]) -> None:
        """Hide all items of histories that were longer than the limit: the engine hides those that it was given."""
        for place, row in enumerate(rows):
            history = histories.row(int(row))
            if self._limit is not None and len(history) > self._limit:
                scores[place, history] = -np.inf

    def _without_seen(
        self, items: npt.NDArray, scores: npt.NDArray, histories: Rows, rows: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray, npt.NDArray]:
        """Answers without the items of histories that were longer than the limit: the model saw only a part of them."""
        items, scores = items.copy(), scores.copy()
        for place, row in enumerate(rows):
            history = histories.row(int(row))
            if len(history) > (self._limit or 0):
                kept = ~np.isin(items[place], history)
                count = int(kept.sum())
                items[place], scores[place] = (
                    np.concatenate([values[place][kept], np.full(len(kept) - count, filler, values.dtype)])
                    for values, filler in ((items, -1), (scores, -np.inf))
                )
        return items, scores

    def _fill_popular(self, found: Answers, users: UserBlock, rows: npt.NDArray[np.int64]) -> None:
        assert self._by_count is not None
        for row in rows:
            taken = ~np.isin(self._by_count, users.histories.row(int(row)))
            if self._allowed is not None:
                taken &= self._allowed[self._by_count]
            allowed = self._by_count[taken][: self._k]
            found.items[row, : len(allowed)] = allowed
            found.scores[row, : len(allowed)] = self._counts[allowed]
        found.popular[rows] = True
