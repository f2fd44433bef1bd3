"""iALS: both steps against dense least squares in NumPy, and the fold-in against the normal equations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from recsys_core import load
from recsys_core.baselines import Ials, normal_equations
from recsys_core.baselines.ials import factors_for
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.matrices import csr_from_scipy
from tests.models import histories

USERS, ITEMS, WIDTH = 30, 12, 4
DENSE = (np.random.default_rng(4).random((USERS, ITEMS)) < 0.3).astype(np.float64)


def data() -> Dataset:
    from scipy.sparse import csr_matrix

    return Dataset.from_csr(csr_from_scipy(csr_matrix(DENSE)))


def least_squares(
    rows: npt.NDArray, vectors: npt.NDArray, regularization: float, unobserved: float, exponent: float
) -> npt.NDArray:
    """[R, D] by weighted ridge regression on all items, in its form with confidences (Hu et al. 2008, equation 4):
    x = (Yᵀ C Y + r 1)⁻¹ Yᵀ C p. The target p is 1 for the row's items, whose confidence is 1 + w; with target
    1 / (1 + w) that has the same minimum as weight 1 with target 1 and weight w with target 0."""
    found = []
    for row in rows:
        confidence = np.diag(unobserved + row)
        target = row / (1 + unobserved)
        ridge = regularization * (row.sum() + unobserved * rows.shape[1]) ** exponent
        normal = vectors.T @ confidence @ vectors + ridge * np.eye(vectors.shape[1])
        found.append(np.linalg.solve(normal, vectors.T @ confidence @ target))
    return np.array(found)


@pytest.mark.parametrize("exponent", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("block_bytes", [1, 1 << 27])
def test_a_step_is_ridge_regression(exponent: float, block_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(normal_equations, "BLOCK_BYTES", block_bytes)
    vectors = np.random.default_rng(1).standard_normal((ITEMS, WIDTH))
    expected = least_squares(DENSE, vectors, 0.02, 0.3, exponent)
    found = normal_equations.solved_rows(
        data().train, vectors.astype(np.float32), regularization=0.02, unobserved=0.3, exponent=exponent
    )
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("unobserved", [0.003, 0.3, 1.0])
def test_the_fold_in_solves_the_normal_equations(unobserved: float) -> None:
    model = Ials(data(), factors=WIDTH, regularization=0.01, unobserved_weight=unobserved)
    model.solve()
    vectors = model.vectors.numpy().astype(np.float64)
    asked = [[2, 5], [], [7], list(range(ITEMS)), [0, 3, 4]]
    rows = np.zeros((len(asked), ITEMS))
    for user, items in enumerate(asked):
        rows[user, items] = 1
    expected = least_squares(rows, vectors, 0.01, unobserved, 1.0) @ vectors.T
    assert model.scores(histories(asked)).numpy() == pytest.approx(expected, abs=2e-4)
    padded = tf.constant([[*items, *[ITEMS] * (ITEMS - len(items))] for items in asked])
    assert model.padded_scores(padded).numpy() == pytest.approx(expected, abs=2e-4)


def test_epochs_alternate_both_steps() -> None:
    """Two epochs by NumPy from the same initial vectors; a rotation changes no score."""
    model = Ials(data(), factors=WIDTH, epochs=2, regularization=0.01, unobserved_weight=0.3, seed=7)
    told: list[tuple[int, int]] = []
    model.report = lambda done, total: told.append((done, total))
    model.solve()
    items = 0.1 / np.sqrt(WIDTH) * np.random.default_rng(7).standard_normal((ITEMS, WIDTH))
    for _ in range(2):
        users = least_squares(DENSE, items, 0.01, 0.3, 1.0)
        items = least_squares(DENSE.T, users, 0.01, 0.3, 1.0)
    assert model.vectors.numpy() @ model.vectors.numpy().T == pytest.approx(items @ items.T, abs=1e-4)
    assert told == [(1, 2), (2, 2)]


def test_the_gram_matrix_is_diagonal() -> None:
    """The fold-in takes the sums of squares for it."""
    model = Ials(data(), factors=WIDTH)
    model.solve()
    gram = model.vectors.numpy().T @ model.vectors.numpy()
    assert gram - np.diag(np.diag(gram)) == pytest.approx(0, abs=1e-5 * gram.max())


def test_same_seed_same_vectors() -> None:
    first, same, other = (Ials(data(), factors=WIDTH, seed=seed) for seed in (1, 1, 2))
    for model in (first, same, other):
        model.solve()
    assert first.vectors.numpy().tolist() == same.vectors.numpy().tolist()
    assert first.vectors.numpy().tolist() != other.vectors.numpy().tolist()


@pytest.mark.parametrize(
    ("interactions", "width"),
    [(100, 16), (44_076, 64), (98_114, 64), (741_000, 192), (994_169, 192), (10**7, 384)],
)
def test_the_width_comes_from_the_data(interactions: int, width: int) -> None:
    """192 * cube root of the millions: 9, 67.8, 88.5, 173.7, 191.6, 413.6."""
    assert factors_for(interactions) == width


def test_the_width_is_saved(tmp_path: Path) -> None:
    model = Ials(data())
    assert model.settings["model"].factors == 16
    model.solve()
    model.save(tmp_path / "model")
    assert load(tmp_path / "model").settings["model"].factors == 16


def test_the_number_of_iterations() -> None:
    """Condition at most 2: the error falls by (1.4142 - 1) / (1.4142 + 1) = 0.17157 a step, and 2 / 1e-6 is reached
    after 14.51 / 1.7627 = 8.2 steps. A condition of 101: 0.81908, 72.7 steps, of which no more than two for each of
    the dimensions are taken."""
    assert normal_equations.iterations_for(1.0, 1000) == 9
    assert normal_equations.iterations_for(0.01, 1000) == 73
    assert normal_equations.iterations_for(0.01, 8) == 16


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"factors": -1}, "factors is -1, expected a whole number from 0"),
        ({"unobserved_weight": 0.0}, "unobserved_weight is 0.0, expected more than 0"),
        ({"exponent": 1.5}, "exponent is 1.5, expected a number from 0 to 1"),
    ],
)
def test_bad_settings(settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Ials(data(), **settings)
