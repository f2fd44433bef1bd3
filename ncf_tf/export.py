"""NCF as a recommender: from user ids to the top-k, of the whole catalogue or of given candidates, in one graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core import topk
from recsys_core.compiled import compiled_top_k
from recsys_core.dataset import Dataset
from recsys_core.golden_requests import made_up_histories
from recsys_core.matrices import Csr
from recsys_core.signatures import (
    GOLDEN_REQUESTS,
    Exported,
    Signature,
    compiled_signature,
    histories_of_padded,
    pool_size,
    requests_within,
)

if TYPE_CHECKING:
    from ncf_tf.network import NeuMfNetwork

USERS = tf.TensorSpec([None], tf.int32, name="user_ids")
ITEMS = tf.TensorSpec([None, None], tf.int32, name="item_ids")
GOLDEN_CANDIDATES = 100
"""Candidates of a golden request, where the data set has none."""
COMPILED_NUMBERS = 1 << 28
"""Hidden units that `recommend_compiled` computes at once, which bounds its memory: 1 GiB."""


def users_at_once(n_items: int, widest: int) -> int:
    """Users whose hidden units for all items are within COMPILED_NUMBERS: a power of two."""
    return 1 << max(0, (COMPILED_NUMBERS // (n_items * widest)).bit_length() - 1)


class NcfModule(tf.Module):
    """Wraps a trained model; its methods are what a SavedModel serves. It holds nothing that a user has."""

    def __init__(self, model: NeuMfNetwork, top_k: int) -> None:
        """
        Args:
            top_k: items an answer holds; at most the number of items.
        """
        super().__init__(name="ncf_module")
        self._model, self.top_k = model, min(top_k, model.n_items)
        self._pool, self.history_limit = pool_size(model.n_items, self.top_k)
        self._compiled = compiled_top_k(self._compiled_scores, model.n_items, self.top_k)

    @tf.function(input_signature=[USERS, ITEMS], autograph=False)
    def recommend(self, user_ids: tf.Tensor, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best items of the catalogue that the request does not hold, by TensorFlow's kernels: the reference.

        Args:
            user_ids: int32 [B] rows of the training matrix (users.parquet of the data set).
            item_ids: int32 [B, L] item indices that must not be recommended, padded with the item count I.

        Returns:
            items int32 [B, K], -1 where nothing is left to recommend; scores float32 [B, K] logits, best first;
            all_scores float32 [B, I] logits by item, minus infinity for the items that the user has.
        """
        seen = histories_of_padded(item_ids, self._model.n_items)
        return self._best_unseen(user_ids, seen.item_ids, seen.row_splits)

    def _best_unseen(self, user_ids: tf.Tensor, seen: tf.Tensor, row_splits: tf.Tensor) -> dict[str, tf.Tensor]:
        scores = topk.exclude(self._model.catalogue(user_ids), seen, row_splits)
        best, items = topk.top_k(scores, self.top_k)
        return {"items": tf.where(tf.equal(best, -float("inf")), -1, items), "scores": best, "all_scores": scores}

    @tf.function(input_signature=[USERS, ITEMS], autograph=False)
    def serving_compiled(self, user_ids: tf.Tensor, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`serving` for GPUs, by XLA."""
        return self._compiled(item_ids, user_ids)

    def _compiled_scores(self, item_ids: tf.Tensor, user_ids: tf.Tensor) -> tf.Tensor:
        """[B, I] float32 logits, of blocks of users that bound the memory; B is a power of two."""
        del item_ids
        if self._model.mlp is None:
            return self._model.catalogue_at_once(user_ids)
        length = tf.minimum(tf.size(user_ids), users_at_once(self._model.n_items, self._model.mlp.widest))
        scores = tf.map_fn(
            self._model.catalogue_at_once,
            tf.reshape(user_ids, [-1, length]),
            fn_output_signature=tf.TensorSpec([None, self._model.n_items], tf.float32),
        )
        return tf.reshape(scores, [-1, self._model.n_items])

    @tf.function(input_signature=[USERS, ITEMS], autograph=False)
    def serving(self, user_ids: tf.Tensor, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`recommend` in operators that ONNX Runtime and TensorRT's ONNX parser take; the request names the seen items.

        Args:
            item_ids: int32 [B, L] item indices that must not be recommended, padded with the item count I.
        """
        return topk.top_k_unseen(self._model.catalogue_at_once(user_ids), item_ids, self.top_k)

    @tf.function(input_signature=[USERS, ITEMS], autograph=False)
    def serving_no_scatter(self, user_ids: tf.Tensor, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`serving` in operators that TF-TRT takes, for at most `history_limit` items a row."""
        scores = self._model.catalogue_at_once(user_ids)
        return topk.top_k_unseen_no_scatter(scores, item_ids, self.top_k, self._pool)

    @tf.function(
        input_signature=[USERS, tf.TensorSpec([None, None], tf.int32, name="candidate_items")], autograph=False
    )
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
        scores = self._model.pair_scores(user_ids, tf.maximum(candidate_items, 0))
        scores = tf.where(present, scores, -float("inf"))
        best, places = topk.top_k(scores, tf.minimum(self.top_k, tf.shape(candidate_items)[1]))
        return {"items": tf.gather(candidate_items, places, batch_dims=1), "scores": best}


class NcfModuleWithUsers(NcfModule):
    """The same with the items of all users (--export-users), so that `recommend` takes users alone."""

    def __init__(self, model: NeuMfNetwork, train: Csr, top_k: int) -> None:
        """
        Args:
            train: items that users have; not recommended to them.
            top_k: items an answer holds; at most the number of items.
        """
        super().__init__(model, top_k)
        self._indptr = tf.Variable(np.asarray(train.indptr), trainable=False, name="seen/indptr")
        self._indices = tf.Variable(np.asarray(train.indices), trainable=False, name="seen/indices")

    def _seen(self, user_ids: tf.Tensor) -> tf.RaggedTensor:
        """The training items of users [B], one after another, and their row_splits."""
        starts, ends = tf.gather(self._indptr, user_ids), tf.gather(self._indptr, user_ids + 1)
        places = tf.ragged.range(starts, ends)
        return tf.RaggedTensor.from_row_splits(tf.gather(self._indices, places.values), places.row_splits)

    @tf.function(input_signature=[USERS], autograph=False)
    def recommend(self, user_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best items of the catalogue that the users do not have, as `NcfModule.recommend`."""
        seen = self._seen(user_ids)
        return self._best_unseen(user_ids, seen.values, seen.row_splits)

    @tf.function(input_signature=[USERS], autograph=False)
    def recommend_compiled(self, user_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`recommend` for GPUs, by XLA."""
        seen = self._seen(user_ids).to_tensor(tf.constant(self._model.n_items))
        return self._compiled(seen, user_ids)


def _golden_users(n_users: int) -> npt.NDArray[np.int32]:
    """[B] rows of training users, spread over all of them."""
    return np.unique(np.linspace(0, n_users - 1, min(GOLDEN_REQUESTS, n_users)).astype(np.int32))


def _golden_candidates(n_items: int, count: int) -> npt.NDArray[np.int32]:
    """[count, C] candidates for golden requests: distinct items from all of the catalogue, other ones for each."""
    spread = np.linspace(0, n_items, min(GOLDEN_CANDIDATES, n_items), endpoint=False).astype(np.int64)
    return ((spread[None, :] + np.arange(count)[:, None]) % n_items).astype(np.int32)


def ncf_signatures(model: NeuMfNetwork, data: Dataset, top_k: int, *, with_users: bool = False) -> Exported:
    """The signatures of NCF, with made-up requests.

    Args:
        with_users: export the training matrix too; `recommend` then takes users alone.
    """
    users = _golden_users(data.n_users)
    requests = {"user_ids": users, "item_ids": made_up_histories(data, len(users))}
    candidates = _golden_candidates(data.n_items, len(users))
    module = NcfModuleWithUsers(model, data.train, top_k) if with_users else NcfModule(model, top_k)
    plain = NcfModule(model, top_k)
    limit = module.history_limit
    signatures = {
        "recommend": Signature(function=module.recommend, requests={"user_ids": users} if with_users else requests),
        "serving": Signature(function=module.serving, requests=requests, reference=plain.recommend),
        "serving_no_scatter": Signature(
            function=module.serving_no_scatter,
            requests=requests_within(requests, data.n_items, limit),
            reference=plain.recommend,
            history_limit=limit,
        ),
        "rank": Signature(function=module.rank, requests={"user_ids": users, "candidate_items": candidates}),
        **compiled_signature("serving_compiled", module.serving_compiled, requests, plain.recommend),
    }
    if isinstance(module, NcfModuleWithUsers):
        compiled = module.recommend_compiled
        signatures |= compiled_signature("recommend_compiled", compiled, {"user_ids": users}, module.recommend)
    return Exported(module=module, signatures=signatures, top_k=module.top_k)
