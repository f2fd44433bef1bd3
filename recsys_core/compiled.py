"""Top-k of scores that XLA computes: few kernels and no copies in between on a GPU. CPUs are no faster by it.

XLA compiles a program for every shape, so batches and histories are padded to powers of two. Sorting stays outside:
XLA sorts whole rows, and TensorFlow's TopK too where K is 100 or more on a GPU, so only the groups of items with the
best maxima are sorted (as in `topk.top_k_of_many`).

Shape legend: B requests, L longest history, I items, W columns (I and at least one more), G groups, K top-k.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from recsys_core.topk import GROUP, top_k
from recsys_core.xla import compiled

SHORTEST = 16
"""Shorter histories are padded to this length."""
ALIGNMENT = 64
"""The number of columns of scores is a multiple of this, and so of GROUP."""
HIDDEN = -float("inf")
"""The score of seen items and of columns that are no item."""

Scores = Callable[..., tf.Tensor]


def padded_size(size: tf.Tensor, smallest: int = 1) -> tf.Tensor:
    """[] int32, the smallest power of two that is at least `size` and `smallest`."""
    powers = tf.constant([1 << k for k in range(31)])
    return tf.gather(powers, tf.searchsorted(powers, tf.maximum(size, smallest)[None])[0])


def widened(scores: tf.Tensor, n_items: int) -> tf.Tensor:
    """[B, W] scores [B, I] with hidden columns after the last item."""
    width = -(-(n_items + 1) // ALIGNMENT) * ALIGNMENT
    return tf.pad(scores, [[0, 0], [0, width - n_items]], constant_values=HIDDEN)


def in_groups(scores: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Scores [B, W], the same in groups [B, G, GROUP], and the largest of each group [B, G]."""
    groups = tf.reshape(scores, [tf.shape(scores)[0], scores.shape[1] // GROUP, GROUP])
    return scores, groups, tf.reduce_max(groups, axis=2)


def _hide(scores: tf.Tensor, item_ids: tf.Tensor, n_items: int) -> tf.Tensor:
    """[B, W] scores [B, I] with the items of item_ids int32 [B, L] hidden; ids from I on all mean column I."""
    wide = widened(scores, n_items)
    rows = tf.broadcast_to(tf.range(tf.shape(item_ids)[0])[:, None], tf.shape(item_ids))
    where = tf.stack([rows, tf.minimum(item_ids, n_items)], axis=2)
    return tf.tensor_scatter_nd_update(wide, where, tf.fill(tf.shape(item_ids), HIDDEN))


@tf.function(jit_compile=True, autograph=False)
def _candidates(groups: tf.Tensor, taken: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores [B, K * GROUP] of the groups int64 [B, K] that were taken of [B, G, GROUP], and these groups ascending."""
    ordered = tf.sort(taken, axis=1)  # by item, so that the lower one wins a tie
    return tf.reshape(tf.gather(groups, ordered, batch_dims=1), [tf.shape(taken)[0], -1]), ordered


@tf.function(jit_compile=True, autograph=False)
def _items(values: tf.Tensor, places: tf.Tensor, taken: tf.Tensor) -> tf.Tensor:
    """[B, K] int64 the items at these places int64 [B, K] of the candidates; -1 where the value is HIDDEN."""
    items = tf.gather(taken, places // GROUP, batch_dims=1) * GROUP + places % GROUP
    return tf.where(tf.equal(values, HIDDEN), tf.constant(-1, tf.int64), items)


def best_of_groups(scores: tf.Tensor, groups: tf.Tensor, maxima: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Values [B, K] and items int64 [B, K] of scores [B, W], which are also `groups` with `maxima` [B, G]."""
    if 2 * k * GROUP > scores.shape[1]:
        values, items = top_k(scores, k)
        return values, tf.where(tf.equal(values, HIDDEN), tf.constant(-1, tf.int64), tf.cast(items, tf.int64))
    # int64, because TensorFlow moves int32 to the host and back.
    taken = tf.cast(tf.math.top_k(maxima, k=k, sorted=False).indices, tf.int64)
    candidates, taken = _candidates(groups, taken)
    values, places = top_k(candidates, k)
    return values, _items(values, tf.cast(places, tf.int64), taken)


def compiled_top_k(scores: Scores, n_items: int, k: int) -> Callable[..., dict[str, tf.Tensor]]:
    """A function that gives the best unseen items, to be called in a tf.function that is not compiled itself.

    Args:
        scores: gives [B, I] float32 from item_ids int32 [B, L] and further int32 inputs [B], in operators that XLA
            compiles.

    Returns:
        A function of the same inputs, that gives items int32 [B, K], -1 where nothing is left, scores float32 [B, K],
        best first, and all_scores float32 [B, I], minus infinity for the items of item_ids.
    """

    @compiled
    def hidden_scores(item_ids: tf.Tensor, *others: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        return in_groups(_hide(scores(item_ids, *others), item_ids, n_items))

    def best_unseen(item_ids: tf.Tensor, *others: tf.Tensor) -> dict[str, tf.Tensor]:
        with tf.device("CPU:0"):  # where int32 lives
            batch, length = tf.shape(item_ids)[0], tf.shape(item_ids)[1]
            rows = padded_size(batch) - batch
            columns = padded_size(length, SHORTEST) - length
            item_ids = tf.pad(item_ids, [[0, rows], [0, columns]], constant_values=n_items)
            others = tuple(tf.pad(other, [[0, rows]]) for other in others)
        found, groups, maxima = hidden_scores(item_ids, *others)
        values, items = best_of_groups(found, groups, maxima, k)
        every = found[:batch, :n_items]
        with tf.device("CPU:0"):
            return {"items": tf.cast(items[:batch], tf.int32), "scores": values[:batch], "all_scores": every}

    return best_unseen
