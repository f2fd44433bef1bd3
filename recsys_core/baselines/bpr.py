"""BPR: matrix factorisation by pairwise ranking (Rendle et al. 2009), fitted by the library `implicit`.

Shape legend: U users, I items, B users of a batch, D width of vectors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from recsys_core.baselines.base import Baseline
from recsys_core.baselines.library import implicit, writable
from recsys_core.input.batches import Histories, rows_of
from recsys_core.sparse_products import sparse_product


@dataclass(frozen=True, kw_only=True)
class BprConfig:
    """Settings of BPR."""

    factors: int = 64
    """Width of the vectors."""
    regularization: float = 0.01
    """L2 of the vectors of each sample."""
    learning_rate: float = 0.05
    """Step size of stochastic gradient descent."""
    epochs: int = 100
    """Epochs; each draws as many pairs as there are interactions."""
    threads: int = 1
    """Threads of the library (0: all cores); with more than one, the result differs from run to run."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        for name in ("factors", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a whole number from 1")
        for name in ("regularization", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")
        if self.threads < 0:
            raise ValueError(f"threads is {self.threads}, expected a whole number from 0")


class Bpr(Baseline):
    """BPR: a user's vector is the mean of the vectors of its items, so new users are served as others are.

    The vectors that the library fits to training users are dropped. They rank held-out items of these users worse than
    the mean does (docs/choosing-a-model.md), and new users have none.
    """

    family = "bpr"
    configs = {"model": BprConfig}
    grid = {"regularization": (0.003, 0.01, 0.03), "factors": (32, 64, 128)}

    def allocate(self) -> None:
        shape = [self.n_items, self.settings["model"].factors]
        self.vectors = tf.Variable(tf.zeros(shape), name="vectors")
        self.biases = tf.Variable(tf.zeros([self.n_items]), name="biases")

    def solve(self) -> None:
        """Fit the vectors.

        Raises:
            UserError: the library is not installed.
        """
        settings = self.settings["model"]
        model = implicit("bpr", self.family).BayesianPersonalizedRanking(
            factors=settings.factors,
            learning_rate=settings.learning_rate,
            regularization=settings.regularization,
            iterations=settings.epochs,
            num_threads=settings.threads,
            random_state=self.seed,
            use_gpu=False,
        )

        def told(epoch: int, *_: Any) -> None:
            self.report(epoch + 1, settings.epochs)

        model.fit(writable(self.data.train), show_progress=False, callback=told)
        self.allocate()
        self.vectors.assign(model.item_factors[:, :-1])
        self.biases.assign(model.item_factors[:, -1])  # the number beside it in a user's vector is 1

    def item_vectors(self) -> tf.Tensor:
        return tf.convert_to_tensor(self.vectors)

    def scores(self, histories: Histories) -> tf.Tensor:
        lengths = tf.cast(histories.row_splits[1:] - histories.row_splits[:-1], tf.float32)
        rows, ones = rows_of(histories.row_splits), tf.ones([tf.size(histories.item_ids)])
        users = tf.size(histories.train_rows, tf.int64)
        return self._scores(sparse_product(histories.item_ids, rows, ones, users, self.vectors), lengths)

    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        present = tf.cast(item_ids < self.n_items, tf.float32)
        own = tf.gather(self.vectors, tf.minimum(item_ids, self.n_items - 1))
        return self._scores(tf.matmul(present[:, None, :], own)[:, 0, :], tf.reduce_sum(present, axis=1))

    def _scores(self, sums: tf.Tensor, lengths: tf.Tensor) -> tf.Tensor:
        """[B, I] from the sums [B, D] of vectors of histories of these lengths [B]."""
        users = sums / tf.maximum(lengths, 1.0)[:, None]
        return tf.matmul(users, self.vectors, transpose_b=True) + self.biases
