"""Products of sparse histories with a dense kernel, within the limits of TensorFlow's operator on GPUs.

Shape legend: B users, N interactions, I items, H columns of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, NamedTuple

import tensorflow as tf

from recsys_core import numerics

GPU_LIMIT = 2**31 - 1
"""On a GPU TensorFlow's sparse product refuses this many numbers, or more, in the kernel, in the result, and in its
interactions times the columns."""
DETERMINISTIC_LIMIT = 1 << 28
"""The same for the deterministic form, which holds interactions times columns numbers in memory: 1 GiB of float32."""


class _Entries(NamedTuple):
    """A sparse matrix [B, I]."""

    item_ids: tf.Tensor
    """[N] int32"""
    rows: tf.Tensor
    """[N] int64, ascending"""
    values: tf.Tensor
    """[N] float32"""
    n_rows: tf.Tensor
    """[] int64 B"""


Forward = Callable[[_Entries, Any], tf.Tensor]
"""(entries, kernel [I, H]) -> [B, H]"""
Backward = Callable[[_Entries, tf.Tensor, Any], tf.Tensor]
"""(entries, gradient of the product [B, H], I) -> the kernel's gradient [I, H]"""


def is_on_host(kernel: Any) -> bool:
    """Whether a variable lies in host memory of a machine that has a GPU."""
    return bool(tf.config.list_logical_devices("GPU")) and "CPU" in (getattr(kernel, "device", "") or "")


def product_limit(kernel: Any) -> int | None:
    """The numbers that a product with this kernel must stay below; None on CPUs, which take any number."""
    if not tf.config.list_logical_devices("GPU") or is_on_host(kernel):
        return None
    return DETERMINISTIC_LIMIT if numerics.are_operators_deterministic() else GPU_LIMIT


