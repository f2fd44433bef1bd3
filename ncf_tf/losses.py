"""Binary cross-entropy of positives against sampled negatives (He et al. 2017, equation 7).

Shape legend: P positives of this rank's part of a batch, N negatives of each, M members.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from ncf_tf.dropout import Dropping
from ncf_tf.model import NeuMf
from ncf_tf.negatives import NegativeSampler
from ncf_tf.rows import AS_EMBEDDINGS, Projected
from recsys_core.pipeline import PairBatch

TERMS = ("loss", "cross_entropy", "embedding_penalty")


def binary_cross_entropy(logits: tf.Tensor) -> tf.Tensor:
    """[] sum over logits [P, 1 + N, ...] whose first column is positive and the others negative, in float32."""
    return tf.reduce_sum(tf.nn.softplus(-logits[:, 0])) + tf.reduce_sum(tf.nn.softplus(logits[:, 1:]))


class SampledLoss:
    """What a training step minimises: draws the negatives, then compares."""

    def __init__(
        self,
        model: NeuMf,
        sampler: NegativeSampler,
        negatives: int,
        embedding_l2: float = 0.0,
        projected: Projected = AS_EMBEDDINGS,
    ) -> None:
        """
        Args:
            projected: MLP tables that go through the first layer whole (not with `embedding_l2` or dropout of
                embeddings, which act on looked-up rows).
        """
        self._model, self._sampler, self._negatives, self._l2 = model, sampler, negatives, embedding_l2
        self._projected = projected

    def __call__(self, batch: PairBatch, fraction: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """This rank's share of the terms; shares add up over ranks to the mean over the samples of the global batch.

        The loss is the sum over the members (so each learns as if alone), the cross-entropy is their mean.
        """
        del fraction
        drawn = self._sampler.draw(batch.epoch, batch.positions, batch.users)
        items = tf.concat([batch.items[:, None], drawn], axis=1)
        samples = batch.positions[:, None] * (1 + self._negatives) + tf.range(1 + self._negatives, dtype=tf.int64)
        rows = self._model.look_up(batch.users, items, self._projected)
        logits = self._model.logits_of_members(rows, Dropping(batch.step, samples))
        everywhere = batch.global_pairs * (1.0 + self._negatives)
        entropy = binary_cross_entropy(logits) / everywhere
        penalty = tf.constant(0.0)
        if self._l2:
            penalty = self._l2 * rows.squared_norms() / everywhere
        return {
            "loss": entropy + penalty,
            "cross_entropy": entropy / self._model.members,
            "embedding_penalty": penalty,
        }
