"""Top-k over all items with the seen ones excluded. Higher score first; on a tie the lower item index."""

from __future__ import annotations

import tensorflow as tf

from recsys_core.input.batches import rows_of

GROUP = 32
"""Number of items in a group; `top_k_of_many` sorts only the groups with the largest maxima."""


def exclude(scores: tf.Tensor, item_ids: tf.Tensor, row_splits: tf.Tensor) -> tf.Tensor:
    """Scores [B, I] with each row's own items (CSR: item_ids [N], row_splits [B + 1]) at minus infinity."""
    where = tf.stack([tf.cast(rows_of(row_splits), tf.int32), item_ids], axis=1)
    return tf.tensor_scatter_nd_update(
        scores, where, tf.fill([tf.size(item_ids)], tf.constant(-float("inf"), scores.dtype))
    )


def top_k(scores: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Scores [B, K] and items int32 [B, K], best first (`tf.math.top_k` promises the lower index on a tie)."""
    best = tf.math.top_k(scores, k=k, sorted=True)
    return best.values, best.indices


def top_k_of_many(scores: tf.Tensor, k: int) -> tuple[tf.Tensor, tf.Tensor]:
    """`top_k`, faster where k is few of many items: only the k groups of neighbouring items with the best maxima are
    sorted through.

    Exact, ties included. An item of a group left out has k items before it: the best of each group taken, which are
    better, or as good and of a group before its own.

    Args:
        scores: [B, I], I known when traced.
    """
    n_items = scores.shape[1]
    if n_items is None or 2 * k * GROUP > n_items:
        return top_k(scores, k)
    n_groups = -(-n_items // GROUP)
    lowest = tf.constant(-float("inf"), scores.dtype)
    padded = tf.pad(scores, [[0, 0], [0, n_groups * GROUP - n_items]], constant_values=lowest)
    groups = tf.reshape(padded, [-1, n_groups, GROUP])
    _, taken = tf.math.top_k(tf.reduce_max(groups, axis=2), k=k, sorted=False)
    taken = tf.sort(taken, axis=1)  # candidates by item, so that the lower one wins a tie again
    candidates = tf.reshape(tf.gather(groups, taken, batch_dims=1), [-1, k * GROUP])
    values, places = top_k(candidates, k)
    return values, tf.gather(taken, places // GROUP, batch_dims=1) * GROUP + places % GROUP


def top_k_unseen(scores: tf.Tensor, item_ids: tf.Tensor, k: int) -> dict[str, tf.Tensor]:
    """The best items that a request does not name, in operators that ONNX and TensorRT's ONNX parser take.

    Args:
        scores: [B, I].
        item_ids: int32 [B, L] what the user has, padded with I: the column that is appended for it is hidden too.

    Returns:
        items int32 [B, K], -1 where nothing is left; scores [B, K], best first; all_scores [B, I] as given. The masked
        ones would be a copy of them, which engines make even where nobody asks for it.
    """
    hidden = tf.constant(-float("inf"), scores.dtype)
    wide = tf.concat([scores, tf.fill([tf.shape(scores)[0], 1], hidden)], axis=1)
    rows = tf.broadcast_to(tf.range(tf.shape(item_ids)[0])[:, None], tf.shape(item_ids))
    where = tf.stack([rows, item_ids], axis=2)
    best, items = top_k(tf.tensor_scatter_nd_update(wide, where, tf.fill(tf.shape(item_ids), hidden)), k)
    return {"items": tf.where(tf.equal(best, hidden), -1, items), "scores": best, "all_scores": scores}


def top_k_unseen_no_scatter(scores: tf.Tensor, item_ids: tf.Tensor, k: int, pool: int) -> dict[str, tf.Tensor]:
    """`top_k_unseen` without a scatter, for TF-TRT, which has none: the best `pool` items less those seen.

    Exact as long as pool >= K + L or pool = I. Takes [B, pool, L] comparisons.
    """
    hidden = tf.constant(-float("inf"), scores.dtype)
    values, items = top_k(scores, pool)
    same = tf.cast(tf.equal(items[:, :, None], item_ids[:, None, :]), scores.dtype)
    values = tf.where(tf.reduce_max(same, axis=2) > 0.5, hidden, values)
    best, places = top_k(values, k)
    flat = places + pool * tf.range(tf.shape(scores)[0])[:, None]  # a gather without batch dimensions
    chosen = tf.gather(tf.reshape(items, [-1]), flat)
    return {"items": tf.where(tf.equal(best, hidden), -1, chosen), "scores": best, "all_scores": scores}


def is_member(items: tf.Tensor, wanted_ids: tf.Tensor, wanted_splits: tf.Tensor, n_items: int) -> tf.Tensor:
    """[B, K] bool: whether each recommended item is among its row's wanted ones.

    Args:
        items: int32 [B, K].
        wanted_ids: int32 [W], ascending within a row; wanted_splits: [B + 1].
    """
    keys = rows_of(wanted_splits) * n_items + tf.cast(wanted_ids, tf.int64)
    keys = tf.concat([keys, [tf.int64.max]], axis=0)  # a place for what is greater than all
    rows = tf.range(tf.shape(items, tf.int64)[0])[:, None]
    asked = tf.reshape(rows * n_items + tf.cast(items, tf.int64), [-1])
    found = tf.gather(keys, tf.searchsorted(keys, asked))
    return tf.reshape(tf.equal(found, asked), tf.shape(items))