def sparse_product(
    item_ids: tf.Tensor,
    rows: tf.Tensor,
    values: tf.Tensor,
    n_rows: tf.Tensor,
    kernel: tf.Variable | tf.Tensor,
    *,
    by_rows: bool = False,
) -> tf.Tensor:
    """[B, H] for each user the sum over its interactions of the value times the item's row of the kernel.

    It is computed where the kernel lies. Where there is a limit, users are cut into blocks that stay below it: the
    product and its gradient are the same numbers. A gradient reaches the kernel; none reaches the values there.

    Args:
        item_ids: [N] int32.
        rows: [N] int64 the user of each interaction, ascending.
        values: [N] float32.
        n_rows: [] int64 B.
        kernel: [I, H] float32.
        by_rows: look up the rows of the items that occur, and multiply these: the same product, whose gradient for a
            variable is IndexedSlices of these rows, each once, instead of [I, H].
    """
    limit, (n_items, width) = product_limit(kernel), kernel.shape
    with tf.device("/CPU:0") if is_on_host(kernel) else nullcontext():
        if by_rows:
            occurring, item_ids = tf.unique(item_ids)
            kernel = tf.gather(kernel, occurring)
        entries = _Entries(item_ids, rows, values, n_rows)
        if limit is None:
            return _sparse_form(entries, kernel)
    deterministic = numerics.are_operators_deterministic()
    forward, backward = (_segment_form, _segment_gradient) if deterministic else (_sparse_form, _sparse_gradient)
    columns = max(1, (limit - 1) // n_items)
    parts = [kernel[:, k : k + columns] for k in range(0, width, columns)] if columns < width else [kernel]
    products = [_in_blocks(entries, part, limit, forward, backward) for part in parts]
    return products[0] if len(products) == 1 else tf.concat(products, axis=1)


def _rows_of(kernel: Any) -> Any:
    """[] int64 I, or the number itself where it is known."""
    return tf.shape(kernel, tf.int64)[0] if kernel.shape[0] is None else kernel.shape[0]


def _matrix(entries: _Entries, n_items: Any) -> tf.SparseTensor:
    where = tf.stack([entries.rows, tf.cast(entries.item_ids, tf.int64)], axis=1)
    return tf.SparseTensor(where, entries.values, tf.stack([entries.n_rows, n_items]))


def _sparse_form(entries: _Entries, kernel: Any) -> tf.Tensor:
    """The product by TensorFlow's sparse operator."""
    product = tf.sparse.sparse_dense_matmul(_matrix(entries, _rows_of(kernel)), kernel)
    product.set_shape([None, kernel.shape[1]])
    return product


def _sparse_gradient(entries: _Entries, upstream: tf.Tensor, n_items: Any) -> tf.Tensor:
    return tf.sparse.sparse_dense_matmul(_matrix(entries, n_items), upstream, adjoint_a=True)


def _segment_form(entries: _Entries, kernel: Any) -> tf.Tensor:
    """The product by operators that have a deterministic form on GPUs, which the sparse one has not."""
    weighted = entries.values[:, None] * tf.gather(kernel, entries.item_ids)
    return tf.math.unsorted_segment_sum(weighted, entries.rows, entries.n_rows)


def _segment_gradient(entries: _Entries, upstream: tf.Tensor, n_items: Any) -> tf.Tensor:
    weighted = entries.values[:, None] * tf.gather(upstream, entries.rows)
    return tf.math.unsorted_segment_sum(weighted, entries.item_ids, n_items)


def _in_blocks(entries: _Entries, kernel: Any, limit: int, forward: Forward, backward: Backward) -> tf.Tensor:
    """The product with a kernel of fewer than `limit` numbers, some users at a time; its gradient, some columns."""
    n_items, width = _rows_of(kernel), kernel.shape[1]
    longest = tf.maximum(tf.size(entries.item_ids, tf.int64), entries.n_rows)

    @tf.custom_gradient
    def compute(kernel: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        product = tf.cond(
            longest * width < limit,
            lambda: forward(entries, kernel),
            lambda: _by_users(entries, kernel, (limit - 1) // width, forward),
        )

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            return tf.cond(
                longest * width < limit,
                lambda: backward(entries, upstream, n_items),
                lambda: _by_columns(entries, upstream, n_items, (limit - 1) // longest, backward),
            )

        return product, gradient

    return compute(tf.convert_to_tensor(kernel))


def _by_users(entries: _Entries, kernel: tf.Tensor, most: int, forward: Forward) -> tf.Tensor:
    """[B, H] the product of at most `most` users, and of at most `most` interactions, at a time (one user at least)."""
    item_ids, rows, values, n_rows = entries
    splits = tf.searchsorted(rows, tf.range(n_rows + 1), out_type=tf.int64)  # where each user's interactions begin
    none = tf.TensorArray(tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=[None, kernel.shape[1]])

    def one(start: tf.Tensor, parts: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        first = splits[start]
        end = tf.searchsorted(splits, [first + most], side="right", out_type=tf.int64)[0] - 1
        end = tf.minimum(tf.maximum(end, start + 1), tf.minimum(start + most, n_rows))
        last = splits[end]
        part = _Entries(item_ids[first:last], rows[first:last] - start, values[first:last], end - start)
        return end, parts.write(parts.size(), forward(part, kernel))

    start = tf.zeros([], tf.int64)
    return tf.while_loop(lambda start, _: start < n_rows, one, (start, none), parallel_iterations=1)[1].concat()


def _by_columns(entries: _Entries, upstream: tf.Tensor, n_items: Any, most: tf.Tensor, backward: Backward) -> tf.Tensor:
    """[I, H] the gradient of at most `most` [] columns at a time (one at least)."""
    width, step = upstream.shape[1], tf.cast(tf.maximum(most, 1), tf.int32)
    none = tf.TensorArray(tf.float32, 0, dynamic_size=True, infer_shape=False, element_shape=[None, None])

    def one(start: tf.Tensor, parts: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        end = tf.minimum(start + step, width)
        part = backward(entries, upstream[:, start:end], n_items)
        return end, parts.write(parts.size(), tf.transpose(part))

    loop = tf.while_loop(lambda start, _: start < width, one, (0, none), parallel_iterations=1)
    return tf.ensure_shape(tf.transpose(loop[1].concat()), [None if tf.is_tensor(n_items) else n_items, width])
