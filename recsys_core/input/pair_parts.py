"""Batches of positive pairs of fixed shape, for steps that XLA compiles. The pairs lie on the device where they fit.

Shape legend: E training pairs, G parts of a batch, P pairs of a part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from recsys_core.input.batches import PREFETCH, PairBatch, prefetched, steps_per_epoch
from recsys_core.input.chunks import slots
from recsys_core.matrices import Csr
from recsys_core.seeding import epoch_order
from recsys_core.world import World


class PairPart(NamedTuple):
    """One part of a rank's share of a global batch. In a batch every field has one more axis [G] before the others."""

    positions: tf.Tensor
    """[P] int64 place p of each pair among the training events; -1 - p where there is none, p being that of a pair of
    the batch: what is looked up for it and counts 0 then belongs to rows that the batch updates anyway."""
    pairs: tf.Tensor
    """[P, 2] int64 user and item; [P, 0] where they are on the device."""
    step: tf.Tensor
    """[] int64 global step, from 0."""
    epoch: tf.Tensor
    """[] int64 from 0."""
    global_pairs: tf.Tensor
    """[] float32 positives in the global batch."""


@dataclass(frozen=True, kw_only=True)
class PairTable:
    """The training pairs by their place."""

    pairs: tf.Tensor
    """[E, 2] int64 user and item."""
    is_resident: bool
    """Whether the device reads them itself; otherwise the pipeline brings those of each batch."""

    def batch_of(self, part: PairPart) -> tuple[PairBatch, tf.Tensor]:
        """The pairs of a part, and their weights [P] float32: 0 where there is no pair."""
        places = _places(part.positions)
        pairs = tf.cast(tf.gather(self.pairs, places) if self.is_resident else part.pairs, tf.int32)
        batch = PairBatch(places, pairs[:, 0], pairs[:, 1], part.step, part.epoch, part.global_pairs)
        return batch, tf.cast(part.positions >= 0, tf.float32)


def _places(positions: tf.Tensor) -> tf.Tensor:
    return tf.where(positions >= 0, positions, -1 - positions)


def pair_table(train: Csr, resident_bytes: float) -> PairTable:
    """The pairs of a matrix; on the device (the GPU, if there is one) if they take at most `resident_bytes`."""
    users = np.repeat(np.arange(train.n_users, dtype=np.int64), np.diff(train.indptr))
    pairs = np.stack([users, train.indices.astype(np.int64)], axis=1)
    is_resident = pairs.nbytes <= resident_bytes
    if is_resident:
        return PairTable(pairs=tf.constant(pairs), is_resident=True)
    with tf.device("/cpu:0"):
        return PairTable(pairs=tf.constant(pairs), is_resident=False)


def pair_part_batches(
    table: PairTable, *, seed: int, pairs: int, parts: int, world: World, start_step: int, total_steps: int
) -> tf.data.Dataset:
    """This rank's batches from `start_step` to `total_steps`: a `PairPart` whose fields have an axis [G] of parts.

    The same pairs in the same steps as `batches.pair_batches`. The order of an epoch is drawn while the one before is
    trained on; a batch is a slice of it, cut by TensorFlow's own operators.

    Args:
        pairs: positives in a global batch.
    """
    n_pairs = table.pairs.shape[0]
    per_epoch = steps_per_epoch(n_pairs, pairs)

    def order_of(epoch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        order = tf.numpy_function(lambda e: epoch_order(seed, int(e), n_pairs), [epoch], tf.int64, stateful=False)
        return epoch, tf.ensure_shape(order, [n_pairs])

    def of_epoch(epoch: tf.Tensor, order: tf.Tensor) -> tf.data.Dataset:
        first = epoch * per_epoch
        steps = tf.data.Dataset.range(tf.maximum(first, start_step), tf.minimum(first + per_epoch, total_steps))
        return steps.map(lambda step: to_batch(step, epoch, order))

    def to_batch(step: tf.Tensor, epoch: tf.Tensor, order: tf.Tensor) -> PairPart:
        together = order[(step - epoch * per_epoch) * pairs :][:pairs]
        count = tf.size(together)
        whole, short = (slots(n, pairs, world) for n in (pairs, n_pairs % pairs or pairs))
        places = -(-tf.where(count == pairs, whole, short) // parts) * parts
        mine = together[world.rank :: world.size]
        filled = tf.concat([mine, tf.fill([places - tf.size(mine)], -1 - together[0])], axis=0)
        filled = tf.reshape(filled, [parts, -1])
        brought = tf.zeros([parts, tf.shape(filled)[1], 0], tf.int64)
        if not table.is_resident:
            brought = tf.gather(table.pairs, _places(filled))
        alike = tf.fill([parts], step), tf.fill([parts], epoch), tf.fill([parts], tf.cast(count, tf.float32))
        return PairPart(filled, brought, *alike)

    epochs = tf.data.Dataset.range(start_step // per_epoch, -(-total_steps // per_epoch))
    orders = epochs.map(order_of).prefetch(1)
    return prefetched(orders.flat_map(of_epoch), PREFETCH)
