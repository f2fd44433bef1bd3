"""The vectors of users from those of their items, and the other way round, by regularised least squares.

For the items of a row the target is 1, for all others 0 with a smaller weight. With Y the vectors of all items, Y_u
those of the row's items, G = YᵀY and the L2 r of the row, its vector x solves (Rendle et al. 2021)

    (w G + Y_uᵀ Y_u + r 1) x = Y_uᵀ 1          w: weight of the unobserved items

Shape legend: R rows, B rows in a block, L longest row, I items, D width of vectors, N interactions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.matrices import Csr

BLOCK_BYTES = 1 << 27
"""Bytes of the arrays of rows that are solved at once."""
ACCURACY = 1e-6
"""Residual at which the iteration of `fold_in` ends, relative to the right side; float32 has 6e-8."""


def shrinkage(lengths: Any, others: int, regularization: float, unobserved: float, exponent: float) -> Any:
    """[R] L2 of each row: regularization * (length + unobserved * others) ** exponent (Rendle et al. 2021).

    Args:
        lengths: [R] float items of each row, an array or a tensor.
        others: how many items there are.
    """
    return regularization * (lengths + unobserved * others) ** exponent


@tf.function(
    input_signature=[
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([None, None], tf.float32),
        tf.TensorSpec([None, None], tf.int32),
        tf.TensorSpec([None], tf.float32),
    ],
    autograph=False,
)
def _solve_block(vectors: tf.Tensor, base: tf.Tensor, item_ids: tf.Tensor, shrinkages: tf.Tensor) -> tf.Tensor:
    """[B, D] solutions by Cholesky factors.

    Args:
        vectors: [I + 1, D], the last of them 0.
        base: [D, D] w G.
        item_ids: [B, L] padded with I.
        shrinkages: [B]
    """
    own = tf.gather(vectors, item_ids)
    normal = tf.matmul(own, own, transpose_a=True) + base
    normal = tf.linalg.set_diag(normal, tf.linalg.diag_part(normal) + shrinkages[:, None])
    right = tf.reduce_sum(own, axis=1)
    return tf.linalg.cholesky_solve(tf.linalg.cholesky(normal), right[:, :, None])[:, :, 0]


def _blocks(lengths: npt.NDArray[np.int64], width: int) -> Iterator[npt.NDArray[np.int64]]:
    """Rows by length, as many at once as BLOCK_BYTES hold, one at least."""
    order = np.argsort(lengths, kind="stable")[::-1]
    start = 0
    while start < len(order):
        row_bytes = 4 * width * (int(lengths[order[start]]) + 3 * width)
        count = max(1, BLOCK_BYTES // row_bytes)
        yield order[start : start + count]
        start += count


def _padded(matrix: Csr, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
    """int32 [B, L] the items of rows, padded with I."""
    item_ids, splits = matrix.rows(rows)
    lengths = np.diff(splits)
    padded = np.full((len(rows), int(lengths.max(initial=0))), matrix.n_items, np.int32)
    padded[np.arange(padded.shape[1])[None, :] < lengths[:, None]] = item_ids
    return padded


def solved_rows(
    matrix: Csr, vectors: npt.NDArray[np.float32], *, regularization: float, unobserved: float, exponent: float
) -> npt.NDArray[np.float32]:
    """[R, D] the vectors of all rows of a matrix [R, I], from the vectors [I, D] of its columns."""
    width = vectors.shape[1]
    padded = tf.constant(np.concatenate([vectors, np.zeros((1, width), np.float32)]))
    base = unobserved * tf.matmul(padded, padded, transpose_a=True)
    lengths = np.diff(matrix.indptr)
    shrinkages = shrinkage(lengths, matrix.n_items, regularization, unobserved, exponent)
    shrinkages = np.asarray(shrinkages, np.float32)
    solved = np.empty((matrix.n_users, width), np.float32)
    for rows in _blocks(lengths, width):
        item_ids = tf.constant(_padded(matrix, rows))
        solved[rows] = _solve_block(padded, base, item_ids, tf.constant(shrinkages[rows])).numpy()
    return solved


def iterations_for(unobserved: float, width: int) -> int:
    """Steps of conjugate gradients that reach ACCURACY.

    Y_uᵀY_u <= G, so the condition number after scaling by w G + r is at most 1 + 1 / w, and the error falls by
    (√κ - 1) / (√κ + 1) in each step.
    """
    root = math.sqrt(1 + 1 / unobserved)
    return max(1, min(2 * width, math.ceil(math.log(2 / ACCURACY) / math.log((root + 1) / (root - 1)))))


def fold_in(
    product: Callable[[tf.Tensor], tf.Tensor], right: tf.Tensor, diagonal: tf.Tensor, iterations: int
) -> tf.Tensor:
    """[B, D] solutions x of (diag(diagonal) + Y_uᵀY_u) x = right, by preconditioned conjugate gradients.

    It consists of products and sums only, which inference engines and XLA take and Cholesky factors they do not.

    Args:
        product: gives Y_uᵀ(Y_u x) of x [B, D].
        right: [B, D]
        diagonal: [B, D] w G + r, where G is diagonal.
        iterations: see `iterations_for`.
    """

    def dot(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        return tf.reduce_sum(a * b, axis=1, keepdims=True)

    def step(x: tf.Tensor, rest: tf.Tensor, way: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image = diagonal * way + product(way)
        length = tf.math.divide_no_nan(size, dot(way, image))
        x, rest = x + length * way, rest - length * image
        scaled = rest / diagonal
        new = dot(rest, scaled)
        return x, rest, scaled + tf.math.divide_no_nan(new, size) * way, new

    scaled = right / diagonal
    first = dot(right, scaled)
    start = (tf.zeros_like(right), right, scaled, first)
    return tf.while_loop(
        lambda x, rest, way, size: tf.reduce_any(size > ACCURACY**2 * first), step, start, maximum_iterations=iterations
    )[0]
