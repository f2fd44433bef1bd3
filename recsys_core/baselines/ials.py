"""iALS: matrix factorisation by alternating least squares (Hu et al. 2008; Rendle et al. 2021).

Shape legend: B users, I items, L longest history, D width of vectors, N interactions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf

from recsys_core.baselines import normal_equations
from recsys_core.baselines.base import Baseline
from recsys_core.dataset import Dataset
from recsys_core.input.batches import Histories, rows_of
from recsys_core.matrices import csr_from_scipy
from recsys_core.sparse_products import sparse_product


@dataclass(frozen=True, kw_only=True)
class IalsConfig:
    """Settings of iALS, named as by Rendle et al. 2021."""

    factors: int = 0
    """Width of the vectors (0: from the data; 64 for 50,000 interactions, 192 for a million, 384 for ten millions)."""
    regularization: float = 0.007
    """Lambda: L2 of the vectors, which grows with the number of interactions (see `exponent`)."""
    unobserved_weight: float = 0.3
    """Weight of the items that a user does not have, those that it has weighing 1."""
    exponent: float = 1.0
    """How the L2 grows with the number of interactions: 0 not at all, 1 in proportion."""
    stddev: float = 0.1
    """Standard deviation of the initial vectors' lengths: each number has this divided by sqrt(factors)."""
    epochs: int = 12
    """Times that all users and all items are solved."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if self.factors < 0:
            raise ValueError(f"factors is {self.factors}, expected a whole number from 0")
        if self.epochs < 1:
            raise ValueError(f"epochs is {self.epochs}, expected a whole number from 1")
        for name in ("regularization", "unobserved_weight", "stddev"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
        if not 0 <= self.exponent <= 1:
            raise ValueError(f"exponent is {self.exponent}, expected a number from 0 to 1")


def factors_for(interactions: int) -> int:
    """A width for so many training interactions: it grows with their cube root, in multiples of 64."""
    width = 192 * (interactions / 1e6) ** (1 / 3)
    return 64 * round(width / 64) or 16


class Ials(Baseline):
    """iALS: a user's vector is the least-squares solution of its history, so new users are served as others are.

    Only the items' vectors are parameters: a user's vector of the training is the solution of its training items.
    """

    family = "ials"
    configs = {"model": IalsConfig}
    grid = {"regularization": (0.001, 0.003, 0.007, 0.015, 0.03), "unobserved_weight": (0.1, 0.3, 1.0)}

    def __init__(self, data: Dataset, **options: Any) -> None:
        super().__init__(data, **options)
        if not self.settings["model"].factors:  # the value is saved, as a saved model is loaded without its data
            factors = factors_for(len(data.train.indices))
            self._plain.settings["model"] = replace(self.settings["model"], factors=factors)

    def allocate(self) -> None:
        shape = [self.n_items, self.settings["model"].factors]
        self.vectors = tf.Variable(tf.zeros(shape), name="vectors")

    def solve(self) -> None:
        settings, train = self.settings["model"], self.data.train
        transposed = csr_from_scipy(train.to_scipy().T)
        rules = {
            "regularization": settings.regularization,
            "unobserved": settings.unobserved_weight,
            "exponent": settings.exponent,
        }
        draw = np.random.default_rng(self.seed)
        spread = settings.stddev / np.sqrt(settings.factors)
        items = (spread * draw.standard_normal((self.n_items, settings.factors))).astype(np.float32)
        for epoch in range(settings.epochs):
            users = normal_equations.solved_rows(train, items, **rules)
            items = normal_equations.solved_rows(transposed, users, **rules)
            self.report(epoch + 1, settings.epochs)
        self.allocate()
        self.vectors.assign(_with_diagonal_gram(items))

    def item_vectors(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.vectors)

    def scores(self, histories: Histories) -> tf.Tensor:
        rows, ones = rows_of(histories.row_splits), tf.ones([tf.size(histories.item_ids)])
        users = tf.size(histories.train_rows, tf.int64)
        own = tf.gather(self.vectors, histories.item_ids)

        def summed(values: tf.Tensor) -> tf.Tensor:
            return sparse_product(histories.item_ids, rows, values, users, self.vectors)

        def product(x: tf.Tensor) -> tf.Tensor:
            return summed(tf.reduce_sum(own * tf.gather(x, rows), axis=1))

        lengths = tf.cast(histories.row_splits[1:] - histories.row_splits[:-1], tf.float32)
        return self._scores(product, summed(ones), lengths)

    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        present = tf.cast(item_ids < self.n_items, tf.float32)
        own = tf.gather(self.vectors, tf.minimum(item_ids, self.n_items - 1)) * present[:, :, None]

        def product(x: tf.Tensor) -> tf.Tensor:
            return tf.matmul(tf.matmul(own, x[:, :, None]), own, transpose_a=True)[:, 0, :]

        return self._scores(product, tf.reduce_sum(own, axis=1), tf.reduce_sum(present, axis=1))

    def _scores(self, product: Callable[[tf.Tensor], tf.Tensor], right: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """[B, I] of users with histories of these lengths [B]; see `normal_equations.fold_in`."""
        settings = self.settings["model"]
        vectors = tf.convert_to_tensor(self.vectors)
        spectrum = tf.reduce_sum(tf.square(vectors), axis=0)  # the Gram matrix, which is diagonal
        shrinkage = normal_equations.shrinkage(
            lengths, self.n_items, settings.regularization, settings.unobserved_weight, settings.exponent
        )
        diagonal = settings.unobserved_weight * spectrum + shrinkage[:, None]
        iterations = normal_equations.iterations_for(settings.unobserved_weight, settings.factors)
        users = normal_equations.fold_in(product, right, diagonal, iterations)
        return tf.matmul(users, vectors, transpose_b=True)


def _with_diagonal_gram(vectors: np.ndarray) -> np.ndarray:
    """[I, D] the vectors rotated so that their Gram matrix is diagonal; no product of two of them changes."""
    precise = vectors.astype(np.float64)
    return (precise @ np.linalg.eigh(precise.T @ precise)[1]).astype(np.float32)
