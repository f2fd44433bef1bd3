"""Area under the ROC curve of each user (Bradley 1997; per user as in Rendle et al. 2009, section 3.2).

The probability that a relevant item scores higher than an item that is not, ties counting half:

    AUC = sum over relevant items r and others o of (1 if s(r) > s(o), 1/2 if s(r) = s(o), else 0) / (R x O)

Over the whole catalogue the others are all items that are neither known (fold-in) nor relevant (fold-out); among
candidates they are the sampled negatives, each item once. No value where there is no other item.

All is computed from one sorted row of scores a user, not from pairs: a binary search finds how many items score lower.
Shape legend: B users, J columns of scores, N relevant items of all users, C candidates.
"""

from __future__ import annotations

import tensorflow as tf


def _first_place(ordered: tf.Tensor, rows: tf.Tensor, scores: tf.Tensor, *, after_equals: bool) -> tf.Tensor:
    """[N] int64 how many of a row's values are less than a score, or not greater with `after_equals`.

    A binary search of a fixed number of steps, in operators that XLA compiles.

    Args:
        ordered: [B, J] ascending, J known when traced.
        rows: [N] int64
        scores: [N]
    """
    width = ordered.shape[1]
    flat, start = tf.reshape(ordered, [-1]), rows * width
    low, high = tf.zeros_like(rows), tf.zeros_like(rows) + width
    for _ in range(width.bit_length()):
        middle = (low + high) // 2
        value = tf.gather(flat, start + tf.minimum(middle, width - 1))
        goes_on = (value <= scores) if after_equals else (value < scores)
        goes_on &= low < high
        low, high = tf.where(goes_on, middle + 1, low), tf.where(goes_on, high, middle)
    return low


def auc(scores: tf.Tensor, hidden: tf.Tensor, rows: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
    """[B] float64 area under the curve of each user; NaN without a relevant or without another item.

    Args:
        scores: [B, J] with the columns that are not ranked at minus infinity, J known when traced.
        hidden: [B] int64 number of these columns.
        rows: [N] int64 user of each relevant item; other numbers than those of users are left out.
        items: [N] int64 the relevant items.
    """
    users, width = tf.shape(scores, tf.int64)[0], scores.shape[1]
    known = (rows >= 0) & (rows < users) & (items >= 0) & (items < width)
    rows_in, items_in = tf.where(known, rows, 0), tf.where(known, items, 0)
    own = tf.gather_nd(scores, tf.stack([rows_in, items_in], axis=1))
    ordered = tf.sort(scores, axis=1)
    left_out = tf.gather(hidden, rows_in)
    below = tf.maximum(_first_place(ordered, rows_in, own, after_equals=False) - left_out, 0)
    upto = _first_place(ordered, rows_in, own, after_equals=True) - left_out
    # The middle rank, from 1, of an item among those that tie with it.
    middle = tf.where(known, tf.cast(below + upto + 1, tf.float64) / 2, 0.0)
    total = tf.math.unsorted_segment_sum(middle, rows_in, users)
    relevant = tf.math.unsorted_segment_sum(tf.cast(known, tf.float64), rows_in, users)
    others = tf.cast(width - hidden, tf.float64) - relevant
    pairs = relevant * others
    return tf.where(pairs > 0, (total - relevant * (relevant + 1) / 2) / pairs, tf.constant(float("nan"), tf.float64))


def auc_among_candidates(scores: tf.Tensor, present: tf.Tensor) -> tf.Tensor:
    """[B] float64 area under the curve of the item to be found among its candidates; NaN without another candidate.

    Args:
        scores: [B, C] of the item to be found, then of the others.
        present: [B, C] bool, False for those that do not count.
    """
    others = present[:, 1:]
    lower = tf.cast(others & (scores[:, 1:] < scores[:, :1]), tf.float64)
    equal = tf.cast(others & tf.equal(scores[:, 1:], scores[:, :1]), tf.float64)
    return tf.reduce_sum(lower + equal / 2, axis=1) / tf.reduce_sum(tf.cast(others, tf.float64), axis=1)
