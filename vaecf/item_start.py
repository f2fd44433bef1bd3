"""Initial values of the two matrices that have a vector of each item, from the weights of a linear item-to-item model.

Such weights (EASE) say which items go together before the first step. Cut to a rank, they are a product of two
matrices [I, R] and [R, I]: these are the shapes of an auto-encoder's first and last kernel. Their directions are taken
over, not their size: each kernel keeps the standard deviation of its random values.

Shape legend: I items, R rank, H width of the first layer, L width of what the last layer reads.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.baselines import gram
from recsys_core.baselines.ease import EaseConfig, ease_weights
from recsys_core.matrices import Csr
from recsys_core.seeding import generator

Matrix = npt.NDArray[np.float32]

AUTO_ITEMS = 25_000
"""Items up to which `auto` takes EASE: its closed form holds three matrices [I, I], 7.5 GB for so many."""
OVERSAMPLED, PASSES = 10, 4
"""Of the randomised decomposition: vectors more than the rank, and products with the matrix and its transpose."""


def weights_of_ease(train: Csr) -> Matrix:
    """[I, I] weights of EASE with its default regularization, computed on the GPU where it has room."""
    penalty = EaseConfig().regularization
    if gram.is_solved_on_gpu(train.n_items):
        return gram.device_weights(train, penalty).numpy()
    return ease_weights(train, penalty)


def factors(weights: Matrix, rank: int, seed: int) -> tuple[Matrix, Matrix]:
    """[I, R] and [R, I] whose product is the nearest of rank R to the weights: U √S and √S Vᵀ.

    The largest singular values by random projections and power iteration (Halko, Martinsson and Tropp 2011,
    algorithms 4.4 and 5.1). The signs are fixed, so that the same weights and seed give the same factors.
    """
    width = min(rank + OVERSAMPLED, len(weights))
    drawn = generator(seed, "init/item-start").standard_normal((len(weights), width)).astype(np.float32)
    basis = np.linalg.qr(weights @ drawn)[0]
    for _ in range(PASSES):
        basis = np.linalg.qr(weights.T @ basis)[0]
        basis = np.linalg.qr(weights @ basis)[0]
    inner, values, right = np.linalg.svd(basis.T @ weights, full_matrices=False)
    left = (basis @ inner)[:, :rank]
    signs = np.sign(left[np.abs(left).argmax(axis=0), np.arange(left.shape[1])])
    roots = np.sqrt(values[:rank])
    return left * (signs * roots), (signs * roots)[:, None] * right[:rank]


def assign(weights: Matrix, first: tf.Variable, last: tf.Variable, seed: int) -> None:
    """Start a first kernel [I, H] and a last kernel [L, I] from weights [I, I].

    Where a layer is wider than I, its other units keep their random values.
    """
    rank = min(max(first.shape[1], last.shape[0]), len(weights))
    left, right = factors(weights, rank, seed)
    _take(first, left)
    _take(last, right)


def _take(kernel: tf.Variable, values: Matrix) -> None:
    """Put as much of a matrix as fits into a kernel, with the kernel's standard deviation."""
    rows, columns = min(kernel.shape[0], values.shape[0]), min(kernel.shape[1], values.shape[1])
    found, part = kernel.numpy(), values[:rows, :columns]
    if spread := part.std():
        found[:rows, :columns] = part * (found.std() / spread)
        kernel.assign(found)
