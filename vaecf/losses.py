"""The multinomial likelihood of a user's items and the KL term, without ever building the dense history.

For a user with item set S, n = |S| and logits y the negative log-likelihood is n * logsumexp(y) - sum of y over S: the
history is only needed at the picked logits. Its gradient for the logits is n * softmax(y), less 1 at the picked ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from recsys_core.input.batches import rows_of
from vaecf.item_blocks import chunk_by_blocks

CHUNK_LOGITS = 3 << 24
"""Logits [chunk, I] that exist at one time: loss and gradient of a chunk of users are taken while they are there: 192
MiB in float32, several times over. Every chunk passes over the gradient of the kernel once more, and a product over few
users is slow: at ML-20M's shape chunks of 500 users cost 4 % of the limit's speed in fp32 and 10 % or more in bf16."""
FEW_USERS = 64
"""Where a chunk has room for fewer users than this (above 786,432 items), and a batch has more than one chunk, blocks
of items take the place of chunks of users: they cost little more there, and need less
memory (docs/known-limits.md, "Sizes")."""


def _softmax_terms(
    hidden: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, counts: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Logits [B, I], logsumexp [B] and counts * softmax [B, I] of the last layer, in float32."""
    logits = tf.cast(tf.matmul(hidden, kernel), tf.float32) + bias
    peak = tf.reduce_max(logits, axis=1, keepdims=True)
    powers = tf.exp(logits - peak)
    total = tf.reduce_sum(powers, axis=1, keepdims=True)
    return logits, tf.squeeze(peak + tf.math.log(total), axis=1), powers * (counts[:, None] / total)


def _chunk(
    hidden: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    item_ids: tf.Tensor,
    rows: tf.Tensor,
    counts: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Loss of some users and its gradients for hidden [B, H], kernel [H, I] and bias [I]."""
    logits, log_total, gradient = _softmax_terms(hidden, kernel, bias, counts)
    where = tf.stack([tf.cast(rows, tf.int32), item_ids], axis=1)
    loss = tf.reduce_sum(counts * log_total) - tf.reduce_sum(tf.gather_nd(logits, where))
    gradient = tf.tensor_scatter_nd_sub(gradient, where, tf.ones([tf.size(item_ids)]))
    narrow = tf.cast(gradient, hidden.dtype)
    return (
        loss,
        tf.matmul(narrow, kernel, transpose_b=True),
        _kernel_gradient(hidden, gradient, narrow),
        tf.reduce_sum(gradient, axis=0),
    )


def _kernel_gradient(hidden: tf.Tensor, gradient: tf.Tensor, narrow: tf.Tensor) -> tf.Tensor:
    """[H, I] float32 sum over users of hidden [B, H] times the gradient [B, I] (`narrow`: in the compute type).

    In float16 the sum over many users passes the largest number, 65,504, before any loss scale acts on it: there the
    product is taken in float32. bfloat16 has the range of float32.
    """
    if hidden.dtype == tf.float16:
        return tf.matmul(tf.cast(hidden, tf.float32), gradient, transpose_a=True)
    return tf.cast(tf.matmul(hidden, narrow, transpose_a=True), tf.float32)


def _even_chunk(users: tf.Tensor, most: int) -> tf.Tensor:
    """Size of chunks of at most so many users, as even as can be."""
    chunks = tf.maximum(-(-users // most), 1)
    return tf.maximum(-(-users // chunks), 1)


def _in_chunks(
    hidden: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    item_ids: tf.Tensor,
    rows: tf.Tensor,
    row_splits: tf.Tensor,
    counts: tf.Tensor,
    most: int,
) -> tuple[tf.Tensor, ...]:
    """`_chunk` of at most `most` users at a time: the loss, and its gradients for hidden, kernel and bias."""
    users = tf.shape(hidden)[0]
    size = _even_chunk(users, most)

    def part(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        end = tf.minimum(start + size, users)
        first, last = row_splits[start], row_splits[end]
        local = rows[first:last] - tf.cast(start, tf.int64)
        return _chunk(hidden[start:end], kernel, bias, item_ids[first:last], local, counts[start:end])

    def body(start: tf.Tensor, loss: tf.Tensor, h: tf.Tensor, k: tf.Tensor, b: tf.Tensor) -> tuple:
        more = part(start)
        return start + size, loss + more[0], tf.concat([h, more[1]], axis=0), k + more[2], b + more[3]

    shapes = [tf.TensorShape([]), tf.TensorShape([]), hidden.shape[:0].concatenate([None, hidden.shape[1]])]
    _, *found = tf.while_loop(
        lambda start, *_: start < users,
        body,
        (size, *part(tf.constant(0))),
        shape_invariants=(*shapes, kernel.shape, bias.shape),
        parallel_iterations=1,
    )
    return tuple(found)


def multinomial_nll(
    hidden: tf.Tensor,
    kernel: tf.Tensor,
    bias: tf.Tensor,
    item_ids: tf.Tensor,
    row_splits: tf.Tensor,
    *,
    chunk_users: int | None = None,
) -> tf.Tensor:
    """[] negative log-likelihood, summed over users (Liang et al. 2018, equation 2).

    Args:
        hidden: [B, H] last hidden layer, in the compute type.
        kernel: [H, I] and bias: [I] of the output layer, float32.
        item_ids: [N] int32 distinct items of each user; row_splits: [B + 1].
        chunk_users: users at one time at most (default: by `CHUNK_LOGITS`); changes memory and speed, not the result.

    The gradients are taken for a sum of unit weights and scaled afterwards, so that fp16 neither under- nor overflows
    on the way.
    """
    most = chunk_users or max(CHUNK_LOGITS // kernel.shape[1], 1)
    rows, counts = rows_of(row_splits), tf.cast(row_splits[1:] - row_splits[:-1], tf.float32)

    @tf.custom_gradient
    def compute(hidden: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        layer = hidden, tf.cast(kernel, hidden.dtype), bias

        def by_users() -> tuple[tf.Tensor, ...]:
            return _in_chunks(*layer, item_ids, rows, row_splits, counts, most)

        def by_blocks() -> tuple[tf.Tensor, ...]:
            return chunk_by_blocks(*layer, item_ids, rows, counts)

        is_wide = chunk_users is None and most < FEW_USERS
        found = tf.cond(tf.shape(hidden)[0] <= most, by_users, by_blocks) if is_wide else by_users()
        loss, for_hidden, for_kernel, for_bias = found

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            scaled_hidden = tf.cast(tf.cast(for_hidden, tf.float32) * upstream, hidden.dtype)
            return scaled_hidden, for_kernel * upstream, for_bias * upstream

        return loss, gradient

    return compute(hidden, kernel, bias)


def kl_divergence(mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """[B] KL(N(mean, variance) || N(0, 1)), from [B, L] (Kingma and Welling 2014, appendix B)."""
    return 0.5 * tf.reduce_sum(tf.exp(log_variance) + tf.square(mean) - 1.0 - log_variance, axis=1)


def normal_log_density(x: tf.Tensor, mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """Logarithm of the density of N(mean, variance) at x; all of one shape, element by element."""
    return -0.5 * (log_variance + math.log(2 * math.pi) + tf.square(x - mean) * tf.exp(-log_variance))
