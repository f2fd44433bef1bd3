"""Training negatives, drawn in the graph: uniform items, anew in every epoch, a pure function of (seed, epoch, pair).

They belong to the positive pair and not to the rank, so any number of ranks draws the same, and nothing is stored.
Shape legend: P pairs, N negatives of each, E training pairs, U users, I items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.errors import UserError
from recsys_core.input import noise
from recsys_core.matrices import Csr
from recsys_core.seeding import key64

BITMAP_BYTES = 1 << 30
"""A bitmap [U, I] up to this size; above it, a sorted list of the pairs (8 bytes each) is searched."""


def bitmap(train: Csr) -> npt.NDArray[np.int32]:
    """[U, ceil(I / 32)] one bit for each (user, item), set for training pairs."""
    words = (train.n_items + 31) // 32
    table = np.zeros((train.n_users, words), np.uint32)
    users = np.repeat(np.arange(train.n_users), np.diff(train.indptr))
    items = np.asarray(train.indices)
    place = users * words + (items >> 5)
    starts = np.flatnonzero(np.diff(place, prepend=-1))  # items ascend, so equal places stand together
    bits = np.left_shift(np.uint32(1), (items & 31).astype(np.uint32))
    if len(starts):
        table.ravel()[place[starts]] = np.bitwise_or.reduceat(bits, starts)
    return table.view(np.int32)


class KnownPairs(tf.Module):
    """Exact membership in the training pairs."""

    def __init__(self, train: Csr, bitmap_bytes: int = BITMAP_BYTES) -> None:
        super().__init__(name="known_pairs")
        self._n_items = train.n_items
        self._words = (train.n_items + 31) // 32
        self.by_bitmap = 4 * train.n_users * self._words <= bitmap_bytes
        if self.by_bitmap:
            values = bitmap(train).ravel()
        else:
            users = np.repeat(np.arange(train.n_users, dtype=np.int64), np.diff(train.indptr))
            values = np.append(users * train.n_items + train.indices, np.iinfo(np.int64).max)
        self._table = tf.Variable(values, trainable=False, name="known_pairs")

    def contains(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """[M] bool, for pairs of int32 users [M] and items [M]."""
        if self.by_bitmap:
            place = tf.cast(users, tf.int64) * self._words + tf.cast(items // 32, tf.int64)
            bits = tf.bitwise.right_shift(tf.gather(self._table, place), items % 32)
            return tf.not_equal(tf.bitwise.bitwise_and(bits, 1), 0)
        keys = tf.cast(users, tf.int64) * self._n_items + tf.cast(items, tf.int64)
        return tf.equal(tf.gather(self._table, tf.searchsorted(self._table, keys, out_type=tf.int64)), keys)


def check_negatives_left(train: Csr, verified: bool) -> None:
    """Refuse verified negatives where a user has every item.

    Raises:
        UserError: names the user's row.
    """
    full = np.flatnonzero(np.diff(train.indptr) >= train.n_items) if verified else np.empty(0)
    if full.size:
        raise UserError(
            f"--verify-negatives: the user in row {full[0]} has all {train.n_items} items, nothing is left to draw"
        )


class NegativeSampler(tf.Module):
    """Draws the negatives of positive pairs."""

    def __init__(self, train: Csr, negatives: int, *, seed: int, verified: bool) -> None:
        """
        Args:
            negatives: N, items for each pair.
            verified: whether items that the user has in training are drawn again, until none is left.

        Raises:
            ValueError: with `verified`, if a user has every item.
        """
        super().__init__(name="negative_sampler")
        self._n_items, self._negatives, self._key = train.n_items, negatives, key64(seed, "negatives")
        check_negatives_left(train, verified)
        self._known = KnownPairs(train) if verified else None

    def draw(self, epoch: tf.Tensor, positions: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
        """int32 [P, N] items.

        Args:
            epoch: [] int64.
            positions: [P] int64 places of the pairs among the training pairs.
            users: [P] int32 their users.
        """
        columns = (tf.range(self._negatives, dtype=tf.int64) + 1) * noise.GOLDEN
        words = noise.stream(self._key, epoch, positions)[:, None] + columns[None, :]
        items = noise.below(noise.mix(words), self._n_items)
        if self._known is None:
            return items
        owners = tf.repeat(users, self._negatives)
        flat = self._without_known(tf.reshape(words, [-1]), owners, tf.reshape(items, [-1]), self._known)
        return tf.reshape(flat, tf.shape(items))

    def _without_known(self, words: tf.Tensor, owners: tf.Tensor, items: tf.Tensor, known: KnownPairs) -> tf.Tensor:
        """Draw again, each time only for those that hit a training pair. All arguments and the result: [P * N]."""

        def places(tried: tf.Tensor, at: tf.Tensor) -> tf.Tensor:
            return tf.boolean_mask(at, known.contains(tf.gather(owners, at), tried))

        def again(attempt: tf.Tensor, items: tf.Tensor, wrong: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            fresh = noise.mix(noise.mix(tf.gather(words, wrong)) + attempt * noise.GOLDEN)
            tried = noise.below(fresh, self._n_items)
            items = tf.tensor_scatter_nd_update(items, wrong[:, None], tried)
            return attempt + 1, items, places(tried, wrong)

        everywhere = tf.range(tf.size(items))
        state = (tf.constant(1, tf.int64), items, places(items, everywhere))
        shapes = (tf.TensorShape([]), items.shape, tf.TensorShape([None]))
        return tf.while_loop(lambda attempt, items, wrong: tf.size(wrong) > 0, again, state, shapes)[1]
