"""NCF as a recommender: from user ids to the top-k, of the whole catalogue or of given candidates, in one graph."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from ncf_tf.model import NeuMf
from recsys_core import topk
from recsys_core.dataset import Csr
from recsys_core.export import POOL

USERS = tf.TensorSpec([None], tf.int32, name="user_ids")


class NcfRecommender(tf.Module):
    """Wraps a trained model; its methods are what a SavedModel serves."""

    def __init__(self, model: NeuMf, train: Csr, top_k: int) -> None:
        """
        Args:
            train: what users have already; not recommended to them again.
            top_k: items an answer holds; at most the number of items.
        """
        super().__init__(name="ncf_recommender")
        self._model, self._top_k = model, min(top_k, train.n_items)
        self._pool = min(train.n_items, max(POOL, self._top_k))
        self.history_limit = self._pool - self._top_k if self._pool < train.n_items else None
        """Items a request of `serving_pool` may hold; None for any number."""
        self._indptr = tf.Variable(np.asarray(train.indptr), trainable=False, name="seen/indptr")
        self._indices = tf.Variable(np.asarray(train.indices), trainable=False, name="seen/indices")

    def _seen(self, user_ids: tf.Tensor) -> tf.RaggedTensor:
        """The training items of users [B], one after another, and their row_splits."""
        starts, ends = tf.gather(self._indptr, user_ids), tf.gather(self._indptr, user_ids + 1)
        places = tf.ragged.range(starts, ends)
        return tf.RaggedTensor.from_row_splits(tf.gather(self._indices, places.values), places.row_splits)

    @tf.function(input_signature=[USERS])
    def recommend(self, user_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best items of the catalogue that the users do not have.

        Args:
            user_ids: int32 [B] rows of the training matrix (users.parquet of the data set).

        Returns:
            items int32 [B, K], -1 where nothing is left to recommend; scores float32 [B, K] logits, best first.
        """
        seen = self._seen(user_ids)
        scores = topk.exclude(self._model.catalogue(user_ids), seen.values, seen.row_splits)
        best, items = topk.top_k(scores, self._top_k)
        return {"items": tf.where(tf.equal(best, -float("inf")), -1, items), "scores": best}

    @tf.function(input_signature=[USERS, tf.TensorSpec([None, None], tf.int32, name="item_ids")])
    def serving(self, user_ids: tf.Tensor, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`recommend` in operators that ONNX Runtime and TensorRT's ONNX parser take; the request says what is seen.

        Args:
            item_ids: int32 [B, L] item indices that must not be recommended, padded with the item count I.
        """
        return topk.top_k_unseen(self._model.catalogue_at_once(user_ids), item_ids, self._top_k)

    @tf.function(input_signature=[USERS, tf.TensorSpec([None, None], tf.int32, name="item_ids")])
    def serving_pool(self, user_ids: tf.Tensor, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`serving` in operators that TF-TRT takes, for at most `history_limit` items a row."""
        scores = self._model.catalogue_at_once(user_ids)
        return topk.top_k_unseen_of_pool(scores, item_ids, self._top_k, self._pool)

    @tf.function(input_signature=[USERS, tf.TensorSpec([None, None], tf.int32, name="candidate_items")])
    def rank(self, user_ids: tf.Tensor, candidate_items: tf.Tensor) -> dict[str, tf.Tensor]:
        """Candidates in the order of their scores.

        Args:
            user_ids: int32 [B].
            candidate_items: int32 [B, C] item indices, padded with -1 anywhere in a row.

        Returns:
            items int32 [B, min(C, K)], -1 where candidates ran out; scores float32, logits, best first.
            On a tie the candidate named first is first.
        """
        present = candidate_items >= 0
        scores = self._model.scores(user_ids, tf.maximum(candidate_items, 0))
        scores = tf.where(present, scores, -float("inf"))
        best, places = topk.top_k(scores, tf.minimum(self._top_k, tf.shape(candidate_items)[1]))
        return {"items": tf.gather(candidate_items, places, batch_dims=1), "scores": best}
