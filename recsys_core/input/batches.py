"""`tf.data` pipelines over CSR matrices: sparse batches, each loaded by one vectorised call, prefetched.

The stream of training batches is a pure function of (seed, step): nothing is consumed, so a run resumes anywhere and
any number of ranks cuts the same global batches among themselves.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.input.order import GlobalBatches
from recsys_core.matrices import Csr, HeldOut
from recsys_core.world import World

PREFETCH = 4
LOADED_PAIRS = 1 << 16
"""Positive pairs that one call loads for a rank, where its share of a batch is smaller."""


class Batch(NamedTuple):
    """This rank's part of one global batch."""

    users: tf.Tensor
    """[B] int64 row in the training matrix."""
    item_ids: tf.Tensor
    """[N] int32 items of all users, one after another."""
    row_splits: tf.Tensor
    """[B + 1] int64 where each user's items begin."""
    step: tf.Tensor
    """[] int64 global step, from 0."""
    global_users: tf.Tensor
    """[] float32 users in the global batch: the divisor that makes the sum over ranks a mean."""


class PairBatch(NamedTuple):
    """This rank's part of one global batch of positive (user, item) pairs; their negatives are drawn in the graph."""

    positions: tf.Tensor
    """[P] int64 place of each pair among the training events: what its negatives are drawn from."""
    users: tf.Tensor
    """[P] int32"""
    items: tf.Tensor
    """[P] int32"""
    step: tf.Tensor
    """[] int64 global step, from 0."""
    epoch: tf.Tensor
    """[] int64 from 0."""
    global_pairs: tf.Tensor
    """[] float32 positives in the global batch."""


class Histories(NamedTuple):
    """The known items of B users: what scores are computed from."""

    item_ids: tf.Tensor
    """[N] int32 items of all users, one after another."""
    row_splits: tf.Tensor
    """[B + 1] int64 where each user's items begin."""
    train_rows: tf.Tensor
    """[B] int64 row in the training matrix, -1 for users the model never trained on."""


class EvaluationBatch(NamedTuple):
    """A block of held-out users."""

    users: tf.Tensor
    """[B] int64 row in the held-out matrices."""
    train_rows: tf.Tensor
    """[B] int64 row in the training matrix, -1 for users the model never trained on."""
    item_ids: tf.Tensor
    """[N] int32 fold-in items."""
    row_splits: tf.Tensor
    """[B + 1] int64"""
    wanted_ids: tf.Tensor
    """[W] int32 fold-out items, ascending within a user."""
    wanted_splits: tf.Tensor
    """[B + 1] int64"""
    candidates: tf.Tensor
    """[B, C] int32 the item to be found, then others; -1 where a list has none or holds an item again. C may be 0."""

    @property
    def histories(self) -> Histories:
        return Histories(self.item_ids, self.row_splits, self.train_rows)


def rows_of(row_splits: tf.Tensor) -> tf.Tensor:
    """[N] int64: the row of each entry, from row_splits [B + 1]."""
    # A search: the ragged operation of the same purpose builds a table [B, longest row] on the way.
    return tf.searchsorted(row_splits[1:], tf.range(row_splits[-1]), side="right", out_type=tf.int64)


def steps_per_epoch(n_users: int, batch_size: int) -> int:
    """Global batches that visit every user once; the last one may be shorter."""
    return math.ceil(n_users / batch_size)


