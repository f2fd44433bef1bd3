"""Ranking held-out users on the device: the data lie there, XLA computes scores and metrics, one result comes back.

TensorFlow's TopK stays between the compiled programs, because XLA sorts whole rows.

Shape legend: S held-out users, U those of one rank, I items, G blocks, P users of a block, M chunks of a block, W chunk
width, C candidates, K depth of the lists, L depth of the lists that the host needs, D per-user metrics, V metrics of
the system.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core import numerics
from recsys_core.compiled import HIDDEN, best_of_groups, in_groups, widened
from recsys_core.evaluation.auc import auc, auc_among_candidates
from recsys_core.evaluation.metrics import Columns, hits_among_candidates, values
from recsys_core.input.batches import without_repeats
from recsys_core.input.chunks import DATA_SHARE, GROWTH, WIDTH, HistoryPart, chunk_table, chunked, size_from
from recsys_core.matrices import Csr, HeldOut
from recsys_core.world import World
from recsys_core.xla import compiled

MOST_USERS = 2048
"""Users of a block at most, so that ranks share the blocks."""
SMALLEST_CHUNKS = 16
"""Numbers of chunks are rounded up from here, so that the sets of a data set share one compiled program."""


class CompiledScorer(Protocol):
    """The part of a `Recommender` that evaluation on the device asks."""

    has_compiled_step: bool

    @property
    def score_bytes(self) -> int:
        """Bytes of the arrays that scoring one user takes."""
        ...

    def part_scores(self, part: HistoryPart) -> tf.Tensor:
        """[P, I] float32 scores of every item."""
        ...

    def part_candidate_scores(self, part: HistoryPart, candidates: tf.Tensor) -> tf.Tensor:
        """[P, C] float32 scores of int32 candidates [P, C]."""
        ...


class Block(NamedTuple):
    """Held-out users on the device. In a set of blocks every field has one more axis [G] before the others."""

    users: tf.Tensor
    """[P] int64 row in the held-out matrices, -1 where there is no user."""
    train_rows: tf.Tensor
    """[P] int64 row in the training matrix, -1 for users that the model was not trained on."""
    counts: tf.Tensor
    """[P] float32 known items of each user."""
    relevant: tf.Tensor
    """[P] int64 items to be found."""
    items: tf.Tensor
    """[M, W] int64 known items, filled up with I."""
    rows: tf.Tensor
    """[M] int64 the user of each chunk of known items, P where there is no chunk."""
    wanted: tf.Tensor
    """[M', W] int64 items to be found, filled up with I."""
    wanted_rows: tf.Tensor
    """[M'] int64"""
    candidates: tf.Tensor
    """[P, C] int64 the item to be found, then others; -1 where there is none. C may be 0."""

    @property
    def history(self) -> HistoryPart:
        """What the model scores."""
        return HistoryPart(
            train_rows=self.train_rows,
            counts=self.counts,
            items=tf.cast(self.items, tf.int32),
            rows=tf.cast(self.rows, tf.int32),
        )


def _chunks(matrix: Csr, places: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The rows [G, P] of a matrix (-1 where there is none): their chunks [G, M, W], and the user of each [G, M]."""
    table = chunk_table(matrix, resident_bytes=0)
    parts = [chunked(table, row, len(row), 1, SMALLEST_CHUNKS) for row in places]
    size = size_from(max(chunks.shape[1] for _, chunks, _ in parts), SMALLEST_CHUNKS)
    items = np.full((len(places), size, WIDTH), matrix.n_items, np.int64)
    rows = np.full((len(places), size), places.shape[1], np.int64)
    for k, (_, chunks, owners) in enumerate(parts):
        items[k, : chunks.shape[1]], rows[k, : owners.shape[1]] = chunks[0], owners[0]
    return items, rows


def blocks_of(held_out: HeldOut, world: World, size: int) -> Block | None:
    """This rank's blocks, as arrays [G, ...]; None where it has none. Blocks are cut the same way in any world.

    Args:
        size: P
    """
    count = math.ceil(held_out.n_users / size)
    places = np.full(count * size, -1, np.int64)
    places[: held_out.n_users] = np.arange(held_out.n_users)
    places = places.reshape(count, size)[world.rank :: world.size]
    if not len(places):
        return None
    real = places >= 0
    known, wanted = held_out.fold_in, held_out.fold_out
    train_rows = np.full(places.shape, -1) if held_out.train_rows is None else held_out.train_rows[places]
    candidates = np.empty((*places.shape, 0), np.int64)
    if held_out.candidates is not None:
        mine = without_repeats(np.asarray(held_out.candidates[places.ravel()]))
        candidates = mine.reshape(*places.shape, -1).astype(np.int64)
    return Block(
        places,
        np.where(real, train_rows, -1).astype(np.int64),
        np.where(real, np.diff(known.indptr)[places], 0).astype(np.float32),
        np.where(real, np.diff(wanted.indptr)[places], 0).astype(np.int64),
        *_chunks(known, places),
        *_chunks(wanted, places),
        candidates,
    )


def users_at_once(bytes_of_user: int, budget: float, users: int) -> int:
    """P: users whose scores fit a budget of bytes, as even as the blocks can be."""
    most = min(MOST_USERS, max(1, int(budget // max(bytes_of_user, 1))))
    return max(1, math.ceil(users / math.ceil(max(users, 1) / most)))


def fits(held_out: HeldOut, budget: float) -> bool:
    """Whether the held-out data may lie on the device beside a step's arrays."""
    chunks = sum(int((-(-np.diff(m.indptr) // WIDTH)).sum()) for m in (held_out.fold_in, held_out.fold_out))
    numbers = chunks * (WIDTH + 1) + held_out.n_users * (4 + held_out.n_candidates)
    return GROWTH * 8 * numbers <= DATA_SHARE * budget


def _entries(items: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """[N, 2] row and item of each place; rows and items beyond the matrix are dropped by XLA's scatters."""
    wide = tf.broadcast_to(rows[:, None], tf.shape(items))
    return tf.stack([tf.reshape(wide, [-1]), tf.reshape(items, [-1])], axis=1)


def _block_spec(n_candidates: int) -> Block:
    """The form of blocks [G, ...], whatever the numbers of users and chunks."""

    def spec(kind: tf.DType, *more: int) -> tf.TensorSpec:
        return tf.TensorSpec([None, None, *more], kind)

    chunks = spec(tf.int64, WIDTH), spec(tf.int64)
    vectors = spec(tf.int64), spec(tf.int64), spec(tf.float32), spec(tf.int64)
    return Block(*vectors, *chunks, *chunks, spec(tf.int64, n_candidates))


class CompiledRanking:
    """The compiled programs that rank blocks with one model."""

    def __init__(self, model: CompiledScorer, columns: Columns, n_items: int, n_candidates: int) -> None:
        """
        Args:
            n_candidates: C
        """
        self._model, self._n_items, self._columns = model, n_items, columns
        self._scores = compiled(self._grouped_scores)
        self._metrics = compiled(self._of_lists)
        self._auc = compiled(self._area)
        self._among_candidates = compiled(self._of_candidates)
        rank = tf.function(self._rank, autograph=False, input_signature=[_block_spec(n_candidates)])
        self.rank = rank.get_concrete_function()  # no warning that several models have several graphs

    def _grouped_scores(self, block: Block) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Scores [P, J] without known items, in groups, with the best of each group; whether all are numbers."""
        scores = tf.cast(self._model.part_scores(block.history), tf.float32)
        sound = tf.logical_not(tf.math.is_nan(tf.reduce_sum(scores)))
        places = _entries(block.items, block.rows)  # an empty place hides column I, which is hidden anyway
        hidden = tf.fill([tf.shape(places)[0]], HIDDEN)
        scores = tf.tensor_scatter_nd_update(widened(scores, self._n_items), places, hidden)
        return *in_groups(scores), sound

    def _of_lists(self, block: Block, items: tf.Tensor, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Metrics [P, D] of recommended items int64 [P, K], best first; counts of items [V, I] so far and here."""
        users, columns = tf.shape(items)[0], self._columns
        relevant = tf.zeros([users, self._n_items + 1], tf.bool)
        places = _entries(block.wanted, block.wanted_rows)
        relevant = tf.tensor_scatter_nd_update(relevant, places, tf.ones([tf.shape(places)[0]], tf.bool))
        hits = tf.gather(relevant, tf.maximum(items, 0), batch_dims=1) & (items >= 0)
        hits = tf.pad(hits, [[0, 0], [0, columns.depth - items.shape[1]]])
        hits.set_shape([None, columns.depth])
        nowhere = tf.constant(self._n_items, tf.int64)  # out of range, so that the scatter drops it
        shown = tf.where((items >= 0) & (block.users >= 0)[:, None], items, nowhere)
        rows = [
            tf.tensor_scatter_nd_add(row, tf.reshape(part, [-1, 1]), tf.ones([tf.size(part)], tf.float64))
            for row, part in ((seen[v], shown[:, : m.k]) for v, m in enumerate(columns.system))
        ]
        table = values(columns.hits, hits, block.relevant) if columns.hits else tf.zeros([users, 0], tf.float64)
        return table, tf.stack(rows) if rows else seen

    def _area(self, block: Block, scores: tf.Tensor) -> tf.Tensor:
        """[P, D] the area under the curve of scores [P, J], in which known items and padding are hidden."""
        wide = tf.broadcast_to(block.wanted_rows[:, None], tf.shape(block.wanted))
        is_item = tf.reshape(block.wanted < self._n_items, [-1])
        rows = tf.where(is_item, tf.reshape(wide, [-1]), tf.constant(-1, tf.int64))
        hidden = tf.cast(block.counts, tf.int64) + (scores.shape[1] - self._n_items)
        found = auc(scores, hidden, rows, tf.reshape(block.wanted, [-1]))
        return tf.stack([found] * len(self._columns.auc), axis=1)

    def _of_candidates(self, block: Block) -> tuple[tf.Tensor, tf.Tensor]:
        """Metrics [P, D] of the sampled protocol, and whether all scores are numbers."""
        candidates = tf.cast(block.candidates, tf.int32)
        present = candidates >= 0
        scores = tf.cast(self._model.part_candidate_scores(block.history, tf.maximum(candidates, 0)), tf.float32)
        scores = tf.where(present, scores, 0.0)
        columns, tables = self._columns, []
        if columns.sampled_hits:
            hits = hits_among_candidates(scores, present, max(m.k for m in columns.sampled_hits))
            tables.append(values(columns.sampled_hits, hits, tf.ones_like(block.users)))
        if columns.sampled_auc:
            tables += [auc_among_candidates(scores, present)[:, None]] * len(columns.sampled_auc)
        return tf.concat(tables, axis=1), tf.logical_not(tf.reduce_any(tf.math.is_nan(scores)))

    def _of_block(self, block: Block, seen: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Metrics [P, D], top items [P, L], how often items appear [V, I], whether all scores are numbers."""
        columns, sound = self._columns, tf.constant(True)
        tables, top = [tf.zeros([tf.size(block.users), 0], tf.float64)], tf.zeros([tf.size(block.users), 0], tf.int64)
        if columns.sampled:
            table, sound = self._among_candidates(block)
            tables.append(table)
        if columns.ranks_all:
            scores, groups, maxima, also_sound = self._scores(block)
            sound &= also_sound
            if columns.depth:
                _, items = best_of_groups(scores, groups, maxima, min(columns.depth, self._n_items))
                table, seen = self._metrics(block, items, seen)
                tables.append(table)
                top = items[:, : columns.list_depth]
            if columns.auc:
                tables.append(self._auc(block, scores))
        return tf.concat(tables, axis=1), top, seen, sound

    def _rank(self, blocks: Block) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """Metrics [G, P, D] and top items [G, P, L] of blocks, counts of items [V, I], whether scores are numbers."""
        count, columns = tf.shape(blocks.users)[0], self._columns
        length = min(columns.list_depth, self._n_items)
        tables = tf.TensorArray(tf.float64, size=count, element_shape=[None, len(columns.in_graph)])
        tops = tf.TensorArray(tf.int64, size=count, element_shape=[None, length])

        def one(k: tf.Tensor, tables: tf.TensorArray, tops: tf.TensorArray, seen: tf.Tensor, sound: tf.Tensor) -> tuple:
            block = tf.nest.map_structure(lambda field: field[k], blocks)
            table, top, seen, also_sound = self._of_block(block, seen)
            return k + 1, tables.write(k, table), tops.write(k, top), seen, sound & also_sound

        seen = tf.zeros([len(columns.system), self._n_items], tf.float64)
        state = (0, tables, tops, seen, tf.constant(True))
        _, tables, tops, seen, sound = tf.while_loop(lambda k, *_: k < count, one, state, parallel_iterations=1)
        return tables.stack(), tops.stack(), seen, sound


def ranked(
    ranking: CompiledRanking,
    blocks: Block,
    of_lists: Callable[[npt.NDArray[np.int64], npt.NDArray[np.int64]], npt.NDArray[np.float64]],
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64], bool]:
    """This rank's users [U] and their metrics [U, D], how often items appear [V, I], whether all scores are numbers.

    Args:
        of_lists: gives the columns of the metrics of lists, from users [P] and their top items [P, L].
    """
    numerics.use_float32_products()
    tables, tops, seen, sound = ranking.rank(blocks)
    places = blocks.users.numpy().ravel()
    real = places >= 0
    found = tables.numpy().reshape(len(places), tables.shape[2])[real]
    columns = of_lists(places[real], tops.numpy().reshape(len(places), tops.shape[2])[real])
    return places[real], np.concatenate([found, columns], axis=1), seen.numpy(), bool(sound)
