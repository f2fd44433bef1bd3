"""Rows looked up for a batch: embeddings, or rows of tables that were multiplied by the first layer whole.

Shape legend: P users, C items of each, F factors, E width of the MLP embeddings, H hidden units, R rows of a table.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf


@tf.custom_gradient
def rows_of(sums: tf.Tensor, ids: tf.Tensor) -> tuple[tf.Tensor, Callable[..., Any]]:
    """[..., H] rows of sums [R, H]. Their gradient is added up at once: left in slices it would be cast to the type of
    matrix products first, and a popular item's many small parts would no longer count."""

    def backward(upstream: tf.Tensor) -> tuple[tf.Tensor, None]:
        flat = tf.reshape(upstream, [-1, sums.shape[1]])
        return tf.math.unsorted_segment_sum(flat, tf.reshape(ids, [-1]), sums.shape[0]), None

    return tf.gather(sums, ids), backward


class Projected(NamedTuple):
    """Which MLP tables are multiplied by the first layer whole, before rows are looked up.

    The same sums in another order: a product of R rows instead of one for each of L lookups, so it pays where R < L.
    """

    users: bool = False
    items: bool = False


AS_EMBEDDINGS = Projected()


class EmbeddingLookup(NamedTuple):
    """Embeddings looked up for P users and C items of each; None for a tower that the model does not have. float32."""

    candidates: tf.Tensor
    """[] C"""
    gmf: tuple[tf.Tensor, tf.Tensor] | None
    """users [P, F] and items [P, C, F]"""
    mlp: tuple[tf.Tensor, tf.Tensor] | None
    """users [P, E] and items [P, C, E], or [C, P, E] where `items_major`; H instead of E where `projected`."""
    biases: tuple[tf.Tensor, tf.Tensor] | None
    """users [P, 1] and items [P, C, 1]"""
    projected: Projected = AS_EMBEDDINGS
    items_major: bool = False
    """The items of the MLP lie [C, P]: the gradient of a user is a sum over its items, and sums over the outermost axis
    run through memory in order."""

    def squared_norms(self, weights: tf.Tensor | None = None) -> tf.Tensor:
        """[] sum over samples (a user counts C times) of the squared norms of their embeddings.

        Args:
            weights: [P] 1 or 0, whether a user and its items count; None for all.
        """
        assert not any(self.projected), "embeddings that went through the first layer are not available"
        times, parts = tf.cast(self.candidates, tf.float32), []
        for part in (part for part in (self.gmf, self.mlp, self.biases) if part is not None):
            user, item = part
            if weights is not None:
                ordered = weights[None, :, None] if self.items_major and part is self.mlp else weights[:, None, None]
                user, item = user * weights[:, None], item * ordered
            parts.append(2.0 * (times * tf.nn.l2_loss(user) + tf.nn.l2_loss(item)))  # its gradient is one pass
        return tf.add_n(parts)
