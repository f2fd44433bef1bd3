"""Top-k over all items with the seen ones excluded. Higher score first; on a tie the lower item index."""

from __future__ import annotations

import tensorflow as tf

from recsys_core.pipeline import rows_of


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
