"""The co-occurrence matrix of items, and the weights of linear item-to-item models in closed form.

Shape legend: U users, I items.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import psutil
import scipy.linalg
import tensorflow as tf

from recsys_core import devices
from recsys_core.errors import UserError
from recsys_core.matrices import Csr
from recsys_core.sparse_products import GPU_LIMIT

Penalty = float | npt.NDArray[np.float32]
"""[] or [I] what is added to the diagonal of the Gram matrix: L2 of the weights that start from each item."""
GRAM_BLOCK = 512
"""Columns of the Gram matrix computed at once on a CPU."""
DENSE_BYTES = 1 << 28
"""Bytes of the dense rows that are multiplied at once on a GPU."""
GPU_SHARE = 0.5
"""Part of a GPU's free memory that weights may take; evaluation needs the rest."""
GPU_MATRICES = 5
"""Matrices [I, I] that `device_weights` holds at most: Gram matrix, its factor, identity, inverse, work space."""


def user_weights(train: Csr, exponent: float) -> npt.NDArray[np.float32] | None:
    """[U] weight of each user with n items, (n / mean n)^-exponent; None where all weigh 1.

    XᵀX counts a user n² times. Metrics are means over users: users with long histories decide too much without weights.
    """
    if not exponent:
        return None
    sizes = np.diff(train.indptr).astype(np.float64)
    return ((np.maximum(sizes, 1.0) / sizes.mean()) ** -exponent).astype(np.float32)


def item_totals(train: Csr, weights: npt.NDArray[np.float32] | None) -> npt.NDArray[np.float64]:
    """[I] sum of the weights of the users that have an item: the diagonal of XᵀWX."""
    if weights is None:
        return train.item_counts().astype(np.float64)
    of_entries = np.repeat(weights, np.diff(train.indptr))
    return np.bincount(train.indices, of_entries, train.n_items).astype(np.float64)


def gram_matrix(train: Csr, weights: npt.NDArray[np.float32] | None = None) -> npt.NDArray[np.float32]:
    """[I, I] XᵀX, users that have both items, or XᵀWX, the sum of their weights [U]. Computed on the CPU."""
    matrix = train.to_scipy().tocsc()
    rows = matrix.T.tocsr()
    if weights is not None:
        rows = rows.multiply(weights[None, :]).tocsr()
    gram = np.empty((train.n_items, train.n_items), np.float32)
    for start in range(0, train.n_items, GRAM_BLOCK):  # a sparse product would hold far more than the dense result
        gram[:, start : start + GRAM_BLOCK] = rows @ matrix[:, start : start + GRAM_BLOCK].toarray()
    return gram


def weights_of_gram(gram: npt.NDArray[np.float32], penalty: Penalty) -> npt.NDArray[np.float32]:
    """[I, I] weights -P[i, j] / P[j, j] with P = (XᵀX + diag(penalty))⁻¹, and 0 on the diagonal.

    Holds at most three matrices [I, I], the Gram matrix among them, which is overwritten.

    Args:
        gram: [I, I] XᵀX.
        penalty: L2 of the weights that start from each item.
    """
    gram[np.diag_indices_from(gram)] += penalty
    factor, lower = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    inverse = scipy.linalg.cho_solve((factor, lower), np.eye(len(gram), dtype=gram.dtype), overwrite_b=True)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights.astype(np.float32, copy=False)


def device_gram(train: Csr, weights: npt.NDArray[np.float32] | None = None) -> tf.Tensor:
    """`gram_matrix` by dense products on TensorFlow's device. Counts up to 2^24 are exact."""
    block = max(1, DENSE_BYTES // (4 * train.n_items))
    gram = tf.zeros([train.n_items, train.n_items])
    for start in range(0, train.n_users, block):
        users = np.arange(start, min(start + block, train.n_users))
        item_ids, splits = train.rows(users)
        where = np.stack([np.repeat(users - start, np.diff(splits)), item_ids], axis=1)
        rows = tf.scatter_nd(where, tf.ones([len(item_ids)]), [len(users), train.n_items])
        of_users = rows if weights is None else rows * weights[users, None]
        gram += tf.matmul(rows, of_users, transpose_a=True)
    return gram


def device_weights(train: Csr, penalty: Penalty, weights: npt.NDArray[np.float32] | None = None) -> tf.Tensor:
    """`weights_of_gram` on TensorFlow's device; `weights` of users [U]."""
    gram = device_gram(train, weights)
    gram = tf.linalg.set_diag(gram, tf.linalg.diag_part(gram) + tf.cast(penalty, tf.float32))
    inverse = tf.linalg.cholesky_solve(tf.linalg.cholesky(gram), tf.eye(train.n_items))
    of_items = inverse / -tf.linalg.diag_part(inverse)
    return tf.linalg.set_diag(of_items, tf.zeros([train.n_items]))


def solve_bytes(train: Csr) -> int:
    """Peak memory of `weights_of_gram(gram_matrix(train))`: three matrices [I, I] and one block of dense columns."""
    return 4 * (3 * train.n_items**2 + train.n_users * GRAM_BLOCK)


def is_solved_on_gpu(n_items: int) -> bool:
    """Whether there is a GPU whose free memory holds `device_weights`."""
    if not tf.config.list_logical_devices("GPU") or n_items**2 >= GPU_LIMIT:
        return False
    return 4 * GPU_MATRICES * n_items**2 + 2 * DENSE_BYTES <= devices.free_gpu_bytes()


def weights_device(n_items: int) -> str | None:
    """Where weights [I, I] are held: TensorFlow's choice (None), or the host where the GPU is too small for them."""
    if not tf.config.list_logical_devices("GPU"):
        return None
    fits = n_items**2 < GPU_LIMIT and 4 * n_items**2 <= GPU_SHARE * devices.free_gpu_bytes()
    return None if fits else "/CPU:0"


INSTEAD = "ials, which holds one vector of each item"


def require_memory(name: str, needed: int, n_items: int, instead: str = INSTEAD) -> None:
    """Refuse matrices that do not fit into the free memory of this machine.

    Args:
        needed: bytes.
        instead: what needs less memory, for the message.

    Raises:
        UserError: says how much is needed, how much is free, and what needs less.
    """
    free = psutil.virtual_memory().available
    if needed > free:
        raise UserError(
            f"{name} needs {needed / 2**30:.1f} GiB for {n_items:,} items, {free / 2**30:.1f} GiB are free; "
            f"use {instead}"
        )
