"""Batches of positive pairs of fixed shape, for steps that XLA compiles. The pairs lie on the device where they fit.

Shape legend: E training pairs, G parts of a batch, P pairs of a part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.input.batches import LOADED_PAIRS, PREFETCH, PairBatch, loads, prefetched
from recsys_core.input.chunks import slots
from recsys_core.input.order import GlobalBatches
from recsys_core.matrices import Csr
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

    train: Csr
    resident: tf.Tensor | None
    """[E, 2] int64 user and item, on the device (TensorFlow keeps int32 in host memory); None where the pipeline brings
    those of each batch. Then they stay where the matrix has them: no rank holds a copy."""

    def batch_of(self, part: PairPart) -> tuple[PairBatch, tf.Tensor]:
        """The pairs of a part, and their weights [P] float32: 0 where there is no pair."""
        places = _places(part.positions)
        pairs = tf.cast(part.pairs if self.resident is None else tf.gather(self.resident, places), tf.int32)
        batch = PairBatch(places, pairs[:, 0], pairs[:, 1], part.step, part.epoch, part.global_pairs)
        return batch, tf.cast(part.positions >= 0, tf.float32)

    def brought(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """[..., 2] what a batch holds for positions [...]: the pairs, or [..., 0] where they are on the device."""
        if self.resident is not None:
            return np.zeros((*positions.shape, 0), np.int64)
        places = np.where(positions >= 0, positions, -1 - positions)
        return np.stack([self.train.owners(places), self.train.indices[places].astype(np.int64)], axis=-1)


def _places(positions: tf.Tensor) -> tf.Tensor:
    return tf.where(positions >= 0, positions, -1 - positions)


def pair_table(train: Csr, resident_bytes: float) -> PairTable:
    """The pairs of a matrix; on the device (the GPU, if there is one) if they take at most `resident_bytes`."""
    if 2 * len(train.indices) * np.dtype(np.int64).itemsize > resident_bytes:
        return PairTable(train=train, resident=None)
    users = np.repeat(np.arange(train.n_users), np.diff(train.indptr))
    pairs = np.stack([users, train.indices.astype(np.int64)], axis=1)
    return PairTable(train=train, resident=tf.constant(pairs))


def pair_part_batches(
    table: PairTable, *, seed: int, pairs: int, parts: int, world: World, start_step: int, total_steps: int
) -> tf.data.Dataset:
    """This rank's batches from `start_step` to `total_steps`: a `PairPart` whose fields have an axis [G] of parts.

    The same pairs in the same steps as `batches.pair_batches`. Small batches are loaded many at a time.

    Args:
        pairs: positives in a global batch.
    """
    n_pairs = len(table.train.indices)
    pairs = min(pairs, n_pairs)  # no places for pairs that there are not
    whole = GlobalBatches(seed, n_pairs, pairs, world)
    per_epoch = whole.per_epoch

    def load(first: np.int64, count: np.int64) -> tuple[npt.NDArray, npt.NDArray, npt.NDArray]:
        step, steps = int(first), int(count)
        together, mine = whole.size(step), whole.mine(step, steps)
        if table.resident is None:
            mine.sort(axis=1)  # the matrix is read forward
        places = -(-slots(together, pairs, world) // parts) * parts
        filled = np.repeat(-1 - whole.first(step, steps)[:, None], places, axis=1)
        filled[:, : mine.shape[1]] = mine
        filled = filled.reshape(steps, parts, -1)
        return filled, table.brought(filled), np.full((steps, parts), together, np.float32)

    def to_batches(first: tf.Tensor, count: tf.Tensor) -> PairPart:
        """Several steps: every field has one dimension more."""
        kinds = (tf.int64, tf.int64, tf.float32)
        positions, brought, sizes = tf.numpy_function(load, [first, count], kinds, stateful=False)
        positions.set_shape([None, parts, None])
        brought.set_shape([None, parts, None, 0 if table.resident is not None else 2])
        sizes.set_shape([None, parts])
        steps = tf.repeat((first + tf.range(count))[:, None], parts, axis=1)
        return PairPart(positions, brought, steps, steps // per_epoch, sizes)

    several = max(1, LOADED_PAIRS // -(-pairs // world.size))
    starts = tf.data.Dataset.from_tensor_slices(loads(start_step, total_steps, per_epoch, n_pairs % pairs > 0, several))
    loaded = starts.map(to_batches, num_parallel_calls=2, deterministic=True)
    return prefetched(loaded.flat_map(tf.data.Dataset.from_tensor_slices), PREFETCH)
