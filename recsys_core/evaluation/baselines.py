"""What a model has to beat: popularity, and EASE, the closed-form item-to-item model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import psutil
import scipy.linalg
import tensorflow as tf

from recsys_core.dataset import Csr, Dataset
from recsys_core.distributed import World
from recsys_core.evaluation.evaluator import Evaluation, Evaluator, Scorer
from recsys_core.pipeline import EvaluationBatch, rows_of

KNOWN = ("popularity", "ease")
GRAM_BLOCK = 512


def popularity(train: Csr) -> Scorer:
    """Every user gets the items that most training users have."""
    counts = tf.constant(train.item_counts().astype(np.float32))

    def score(batch: EvaluationBatch) -> tf.Tensor:
        return tf.broadcast_to(counts, [tf.size(batch.users), tf.size(counts)])

    return score


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


def ease_bytes(train: Csr) -> int:
    """Peak memory of `ease_weights`: three float32 matrices [I, I] and one block of dense columns."""
    return 4 * (3 * train.n_items**2 + train.n_users * GRAM_BLOCK)


def ease(train: Csr, regularization: float = 500.0) -> Scorer:
    """EASE as a scorer.

    Raises:
        ValueError: its matrix does not fit into this machine's free memory.
    """
    needed, free = ease_bytes(train), psutil.virtual_memory().available
    if needed > free:
        raise ValueError(
            f"--baselines ease needs {needed / 2**30:.1f} GiB for {train.n_items:,} items, "
            f"{free / 2**30:.1f} GiB are free"
        )
    weights = tf.constant(ease_weights(train, regularization))

    def score(batch: EvaluationBatch) -> tf.Tensor:
        where = tf.stack([rows_of(batch.row_splits), tf.cast(batch.item_ids, tf.int64)], axis=1)
        shape = tf.stack([tf.size(batch.users, tf.int64), train.n_items])
        history = tf.SparseTensor(where, tf.ones([tf.size(batch.item_ids)]), shape)
        return tf.sparse.sparse_dense_matmul(history, weights)

    return score


def evaluate(
    names: Sequence[str],
    data: Dataset,
    evaluators: Mapping[str, Evaluator],
    *,
    ease_regularization: float,
    world: World,
) -> dict[str, dict[str, Evaluation]]:
    """Baseline -> split -> evaluation. EASE is built and evaluated by rank 0 alone, for its matrix is large.

    Args:
        evaluators: split -> evaluator.

    Raises:
        SharedError: EASE does not fit into the memory of rank 0's machine.
    """
    found = {}
    if "popularity" in names:
        scorer = popularity(data.train)
        found["popularity"] = {split: e.evaluate(scorer) for split, e in evaluators.items()}
    if "ease" in names:

        def alone() -> dict[str, Evaluation]:
            scorer = ease(data.train, ease_regularization)
            return {split: e.alone().evaluate(scorer) for split, e in evaluators.items()}

        found["ease"] = world.on_first(alone)
    return found
