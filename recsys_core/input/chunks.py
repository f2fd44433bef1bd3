"""Batches of fixed shape, for steps that XLA compiles: histories cut into chunks of a few items.

XLA compiles a program for each shape. Histories have any length, so they are stored as chunks of `WIDTH` items, the
last one filled up: some rows are then a list of chunks, whose number is rounded up to one of few sizes. The table of
all chunks lies on the device where it fits a budget, and the pipeline brings numbers of chunks only.

Shape legend: U users, I items, C chunks, W chunk width, G parts of a batch, P users of a part, M chunks of a part.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.input.batches import PREFETCH, loads, prefetched
from recsys_core.input.order import GlobalBatches
from recsys_core.matrices import Csr
from recsys_core.world import World

WIDTH = 32
"""Items of a chunk. At 80 items a user a fifth of the places is left empty."""
GROWTH = 1.25
"""Ratio of a number of chunks that is compiled for to the next smaller one."""
LOADED_USERS = 1 << 13
"""Users that one call loads for a rank, where its share of a batch is smaller: the call itself takes longer than to
load 500 users."""
DATA_SHARE = 0.25
"""Largest part of the memory budget that the chunks of a data set may take on the device."""


class ChunkPart(NamedTuple):
    """One part of a rank's share of a global batch. In a batch every field has one more axis [G] before the others."""

    users: tf.Tensor
    """[P] int64 row in the training matrix, -1 where there is no user."""
    counts: tf.Tensor
    """[P] float32 items of each user, 0 where there is none."""
    chunks: tf.Tensor
    """[M] int64 place in the table of chunks; or, where that is not on the device, [M, W] int64 the items themselves,
    filled up with I."""
    rows: tf.Tensor
    """[M] int64 the user of each chunk, from 0 to P - 1; P where there is no chunk."""
    step: tf.Tensor
    """[] int64 global step, from 0."""
    global_users: tf.Tensor
    """[] float32 users in the global batch: the divisor that makes the sum over parts and ranks a mean."""


class HistoryPart(NamedTuple):
    """The known items of P users, from which scores are computed."""

    train_rows: tf.Tensor
    """[P] int64 row in the training matrix, -1 for users the model never trained on."""
    counts: tf.Tensor
    """[P] float32 items of each user."""
    items: tf.Tensor
    """[M, W] int32 item indices, filled up with I."""
    rows: tf.Tensor
    """[M] int32 the user of each chunk, from 0 to P - 1; P where there is no chunk."""


