"""The multinomial likelihood by blocks of items, for catalogues of which even few users have too many logits.

The logsumexp runs along from block to block, and the gradient computes the logits of each block again: one product of
matrices more than with all logits of some users at once, and no array that grows with users times items. The same as
`vaecf.dense.blocked_nll` does in the compiled step.

Shape legend: B users, N interactions, I items, H hidden units, K items of a block (the last one may have fewer).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import tensorflow as tf

LOWEST = -1e30
"""Below every logit."""
LOGITS = 1 << 20
"""Logits [B, K] of a block: 4 MiB in float32."""
FEWEST = 1024
"""Items of a block, however many users there are."""


class _Block(NamedTuple):
    """Some items, and the users' logits of them."""

    kernel: tf.Tensor
    """[H, K] in the compute type"""
    logits: tf.Tensor
    """[B, K] float32"""
    where: tf.Tensor
    """[M, 2] int32 user and column of the interactions inside"""


def _kernel_gradient(hidden: tf.Tensor, gradient: tf.Tensor, narrow: tf.Tensor) -> tf.Tensor:
    """[K, H] float32 sum over users of the gradient [B, K] times hidden [B, H] (`narrow`: in the compute type); in
    float32 for float16, whose largest number such sums pass."""
    if hidden.dtype == tf.float16:
        return tf.matmul(gradient, tf.cast(hidden, tf.float32), transpose_a=True)
    return tf.cast(tf.matmul(narrow, hidden, transpose_a=True), tf.float32)


def chunk_by_blocks(
    hidden: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, item_ids: tf.Tensor, rows: tf.Tensor, counts: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Loss of some users, and its gradients for hidden [B, H], kernel [H, I] and bias [I].

    Args:
        hidden: [B, H], and kernel [H, I], in the compute type; bias: [I] float32.
        item_ids: [N] int32; rows: [N] the user of each.
        counts: [B] float32 items of each user.
    """
    n_items, rows = kernel.shape[1], tf.cast(rows, tf.int32)
    block = tf.maximum(LOGITS // tf.maximum(tf.shape(hidden)[0], 1), FEWEST)

    def of_block(start: tf.Tensor) -> _Block:
        end = tf.minimum(start + block, n_items)
        part, inside = kernel[:, start:end], (item_ids >= start) & (item_ids < end)
        columns = tf.boolean_mask(item_ids, inside) - start
        logits = tf.cast(tf.matmul(hidden, part), tf.float32) + bias[start:end]
        return _Block(part, logits, tf.stack([tf.boolean_mask(rows, inside), columns], axis=1))

    def forward(start: tf.Tensor, peak: tf.Tensor, total: tf.Tensor, picked: tf.Tensor) -> tuple:
        _, logits, where = of_block(start)
        higher = tf.maximum(peak, tf.reduce_max(logits, axis=1))
        total = total * tf.exp(peak - higher) + tf.reduce_sum(tf.exp(logits - higher[:, None]), axis=1)
        return start + block, higher, total, picked + tf.reduce_sum(tf.gather_nd(logits, where))

    _, peak, total, picked = _over_items(n_items, forward, (tf.fill(tf.shape(counts), LOWEST), counts * 0.0, 0.0))
    log_total = peak + tf.math.log(total)

    def backward(start: tf.Tensor, h: tf.Tensor, k: tf.TensorArray, b: tf.TensorArray) -> tuple:
        part, logits, where = of_block(start)
        inner = tf.exp(logits - log_total[:, None]) * counts[:, None]
        inner = tf.tensor_scatter_nd_sub(inner, where, tf.ones([tf.shape(where)[0]]))
        narrow = tf.cast(inner, hidden.dtype)
        h += tf.cast(tf.matmul(narrow, part, transpose_b=True), tf.float32)
        k = k.write(k.size(), _kernel_gradient(hidden, inner, narrow))
        return start + block, h, k, b.write(b.size(), tf.reduce_sum(inner, axis=0))

    growing = partial(tf.TensorArray, tf.float32, 0, dynamic_size=True, infer_shape=False)
    parts = [growing(element_shape=shape) for shape in ([None, kernel.shape[0]], [None])]
    _, h, k, b = _over_items(n_items, backward, (tf.zeros(tf.shape(hidden)), *parts))
    of_layer = tf.ensure_shape(tf.transpose(k.concat()), kernel.shape), tf.ensure_shape(b.concat(), bias.shape)
    return tf.reduce_sum(counts * log_total) - picked, tf.cast(h, hidden.dtype), *of_layer


def _over_items(n_items: int, body: Callable[..., tuple], none: tuple) -> tuple:
    """Run the body for the first item of each block; one block at a time, so that one block's logits exist."""
    return tf.while_loop(lambda start, *_: start < n_items, body, (tf.constant(0), *none), parallel_iterations=1)
