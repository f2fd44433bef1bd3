"""Mult-VAE's first layer and likelihood in operators that XLA compiles well: on dense rows, or on blocks of items.

A user's items come as chunks of fixed width (`recsys_core.input.chunks`). Scatters and gathers rely on XLA: it drops a
scattered value whose index is out of range. So these functions work inside `tf.function(jit_compile=True)` only.

Shape legend: P users, M chunks, W chunk width, I items, J items padded to a multiple of `ALIGNMENT`, H hidden units,
K items of a block.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import tensorflow as tf

from recsys_core.input.chunks import parts_within

ALIGNMENT = 64
"""Tensor Cores are fast only where the inner axes of a product are multiples of 8 (16-bit types); 64 leaves room."""
DENSE_ITEMS = 1 << 16
"""Items up to which the first layer multiplies dense rows. Above, it adds up the kernel's rows of each user's items.
The dense way grows with I, the other with the items of a user: they cost the same at about 60,000 items by arithmetic
(80 items a user, H = 600, on an H100: 700 TFLOP/s against 3 TB/s); not measured on a GPU."""
BLOCK_ITEMS = 1 << 16
"""Items of a block of the likelihood, where there are more than `DENSE_ITEMS`."""
NO_ITEM = -1e30
"""Bias of a padded item: it has no probability."""
HALF_SCALE = 16.0
"""Sums over users, and over a user's items, are taken of 1 / 16 of the values in float16, whose largest number is
65,504."""


class Entries(NamedTuple):
    """The items of P users, one by one; some places are empty."""

    items: tf.Tensor
    """[M, W] int32 item, I in an empty place."""
    rows: tf.Tensor
    """[M, W] int32 user, from 0 to P - 1; P in an empty place, so that a scatter drops it."""
    present: tf.Tensor
    """[M, W] bool, False in an empty place."""
    n_rows: tf.Tensor
    """[] int32 P"""


@dataclass(frozen=True, kw_only=True)
class DensePlan:
    """How a compiled step cuts its arrays to a budget of memory."""

    parts: int = 1
    """Parts of the batch, one after another."""
    is_dense: bool = True
    """Whether the first layer multiplies dense rows [P, J]."""
    block: int
    """Items of a block of the likelihood; J where there is one block."""


def padded(n_items: int, multiple: int = ALIGNMENT) -> int:
    """J: the number of items, rounded up."""
    return -(-n_items // multiple) * multiple


def plan(n_items: int, users: int, itemsize: int, budget: float, looked_up: float = 0.0) -> DensePlan:
    """The plan for batches of some users.

    Args:
        itemsize: bytes of the compute type.
        budget: bytes that the arrays of a part may take together.
        looked_up: bytes [M, W, H] of the kernel's rows of one user's items, where the first layer looks them up.
    """
    width = padded(n_items)
    is_dense = n_items <= DENSE_ITEMS
    block = width if is_dense else min(BLOCK_ITEMS, width)
    # Four arrays in the compute type: history (dense only), logits, their gradient, and a copy for its scatter.
    # A pass of float32 over the logits is fused on GPUs; where it is not, it is the fifth.
    of_user = block * (4 * itemsize + 4) + (0 if is_dense else math.ceil(looked_up))
    return DensePlan(parts=parts_within(users, of_user, budget), is_dense=is_dense, block=block)


def entries(items: tf.Tensor, rows: tf.Tensor, n_rows: tf.Tensor, n_items: int) -> Entries:
    """The entries of chunks.

    Args:
        items: [M, W] int32, I in an empty place.
        rows: [M] int32 user of each chunk.
    """
    present = items < n_items
    return Entries(items, tf.where(present, rows[:, None], n_rows), present, n_rows)


def _places(rows: tf.Tensor, columns: tf.Tensor) -> tf.Tensor:
    """[N, 2] indices of a matrix."""
    return tf.stack([tf.reshape(rows, [-1]), tf.reshape(columns, [-1])], axis=1)


def _scale(kind: tf.DType) -> float:
    return HALF_SCALE if kind == tf.float16 else 1.0


def history(found: Entries, kept: tf.Tensor | None, width: int, kind: tf.DType, value: float = 1.0) -> tf.Tensor:
    """[P, width] the value at each user's items that are kept, else 0.

    Args:
        kept: [M, W] bool, what dropout leaves; None for all.
    """
    rows = found.rows if kept is None else tf.where(kept, found.rows, found.n_rows)
    places = _places(rows, found.items)
    zeros = tf.zeros([found.n_rows, width], kind)
    return tf.tensor_scatter_nd_update(zeros, places, tf.fill([tf.shape(places)[0]], tf.constant(value, kind)))


def first_layer(kernel: tf.Tensor, found: Entries, kept: tf.Tensor | None, kind: tf.DType) -> tf.Tensor:
    """[P, H] float32 sums of the kernel's rows [I, H] of each user's kept items, the way that suits I."""
    way = dense_first_layer if kernel.shape[0] <= DENSE_ITEMS else gathered_first_layer
    return way(kernel, found, kept, kind)


def dense_first_layer(kernel: tf.Tensor, found: Entries, kept: tf.Tensor | None, kind: tf.DType) -> tf.Tensor:
    """[P, H] float32 sums of the kernel's rows [I, H] of each user's kept items, by a product of dense rows."""
    n_items, scale = kernel.shape[0], _scale(kind)
    width = padded(n_items)

    @tf.custom_gradient
    def compute(kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        aligned = tf.pad(tf.cast(kernel, kind), [[0, width - n_items], [0, 0]])
        rows = history(found, kept, width, kind, 1.0 / scale)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            of_items = tf.matmul(rows, tf.cast(upstream, kind), transpose_a=True)
            return tf.cast(of_items, tf.float32)[:n_items] * scale

        return tf.cast(tf.matmul(rows, aligned), tf.float32) * scale, gradient

    return compute(kernel)


def gathered_first_layer(kernel: tf.Tensor, found: Entries, kept: tf.Tensor | None, kind: tf.DType) -> tf.Tensor:
    """The same sums by looking rows up: no array [P, I] is made."""
    weights = tf.cast(found.present if kept is None else found.present & kept, tf.float32)
    items = tf.minimum(found.items, kernel.shape[0] - 1)

    @tf.custom_gradient
    def compute(kernel: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        looked_up = tf.gather(tf.cast(kernel, kind), items)
        of_chunks = tf.reduce_sum(tf.cast(looked_up, tf.float32) * weights[:, :, None], axis=1)
        # A chunk that has an empty place may still have items: its user is that of its first place.
        total = tf.zeros([found.n_rows, kernel.shape[1]])
        sums = tf.tensor_scatter_nd_add(total, found.rows[:, :1], of_chunks)

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            of_rows = tf.gather(upstream, tf.minimum(found.rows, found.n_rows - 1)) * weights[:, :, None]
            flat = tf.reshape(of_rows, [-1, kernel.shape[1]])
            return tf.tensor_scatter_nd_add(tf.zeros(kernel.shape), tf.reshape(items, [-1, 1]), flat)

        return sums, gradient

    return compute(kernel)


def _logits(hidden: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.matmul(hidden, kernel), tf.float32) + bias


def _picked(logits: tf.Tensor, found: Entries, columns: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    """[] sum of the logits [P, K] at the entries that are inside of the block."""
    rows = tf.minimum(found.rows, found.n_rows - 1)
    safe = tf.clip_by_value(columns, 0, tf.shape(logits)[1] - 1)
    values = tf.gather_nd(logits, tf.stack([rows, safe], axis=2))
    return tf.reduce_sum(tf.where(inside, values, 0.0))


def _logit_gradient(
    logits: tf.Tensor, log_total: tf.Tensor, counts: tf.Tensor, places: tf.Tensor, kind: tf.DType
) -> tf.Tensor:
    """[P, K] counts * softmax, less 1 at the places [N, 2], in the compute type."""
    softmax = tf.cast(tf.exp(logits - log_total[:, None]) * counts[:, None], kind)
    return tf.tensor_scatter_nd_sub(softmax, places, tf.ones([tf.shape(places)[0]], kind))


def _kernel_gradient(hidden: tf.Tensor, gradient: tf.Tensor) -> tf.Tensor:
    """[H, K] float32 sum over users of hidden [P, H] times gradient [P, K]."""
    scale = _scale(hidden.dtype)
    narrow = hidden if scale == 1.0 else hidden / tf.cast(scale, hidden.dtype)
    return tf.cast(tf.matmul(narrow, gradient, transpose_a=True), tf.float32) * scale


def dense_nll(hidden: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, found: Entries, counts: tf.Tensor) -> tf.Tensor:
    """[] negative log-likelihood, summed over users (Liang et al. 2018, equation 2), with all logits at once.

    Args:
        hidden: [P, H] last hidden layer, in the compute type.
        kernel: [H, I] and bias: [I] of the output layer, float32.
        counts: [P] float32 items of each user.
    """
    n_items, kind = kernel.shape[1], hidden.dtype
    extra = padded(n_items) - n_items

    @tf.custom_gradient
    def compute(hidden: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        narrow = tf.pad(tf.cast(kernel, kind), [[0, 0], [0, extra]])
        logits = _logits(hidden, narrow, tf.pad(bias, [[0, extra]], constant_values=NO_ITEM))
        log_total = tf.reduce_logsumexp(logits, axis=1)
        loss = tf.reduce_sum(counts * log_total) - _picked(logits, found, found.items, found.present)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            inner = _logit_gradient(logits, log_total, counts, _places(found.rows, found.items), kind)
            for_hidden = tf.cast(tf.matmul(inner, narrow, transpose_b=True), tf.float32) * upstream
            for_kernel = _kernel_gradient(hidden, inner)[:, :n_items] * upstream
            for_bias = tf.reduce_sum(tf.cast(inner, tf.float32), axis=0)[:n_items] * upstream
            return tf.cast(for_hidden, kind), for_kernel, for_bias

        return loss, gradient

    return compute(hidden, kernel, bias)


def blocked_nll(
    hidden: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, found: Entries, counts: tf.Tensor, block: int
) -> tf.Tensor:
    """`dense_nll` a block of items at a time: the logsumexp runs along, and the backward pass computes logits again.

    Args:
        block: K items of a block.
    """
    n_items, kind = kernel.shape[1], hidden.dtype
    width = padded(n_items, block)

    @tf.custom_gradient
    def compute(hidden: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tuple[tf.Tensor, Callable]:
        narrow = tf.pad(tf.cast(kernel, kind), [[0, 0], [0, width - n_items]])
        wide_bias = tf.pad(bias, [[0, width - n_items]], constant_values=NO_ITEM)

        def of_block(start: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
            """Kernel and logits of a block, the entries' columns in it, and which entries are inside."""
            part = tf.slice(narrow, [0, start], [narrow.shape[0], block])
            columns = found.items - start
            inside = found.present & (columns >= 0) & (columns < block)
            return part, _logits(hidden, part, tf.slice(wide_bias, [start], [block])), columns, inside

        def forward(start: tf.Tensor, peak: tf.Tensor, total: tf.Tensor, picked: tf.Tensor) -> tuple:
            _, logits, columns, inside = of_block(start)
            higher = tf.maximum(peak, tf.reduce_max(logits, axis=1))
            total = total * tf.exp(peak - higher) + tf.reduce_sum(tf.exp(logits - higher[:, None]), axis=1)
            return start + block, higher, total, picked + _picked(logits, found, columns, inside)

        none = tf.fill([found.n_rows], NO_ITEM), tf.zeros([found.n_rows]), tf.constant(0.0)
        _, peak, total, picked = tf.while_loop(lambda start, *_: start < width, forward, (0, *none))
        log_total = peak + tf.math.log(total)

        def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            def backward(start: tf.Tensor, h: tf.Tensor, k: tf.TensorArray, b: tf.TensorArray) -> tuple:
                part, logits, columns, inside = of_block(start)
                places = _places(tf.where(inside, found.rows, found.n_rows), columns)
                inner = _logit_gradient(logits, log_total, counts, places, kind)
                h += tf.cast(tf.matmul(inner, part, transpose_b=True), tf.float32)
                k = k.write(start // block, _kernel_gradient(hidden, inner))
                return start + block, h, k, b.write(start // block, tf.reduce_sum(tf.cast(inner, tf.float32), axis=0))

            shapes = [kernel.shape[0], block], [block]
            blocks = (tf.TensorArray(tf.float32, size=width // block, element_shape=shape) for shape in shapes)
            _, h, k, b = tf.while_loop(
                lambda start, *_: start < width, backward, (0, tf.zeros(tf.shape(hidden)), *blocks)
            )
            for_kernel = tf.reshape(tf.transpose(k.stack(), [1, 0, 2]), [kernel.shape[0], width])[:, :n_items]
            for_bias = tf.reshape(b.stack(), [width])[:n_items]
            return tf.cast(h * upstream, kind), for_kernel * upstream, for_bias * upstream

        return tf.reduce_sum(counts * log_total) - picked, gradient

    return compute(hidden, kernel, bias)