def prefetched(batches: tf.data.Dataset, depth: int) -> tf.data.Dataset:
    """Batches that are ready before they are needed, on the GPU where there is one.

    Nothing is left to tune, so autotuning is off. Its thread sleeps twice as long each time (10 ms, 20 ms, ... 60 s),
    and whoever drops an iterator waits until it wakes: as long again as the iterator lived, in the worst case.
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    if tf.config.list_logical_devices("GPU"):
        batches = batches.apply(tf.data.experimental.copy_to_device("/gpu:0"))
    return batches.prefetch(depth).with_options(options)


def train_batches(
    train: Csr, *, seed: int, batch_size: int, world: World, start_step: int, total_steps: int
) -> tf.data.Dataset:
    """This rank's `Batch`es from `start_step` to `total_steps`.

    Args:
        batch_size: users in a global batch, divided among ranks (shares differ by one user at most).
    """
    whole = GlobalBatches(seed, train.n_users, batch_size, world)

    def load(step: np.int64) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray, np.float32]:
        mine = np.sort(whole.mine(int(step))[0])  # sorted: the map is read forward
        item_ids, row_splits = train.rows(mine)
        return mine, item_ids, row_splits, np.float32(whole.size(int(step)))

    def to_batch(step: tf.Tensor) -> Batch:
        types = (tf.int64, tf.int32, tf.int64, tf.float32)
        users, item_ids, row_splits, global_users = tf.numpy_function(load, [step], types, stateful=False)
        for vector in (users, item_ids, row_splits):
            vector.set_shape([None])
        global_users.set_shape([])
        return Batch(users, item_ids, row_splits, step, global_users)

    steps = tf.data.Dataset.range(start_step, total_steps)
    return prefetched(steps.map(to_batch, num_parallel_calls=2, deterministic=True), PREFETCH)


def pair_batches(
    train: Csr, *, seed: int, pairs: int, world: World, start_step: int, total_steps: int
) -> tf.data.Dataset:
    """This rank's `PairBatch`es from `start_step` to `total_steps`. An epoch has every training pair exactly once.

    Small batches are loaded many at a time, or the calls would take longer than the steps.

    Args:
        pairs: positives in a global batch, divided among ranks (shares differ by one at most).
    """
    n_pairs = len(train.indices)
    whole = GlobalBatches(seed, n_pairs, pairs, world)
    per_epoch = whole.per_epoch

    def load(first: np.int64, count: np.int64) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray, npt.NDArray]:
        mine = np.sort(whole.mine(int(first), int(count)), axis=1)  # sorted: tables are read forward
        sizes = np.full(int(count), whole.size(int(first)), np.float32)
        return mine, train.owners(mine).astype(np.int32), train.indices[mine], sizes

    def to_batches(first: tf.Tensor, count: tf.Tensor) -> PairBatch:
        """Several steps: every field has one dimension more."""
        types = (tf.int64, tf.int32, tf.int32, tf.float32)
        *tables, sizes = tf.numpy_function(load, [first, count], types, stateful=False)
        for table in tables:
            table.set_shape([None, None])
        sizes.set_shape([None])
        steps = first + tf.range(count)
        positions, of_users, of_items = tables
        return PairBatch(positions, of_users, of_items, steps, steps // per_epoch, sizes)

    several = max(1, LOADED_PAIRS // -(-pairs // world.size))
    starts = tf.data.Dataset.from_tensor_slices(loads(start_step, total_steps, per_epoch, n_pairs % pairs > 0, several))
    loaded = starts.map(to_batches, num_parallel_calls=1, deterministic=True).prefetch(2)
    return prefetched(loaded.flat_map(tf.data.Dataset.from_tensor_slices), PREFETCH)


def loads(
    start: int, total: int, per_epoch: int, short: bool, several: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """First steps and counts of steps that are loaded together: of one epoch, of equal size, at most `several`.

    Args:
        short: whether the last step of an epoch is shorter than the others.
    """
    firsts, counts = [], []
    step = start
    while step < total:
        place = step % per_epoch
        end = per_epoch - 1 if short and place < per_epoch - 1 else per_epoch
        count = min(several, end - place, total - step)
        firsts.append(step)
        counts.append(count)
        step += count
    return np.array(firsts, np.int64), np.array(counts, np.int64)


def without_repeats(candidates: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """[B, C] with -1 in place of every item that its row had before (published candidate lists hold repeats)."""
    order = np.argsort(candidates, axis=1, kind="stable")  # of equal items the first one stays
    ascending = np.take_along_axis(candidates, order, axis=1)
    again = np.zeros(candidates.shape, bool)
    np.put_along_axis(again, order[:, 1:], ascending[:, 1:] == ascending[:, :-1], axis=1)
    return np.where(again, np.int32(-1), candidates)


def evaluation_batches(held_out: HeldOut, *, block_size: int, world: World) -> tf.data.Dataset:
    """This rank's blocks of held-out users. Blocks are cut the same way in any world, so results are the same too."""

    def load(block: np.int64) -> tuple[npt.NDArray, ...]:
        users = np.arange(block * block_size, min((block + 1) * block_size, held_out.n_users), dtype=np.int64)
        rows = np.full(len(users), -1) if held_out.train_rows is None else held_out.train_rows[users]
        none = np.empty((len(users), 0), np.int32)
        candidates = none if held_out.candidates is None else without_repeats(held_out.candidates[users])
        return (users, rows.astype(np.int64), *held_out.fold_in.rows(users), *held_out.fold_out.rows(users), candidates)

    def to_batch(block: tf.Tensor) -> EvaluationBatch:
        types = (tf.int64, tf.int64, tf.int32, tf.int64, tf.int32, tf.int64, tf.int32)
        parts = tf.numpy_function(load, [block], types, stateful=False)
        for vector in parts[:-1]:
            vector.set_shape([None])
        parts[-1].set_shape([None, held_out.n_candidates])
        return EvaluationBatch(*parts)

    blocks = tf.data.Dataset.range(world.rank, math.ceil(held_out.n_users / block_size), world.size)
    return prefetched(blocks.map(to_batch, num_parallel_calls=1, deterministic=True), 2)
