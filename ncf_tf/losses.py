"""Binary cross-entropy of positives against sampled negatives (He et al. 2017, equation 7).

Shape legend: P positives of this rank's part of a batch, N negatives of each.
"""

from __future__ import annotations

import tensorflow as tf


def binary_cross_entropy(logits: tf.Tensor, weights: tf.Tensor | None = None) -> tf.Tensor:
    """[] sum over logits [P, 1 + N, ...] whose first column is positive and the others negative, in float32.

    Args:
        weights: [P] what each positive and its negatives count; None for 1.
    """
    positive, negative = tf.nn.softplus(-logits[:, 0]), tf.nn.softplus(logits[:, 1:])
    if weights is not None:
        positive *= tf.reshape(weights, [-1] + [1] * (len(logits.shape) - 2))
        negative *= tf.reshape(weights, [-1] + [1] * (len(logits.shape) - 1))
    return tf.reduce_sum(positive) + tf.reduce_sum(negative)
