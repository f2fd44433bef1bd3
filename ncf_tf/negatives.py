"""Training negatives, drawn in the graph: uniform items, anew in every epoch, a pure function of (seed, epoch, pair).

They belong to the positive pair and not to the rank, so any number of ranks draws the same, and nothing is stored.
Shape legend: P pairs, N negatives of each, E training pairs, U users, I items.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.errors import UserError
from recsys_core.input import noise
from recsys_core.matrices import Csr
from recsys_core.seeding import key64

BITMAP_BYTES = 1 << 30
"""A bitmap [U, I] up to this size; above it, the items of the user are searched."""


def bitmap(train: Csr) -> npt.NDArray[np.int64]:
    """[U, ceil(I / 64)] one bit for each (user, item), set for training pairs.

    int64: TensorFlow keeps int32 in host memory, also that of operators on the GPU.
    """
    words = (train.n_items + 63) // 64
    table = np.zeros((train.n_users, words), np.uint64)
    users = np.repeat(np.arange(train.n_users), np.diff(train.indptr))
    items = np.asarray(train.indices)
    place = users * words + (items >> 6)
    starts = np.flatnonzero(np.diff(place, prepend=-1))  # items ascend, so equal places stand together
    bits = np.left_shift(np.uint64(1), (items & 63).astype(np.uint64))
    if len(starts):
        table.ravel()[place[starts]] = np.bitwise_or.reduceat(bits, starts)
    return table.view(np.int64)


def two_a_word(items: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """The numbers of [E], two in each word: those at even places in the lower half. One word at least."""
    return np.append(items, np.zeros(2 - len(items) % 2, np.int32)).view(np.int64)


def halved(train: Csr, users: npt.NDArray[np.int32], items: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
    """[P] whether each pair is one of training: its user's items are searched by halving, where the matrix has them."""
    low, end = train.indptr[users], train.indptr[users + np.int64(1)]
    high, last = end.copy(), len(train.indices) - 1
    if last < 0:
        return np.zeros(len(users), bool)
    while (open_ := low < high).any():
        middle = (low + high) // 2
        below = open_ & (train.indices[np.minimum(middle, last)] < items)
        low, high = np.where(below, middle + 1, low), np.where(open_ & ~below, middle, high)
    return (low < end) & (train.indices[np.minimum(low, last)] == items)


class KnownPairs(tf.Module):
    """Exact membership in the training pairs."""

    def __init__(self, train: Csr, bitmap_bytes: int = BITMAP_BYTES, *, on_device: bool = False) -> None:
        """
        Args:
            on_device: hold the items of all users, 4 bytes a pair, for programs that XLA compiles; else they are read
                from the matrix.
        """
        super().__init__(name="known_pairs")
        self._words = (train.n_items + 63) // 64
        self.by_bitmap = 8 * train.n_users * self._words <= bitmap_bytes
        self._train = train
        self._longest = int(np.diff(train.indptr).max(initial=0))
        self._table: Any = None
        self._starts: Any = None
        if self.by_bitmap:
            self._table = tf.Variable(bitmap(train).ravel(), trainable=False, name="known_pairs")
        elif on_device:
            self._table = tf.Variable(two_a_word(np.asarray(train.indices)), trainable=False, name="known_items")
            self._starts = tf.Variable(np.asarray(train.indptr), trainable=False, name="known_starts")

    def contains(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """bool of any shape, for pairs of int32 users and items."""
        if self._table is None:
            return self._found_in_matrix(users, items)
        users, items = tf.cast(users, tf.int64), tf.cast(items, tf.int64)
        if self._starts is not None:
            return self._found_on_device(users, items)
        words = tf.gather(self._table, users * self._words + items // 64)
        return tf.not_equal(tf.bitwise.bitwise_and(tf.bitwise.right_shift(words, items % 64), 1), 0)

    def _found_in_matrix(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        users = tf.broadcast_to(users, tf.shape(items))
        flat = [tf.reshape(users, [-1]), tf.reshape(items, [-1])]
        found = tf.numpy_function(lambda u, i: halved(self._train, u, i), flat, tf.bool, stateful=False)
        return tf.reshape(found, tf.shape(items))

    def _found_on_device(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """By halving. XLA has no search of its own: it compares every key with every value."""
        starts = tf.gather(self._starts, users)
        counts = tf.gather(self._starts, users + 1) - starts
        place = tf.zeros_like(items)  # how many of the user's items are below
        for bit in reversed(range(self._longest.bit_length())):
            further = place + (1 << bit)
            below = (further <= counts) & (self._item_at(starts + further - 1) < items)
            place = tf.where(below, further, place)
        return (place < counts) & tf.equal(self._item_at(starts + place), items)

    def _item_at(self, places: tf.Tensor) -> tf.Tensor:
        """int64 items at some places of all; any item where there is no such place."""
        words = tf.gather(self._table, tf.clip_by_value(places // 2, 0, self._table.shape[0] - 1))
        return tf.bitwise.bitwise_and(tf.bitwise.right_shift(words, 32 * (places % 2)), (1 << 32) - 1)


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

    def __init__(self, train: Csr, negatives: int, *, seed: int, verified: bool, fixed_shapes: bool = False) -> None:
        """
        Args:
            negatives: N, items for each pair.
            verified: whether items that the user has in training are drawn again, until none is left.
            fixed_shapes: draw again for all and keep those that are needed, which XLA can compile. The same items.

        Raises:
            ValueError: with `verified`, if a user has every item.
        """
        super().__init__(name="negative_sampler")
        self._n_items, self._negatives, self._key = train.n_items, negatives, key64(seed, "negatives")
        check_negatives_left(train, verified)
        self._known = KnownPairs(train, on_device=fixed_shapes) if verified else None
        self._fixed_shapes = fixed_shapes

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
        if self._fixed_shapes:
            return self._redrawn(words, users[:, None], items, self._known)
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

    def _redrawn(self, words: tf.Tensor, owners: tf.Tensor, items: tf.Tensor, known: KnownPairs) -> tf.Tensor:
        """`_without_known` in fixed shapes: words and items [P, N], owners [P, 1]."""

        def again(attempt: tf.Tensor, items: tf.Tensor, wrong: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            tried = noise.below(noise.mix(noise.mix(words) + attempt * noise.GOLDEN), self._n_items)
            return attempt + 1, tf.where(wrong, tried, items), wrong & known.contains(owners, tried)

        state = (tf.constant(1, tf.int64), items, known.contains(owners, items))
        return tf.while_loop(lambda attempt, items, wrong: tf.reduce_any(wrong), again, state)[1]
