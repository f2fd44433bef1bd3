"""Binary cross-entropy of positives against sampled negatives (He et al. 2017, equation 7).

Shape legend: P positives of this rank's part of a batch, N negatives of each.
"""

from __future__ import annotations

import tensorflow as tf


def binary_cross_entropy(logits: tf.Tensor) -> tf.Tensor:
    """[] sum over logits [P, 1 + N, ...] whose first column is positive and the others negative, in float32."""
    return tf.reduce_sum(tf.nn.softplus(-logits[:, 0])) + tf.reduce_sum(tf.nn.softplus(logits[:, 1:]))