@dataclass(frozen=True, kw_only=True)
class ChunkTable:
    """A CSR matrix in chunks, numbered row after row; one more chunk, C, is empty."""

    matrix: Csr
    starts: npt.NDArray[np.int64]
    """[U + 1] first chunk of each row."""
    resident: tf.Tensor | None
    """[C + 1, W] int64 the items of all chunks, on the device; None where they are brought with each batch."""

    @property
    def mean_chunks(self) -> float:
        """Chunks of a row, on average."""
        return float(self.starts[-1]) / self.matrix.n_users

    def items_of(self, chunks: tf.Tensor) -> tf.Tensor:
        """[M, W] int32 items of the chunks of a part."""
        found = chunks if self.resident is None else tf.gather(self.resident, chunks)
        return tf.cast(found, tf.int32)

    def brought(self, chunks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """What a batch holds for these chunks."""
        return chunks if self.resident is not None else items_in_chunks(self.matrix, self.starts, chunks)


def items_in_chunks(matrix: Csr, starts: npt.NDArray[np.int64], chunks: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """[..., W] items of chunks [...], filled up with I.

    Args:
        starts: of `ChunkTable`.
    """
    if not len(matrix.indices):
        return np.full((*chunks.shape, WIDTH), matrix.n_items, np.int64)
    rows = np.searchsorted(starts, chunks, side="right") - 1  # U for the empty chunk
    first = matrix.indptr[rows] + (chunks - starts[rows]) * WIDTH
    present = np.clip(matrix.indptr[np.minimum(rows + 1, matrix.n_users)] - first, 0, WIDTH)
    within = np.arange(WIDTH)
    items = np.take(matrix.indices, first[..., None] + within, mode="clip").astype(np.int64)
    np.copyto(items, matrix.n_items, where=within >= present[..., None])
    return items


def chunk_table(matrix: Csr, resident_bytes: float) -> ChunkTable:
    """The chunks of a matrix; on the device (the GPU, if there is one) if they take at most `resident_bytes`.

    Otherwise the items stay where the matrix has them: no rank holds a copy.
    """
    starts = np.concatenate([[0], np.cumsum(-(-np.diff(matrix.indptr) // WIDTH))]).astype(np.int64)
    n_chunks = int(starts[-1]) + 1
    # int64: TensorFlow keeps int32 in host memory, also that of operators on the GPU.
    fits = n_chunks * WIDTH * np.dtype(np.int64).itemsize <= resident_bytes
    resident = tf.constant(items_in_chunks(matrix, starts, np.arange(n_chunks))) if fits else None
    return ChunkTable(matrix=matrix, starts=starts, resident=resident)


def size_from(needed: int, usual: int) -> int:
    """The smallest of the sizes usual, usual * GROWTH, ... that is enough; few sizes, because each is compiled."""
    size = float(max(usual, 1))
    while math.ceil(size) < needed:
        size *= GROWTH
    return math.ceil(size)


def usual_chunks(starts: npt.NDArray[np.int64], users: int) -> int:
    """Chunks that hold nearly every random choice of so many users, in steps of 16."""
    sizes = np.diff(starts)
    drawn = min(users, len(sizes))
    enough = drawn * sizes.mean() + 5.0 * math.sqrt(drawn) * sizes.std()
    return 16 * max(1, math.ceil(min(enough, float(starts[-1])) / 16))


def slots(users: int, batch_size: int, world: World) -> int:
    """Places for the users of a rank, of a global batch of `users`.

    The same on every rank. The last batch of an epoch is shorter: it gets the places of a whole one where it fills half
    of them, which costs less than compiling for its own size.
    """
    whole = -(-batch_size // world.size)
    return whole if 2 * users >= batch_size else -(-users // world.size)


def parts_within(examples: int, bytes_of_one: int, budget: float) -> int:
    """Parts into which a rank's share of a batch is cut so that the arrays of one part fit a budget of bytes."""
    at_once = max(1, int(budget // bytes_of_one))
    return -(-examples // at_once)


def chunked(
    table: ChunkTable, rows: npt.NDArray[np.int64], places: int, parts: int, usual: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows of the matrix in parts of fixed shape.

    Args:
        rows: [B] row numbers, at most `places`; -1 for none.
        usual: chunks of a part, where its rows do not have more.

    Returns:
        rows [G, P], -1 where there is none; the chunks [G, M] or [G, M, W] and their rows [G, M] of `ChunkPart`.
    """
    per_part = -(-places // parts)
    filled = np.full(parts * per_part, -1, np.int64)
    filled[: len(rows)] = rows
    first = np.where(filled >= 0, table.starts[filled], 0)
    counts = np.where(filled >= 0, table.starts[filled + 1] - first, 0)
    of_part = counts.reshape(parts, per_part).sum(axis=1)
    size = size_from(int(of_part.max()), usual)
    chunks = np.full((parts, size), table.starts[-1], np.int64)  # the empty one
    owners = np.full((parts, size), per_part, np.int64)
    before = np.cumsum(counts) - counts
    place = np.repeat(first - before, counts) + np.arange(counts.sum())
    within = np.arange(size)[None, :] < of_part[:, None]
    chunks[within] = place  # a mask is filled row by row, in the order of the parts
    owners[within] = np.repeat(np.arange(parts * per_part) % per_part, counts)
    return filled.reshape(parts, per_part), table.brought(chunks), owners


def chunk_batches(
    train: Csr,
    table: ChunkTable,
    *,
    seed: int,
    batch_size: int,
    parts: int,
    world: World,
    start_step: int,
    total_steps: int,
) -> tf.data.Dataset:
    """This rank's batches from `start_step` to `total_steps`: a `ChunkPart` whose fields have an axis [G] of parts.

    The same users in the same steps as `batches.train_batches`.
    """
    batch_size = min(batch_size, train.n_users)  # no places for users that there are not
    whole = GlobalBatches(seed, train.n_users, batch_size, world)

    @lru_cache  # it looks at every user
    def usual(together: int) -> int:
        return usual_chunks(table.starts, -(-slots(together, batch_size, world) // parts))

    def load_one(step: int) -> tuple[npt.NDArray, ...]:
        together, mine = whole.size(step), np.sort(whole.mine(step)[0])  # sorted: the map is read forward
        users, chunks, rows = chunked(table, mine, slots(together, batch_size, world), parts, usual(together))
        counts = np.where(users >= 0, train.indptr[users + 1] - train.indptr[users], 0).astype(np.float32)
        return users, counts, chunks, rows, np.full(parts, step), np.full(parts, together, np.float32)

    def load(first: np.int64, count: np.int64) -> tuple[npt.NDArray, ...]:
        users, counts, chunks, rows, *alike = zip(*map(load_one, range(int(first), int(first + count))), strict=True)
        size = max(part.shape[1] for part in rows)  # nearly always the same
        empty = table.brought(table.starts[-1:])[0]
        return (
            *map(np.stack, (users, counts)),
            np.stack([_filled(part, size, empty) for part in chunks]),
            np.stack([_filled(part, size, users[0].shape[1]) for part in rows]),
            *map(np.stack, alike),
        )

    def to_batches(first: tf.Tensor, count: tf.Tensor) -> ChunkPart:
        """Several steps: every field has one dimension more."""
        kinds = (tf.int64, tf.float32, tf.int64, tf.int64, tf.int64, tf.float32)
        axes = (1, 1, 1 if table.resident is not None else 2, 1, 0, 0)
        arrays = tf.numpy_function(load, [first, count], kinds, stateful=False)
        for array, more in zip(arrays, axes, strict=True):
            array.set_shape([None, parts, *[None] * more])
        return ChunkPart(*arrays)

    several = max(1, LOADED_USERS // -(-batch_size // world.size))
    short = 2 * (train.n_users % batch_size) < batch_size and train.n_users % batch_size > 0
    starts = tf.data.Dataset.from_tensor_slices(loads(start_step, total_steps, whole.per_epoch, short, several))
    loaded = starts.map(to_batches, num_parallel_calls=2, deterministic=True)
    return prefetched(loaded.flat_map(tf.data.Dataset.from_tensor_slices), PREFETCH)


def _filled(chunks: npt.NDArray[np.int64], size: int, value: Any) -> npt.NDArray[np.int64]:
    """[G, size, ...] with a value after what is there."""
    filled = np.full((chunks.shape[0], size, *chunks.shape[2:]), value, np.int64)
    filled[:, : chunks.shape[1]] = chunks
    return filled
