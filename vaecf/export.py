"""VAE-CF as a recommender: from padded item ids to the top-k, in one graph."""

from __future__ import annotations

import tensorflow as tf

from vaecf.model import MultVae


class VaeRecommender(tf.Module):
    """Wraps a trained model; `recommend` is what a SavedModel serves."""

    def __init__(self, model: MultVae, top_k: int) -> None:
        """
        Args:
            top_k: items an answer holds; at most the number of items.
        """
        super().__init__(name="vae_recommender")
        self._model, self._top_k = model, min(top_k, model.n_items)

    @tf.function(input_signature=[tf.TensorSpec([None, None], tf.int32, name="item_ids")])
    def recommend(self, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best items that the user does not have.

        Args:
            item_ids: int32 [B, L] distinct item indices, padded with the item count I anywhere in a row.

        Returns:
            items int32 [B, K], -1 where nothing is left to recommend; scores float32 [B, K], best first.
        """
        present = item_ids < self._model.n_items
        rows = tf.where(present)[:, 0]
        row_splits = tf.concat([[0], tf.cumsum(tf.reduce_sum(tf.cast(present, tf.int64), axis=1))], axis=0)
        flat = tf.boolean_mask(item_ids, present)
        scores = self._model.scores(flat, row_splits)
        where = tf.stack([tf.cast(rows, tf.int32), flat], axis=1)
        hidden = tf.fill([tf.size(flat)], -float("inf"))
        best = tf.math.top_k(tf.tensor_scatter_nd_update(scores, where, hidden), k=self._top_k, sorted=True)
        items = tf.where(tf.equal(best.values, -float("inf")), -1, best.indices)
        return {"items": items, "scores": best.values}
