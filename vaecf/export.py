"""VAE-CF as a recommender: from padded item ids to the top-k, in one graph."""

from __future__ import annotations

import tensorflow as tf

from recsys_core import topk
from recsys_core.export import POOL
from vaecf.model import MultVae

HISTORIES = tf.TensorSpec([None, None], tf.int32, name="item_ids")


class VaeRecommender(tf.Module):
    """Wraps a trained model; its methods are what a SavedModel serves. All give the same answers.

    Arguments of all: item_ids int32 [B, L] distinct item indices, padded with the item count I anywhere in a row.
    Answers of all: items int32 [B, K], -1 where nothing is left to recommend; scores float32 [B, K], best first.
    """

    def __init__(self, model: MultVae, top_k: int) -> None:
        """
        Args:
            top_k: items an answer holds; at most the number of items.
        """
        super().__init__(name="vae_recommender")
        self._model, self._top_k = model, min(top_k, model.n_items)
        self._pool = min(model.n_items, max(POOL, self._top_k))
        self.history_limit = self._pool - self._top_k if self._pool < model.n_items else None
        """Items a request of `serving_pool` may hold; None for any number."""

    @tf.function(input_signature=[HISTORIES])
    def recommend(self, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best items that the user does not have, by TensorFlow's sparse kernels: the reference."""
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

    @tf.function(input_signature=[HISTORIES])
    def serving(self, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`recommend` in operators that ONNX Runtime and TensorRT's ONNX parser take."""
        return topk.top_k_unseen(self._model.scores_of_padded(item_ids), item_ids, self._top_k)

    @tf.function(input_signature=[HISTORIES])
    def serving_pool(self, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`recommend` in operators that TF-TRT takes, for at most `history_limit` items a row."""
        return topk.top_k_unseen_of_pool(self._model.scores_of_padded(item_ids), item_ids, self._top_k, self._pool)
