"""From memory-mapped CSR to `tf.data`: sparse batches, one vectorised call each, prefetched.

The stream of training batches is a pure function of (seed, step): nothing is consumed, so a run resumes anywhere and
any number of ranks cuts the same global batches among themselves.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.dataset import Csr, HeldOut
from recsys_core.distributed import World
from recsys_core.seeding import epoch_order

PREFETCH = 4


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


class EvaluationBatch(NamedTuple):
    """A block of held-out users."""

    users: tf.Tensor
    """[B] int64 row in the held-out matrices."""
    item_ids: tf.Tensor
    """[N] int32 fold-in items."""
    row_splits: tf.Tensor
    """[B + 1] int64"""
    wanted_ids: tf.Tensor
    """[W] int32 fold-out items, ascending within a user."""
    wanted_splits: tf.Tensor
    """[B + 1] int64"""


def rows_of(row_splits: tf.Tensor) -> tf.Tensor:
    """[N] int64: the row of each entry, from row_splits [B + 1]."""
    # A search: the ragged operation of the same purpose builds a table [B, longest row] on the way.
    return tf.searchsorted(row_splits[1:], tf.range(row_splits[-1]), side="right", out_type=tf.int64)


def steps_per_epoch(n_users: int, batch_size: int) -> int:
    """Global batches that visit every user once; the last one may be shorter."""
    return math.ceil(n_users / batch_size)


def _prefetched(batches: tf.data.Dataset, depth: int) -> tf.data.Dataset:
    """Batches that are ready before they are needed, on the GPU where there is one."""
    if tf.config.list_logical_devices("GPU"):
        batches = batches.apply(tf.data.experimental.copy_to_device("/gpu:0"))
    return batches.prefetch(depth)


def train_batches(
    train: Csr, *, seed: int, batch_size: int, world: World, start_step: int, total_steps: int
) -> tf.data.Dataset:
    """This rank's `Batch`es from `start_step` to `total_steps`.

    Args:
        batch_size: users in a global batch, divided among ranks (shares differ by one user at most).
    """
    per_epoch = steps_per_epoch(train.n_users, batch_size)

    @lru_cache(maxsize=2)
    def order(epoch: int) -> npt.NDArray[np.int64]:
        return epoch_order(seed, epoch, train.n_users)

    def load(step: np.int64) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray, np.float32]:
        epoch, k = divmod(int(step), per_epoch)
        everyone = np.sort(order(epoch)[k * batch_size : (k + 1) * batch_size])  # sorted: the map is read forward
        mine = everyone[world.rank :: world.size]
        item_ids, row_splits = train.rows(mine)
        return mine, item_ids, row_splits, np.float32(len(everyone))

    def to_batch(step: tf.Tensor) -> Batch:
        types = (tf.int64, tf.int32, tf.int64, tf.float32)
        users, item_ids, row_splits, global_users = tf.numpy_function(load, [step], types, stateful=False)
        for vector in (users, item_ids, row_splits):
            vector.set_shape([None])
        global_users.set_shape([])
        return Batch(users, item_ids, row_splits, step, global_users)

    steps = tf.data.Dataset.range(start_step, total_steps)
    return _prefetched(steps.map(to_batch, num_parallel_calls=2, deterministic=True), PREFETCH)


def evaluation_batches(held_out: HeldOut, *, block_size: int, world: World) -> tf.data.Dataset:
    """This rank's blocks of held-out users. Blocks are cut the same way in any world, so results are the same too."""

    def load(block: np.int64) -> tuple[npt.NDArray, ...]:
        users = np.arange(block * block_size, min((block + 1) * block_size, held_out.n_users), dtype=np.int64)
        return (users, *held_out.fold_in.rows(users), *held_out.fold_out.rows(users))

    def to_batch(block: tf.Tensor) -> EvaluationBatch:
        types = (tf.int64, tf.int32, tf.int64, tf.int32, tf.int64)
        parts = tf.numpy_function(load, [block], types, stateful=False)
        for vector in parts:
            vector.set_shape([None])
        return EvaluationBatch(*parts)

    blocks = tf.data.Dataset.range(world.rank, math.ceil(held_out.n_users / block_size), world.size)
    return _prefetched(blocks.map(to_batch, num_parallel_calls=1, deterministic=True), 2)
