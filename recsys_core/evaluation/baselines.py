"""Baselines: popularity and EASE, recommenders whose parameters have a closed form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import psutil
import scipy.linalg
import tensorflow as tf

from recsys_core import devices
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.evaluation.evaluator import Evaluation, Evaluator
from recsys_core.input.batches import Histories, rows_of
from recsys_core.matrices import Csr
from recsys_core.model import Recommender
from recsys_core.sparse_products import GPU_LIMIT, sparse_product
from recsys_core.world import World

GRAM_BLOCK = 512
"""Columns of the Gram matrix computed at once."""
GPU_SHARE = 0.5
"""Part of a GPU's free memory that the weights of EASE may take; evaluation needs the rest."""


class Popularity(Recommender):
    """Recommends to every user the items that most training users have."""

    family = "popularity"
    is_closed_form = True

    def allocate(self) -> None:
        self.counts = tf.Variable(tf.zeros([self.n_items]), name="counts")

    def solve(self) -> None:
        self.allocate()
        self.counts.assign(self.data.train.item_counts().astype(np.float32))

    def scores(self, histories: Histories) -> tf.Tensor:
        return tf.broadcast_to(self.counts, [tf.size(histories.train_rows), self.n_items])

    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        return tf.zeros([tf.shape(item_ids)[0], 1]) + self.counts


@dataclass(frozen=True, kw_only=True)
class EaseConfig:
    """Settings of EASE."""

    regularization: float = 500.0
    """Lambda: L2 of the weights."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if self.regularization <= 0:
            raise ValueError(f"regularization is {self.regularization}, expected more than 0")


class Ease(Recommender):
    """EASE (Steck 2019): a linear item-to-item model without self-similarity."""

    family = "ease"
    configs = {"model": EaseConfig}
    is_closed_form = True

    def allocate(self) -> None:
        with tf.device(weights_device(self.n_items)):
            self.weights = tf.Variable(tf.zeros([self.n_items, self.n_items]), name="weights")

    def solve(self) -> None:
        """Compute the weights.

        Raises:
            UserError: the matrices do not fit into the free memory of this machine.
        """
        needed, free = ease_bytes(self.data.train), psutil.virtual_memory().available
        if needed > free:
            raise UserError(
                f"--baselines ease needs {needed / 2**30:.1f} GiB for {self.n_items:,} items, "
                f"{free / 2**30:.1f} GiB are free"
            )
        weights = ease_weights(self.data.train, self.settings["model"].regularization)
        with tf.device(weights_device(self.n_items)):
            self.weights = tf.Variable(weights, name="weights")

    def scores(self, histories: Histories) -> tf.Tensor:
        rows, values = rows_of(histories.row_splits), tf.ones([tf.size(histories.item_ids)])
        users = tf.size(histories.train_rows, tf.int64)
        return sparse_product(histories.item_ids, rows, values, users, self.weights)

    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        present = tf.cast(item_ids < self.n_items, tf.float32)
        rows = tf.gather(self.weights, tf.minimum(item_ids, self.n_items - 1))
        return tf.matmul(present[:, None, :], rows)[:, 0, :]

    def item_similarities(self, item: int) -> tf.Tensor:
        """[I] the weight by which the item adds to the score of every other."""
        return tf.gather(self.weights, item)  # an index would first copy the whole matrix to the GPU from the host


KNOWN: Mapping[str, type[Recommender]] = {"popularity": Popularity, "ease": Ease}


def ease_weights(train: Csr, regularization: float) -> npt.NDArray[np.float32]:
    """[I, I] item-to-item weights of EASE (Steck 2019, equation 8).

    With P = (XᵀX + λ·1)⁻¹ the weights are -P[i, j] / P[j, j], and 0 on the diagonal.
    """
    matrix = train.to_scipy().tocsc()
    rows = matrix.T.tocsr()
    gram = np.empty((train.n_items, train.n_items), np.float32)
    for start in range(0, train.n_items, GRAM_BLOCK):  # a sparse product would hold far more than the dense result
        gram[:, start : start + GRAM_BLOCK] = rows @ matrix[:, start : start + GRAM_BLOCK].toarray()
    gram[np.diag_indices_from(gram)] += regularization
    factor, lower = scipy.linalg.cho_factor(gram, overwrite_a=True, check_finite=False)
    inverse = scipy.linalg.cho_solve((factor, lower), np.eye(len(gram), dtype=gram.dtype), overwrite_b=True)
    weights = inverse / -np.diag(inverse)
    np.fill_diagonal(weights, 0)
    return weights.astype(np.float32, copy=False)


def weights_device(n_items: int) -> str | None:
    """Where weights [I, I] are held: TensorFlow's choice (None), or the host where the GPU is too small for them."""
    if not tf.config.list_logical_devices("GPU"):
        return None
    fits = n_items**2 < GPU_LIMIT and 4 * n_items**2 <= GPU_SHARE * devices.free_gpu_bytes()
    return None if fits else "/CPU:0"


def ease_bytes(train: Csr) -> int:
    """Peak memory of `Ease.solve`: three float32 matrices [I, I] and one block of dense columns."""
    return 4 * (3 * train.n_items**2 + train.n_users * GRAM_BLOCK)


def evaluate(
    names: Sequence[str],
    data: Dataset,
    evaluators: Mapping[str, Evaluator],
    *,
    ease_regularization: float,
    world: World,
) -> dict[str, dict[str, Evaluation]]:
    """Baseline -> split -> evaluation. Rank 0 alone computes and evaluates EASE, because its matrix is large.

    Args:
        evaluators: split -> evaluator.

    Raises:
        SharedError: EASE does not fit into the memory of rank 0's machine.
    """
    found = {}
    if "popularity" in names:
        popularity = Popularity(data)
        popularity.solve()
        found["popularity"] = {split: e.evaluate(popularity) for split, e in evaluators.items()}
    if "ease" in names:

        def evaluate_ease() -> dict[str, Evaluation]:
            model = Ease(data, regularization=ease_regularization)
            model.solve()
            return {split: e.without_ranks().evaluate(model) for split, e in evaluators.items()}

        found["ease"] = world.run_on_rank0(evaluate_ease)
    return found
