"""Popularity, EASE and EDLAE against their formulas, on the CPU, on a device, and where memory is short."""

from __future__ import annotations

import numpy as np
import psutil
import pytest
import tensorflow as tf
from scipy.sparse import csr_matrix

from recsys_core import devices
from recsys_core.baselines import Ease, Edlae, Popularity, gram
from recsys_core.baselines.ease import ease_weights
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.matrices import Csr, csr_from_scipy
from tests.models import histories

ITEMS = 12


def matrix() -> tuple[Csr, np.ndarray]:
    dense = (np.random.default_rng(4).random((30, ITEMS)) < 0.3).astype(np.float64)
    splits = np.concatenate([[0], np.cumsum(dense.sum(axis=1))]).astype(np.int64)
    return Csr(indptr=splits, indices=np.nonzero(dense)[1].astype(np.int32), n_items=ITEMS), dense


def test_ease_is_the_best_linear_model_without_self_similarity() -> None:
    """Each column solves a ridge regression on the other items (Steck 2019, equation 2), which is another way there."""
    train, dense = matrix()
    weights = ease_weights(train, 3.0)
    assert np.diag(weights).tolist() == [0.0] * ITEMS
    for j in range(ITEMS):
        others = [i for i in range(ITEMS) if i != j]
        x = dense[:, others]
        expected = np.linalg.solve(x.T @ x + 3.0 * np.eye(ITEMS - 1), x.T @ dense[:, j])
        assert weights[others, j] == pytest.approx(expected, abs=1e-4)


def test_ease_scores_are_sums_over_the_history() -> None:
    train, _ = matrix()
    weights = ease_weights(train, 3.0)
    ease = Ease(Dataset.from_csr(train), regularization=3.0)
    ease.solve()
    scores = ease.scores(histories([[2, 5], [], [7]])).numpy()
    assert scores == pytest.approx(np.stack([weights[2] + weights[5], np.zeros(ITEMS), weights[7]]), abs=1e-6)


@pytest.mark.parametrize(
    ("gpus", "items", "free", "device"),
    [
        ([], 60_000, 0, None),
        (["a GPU"], 20_000, 4 * 20_000**2 * 2, None),  # half of it is enough
        (["a GPU"], 20_000, 4 * 20_000**2 * 2 - 1, "/CPU:0"),
        (["a GPU"], 60_000, 2**40, "/CPU:0"),  # more than 2^31 numbers
    ],
)
def test_where_the_weights_of_ease_are_held(
    gpus: list[str], items: int, free: int, device: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus)
    monkeypatch.setattr(devices, "free_gpu_bytes", lambda: free)
    assert gram.weights_device(items) == device


def test_ease_with_weights_on_the_host_of_a_gpu_scores_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    data = Dataset.from_csr(matrix()[0])
    asked = histories([[2, 5], [], [7]])
    expected = Ease(data, regularization=3.0)
    expected.solve()
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: ["a GPU"])
    monkeypatch.setattr(devices, "free_gpu_bytes", lambda: 0)
    ease = Ease(data, regularization=3.0)
    ease.solve()
    assert ease.weights.device.endswith("CPU:0")
    assert tf.function(ease.scores, autograph=False)(asked).numpy().tolist() == expected.scores(asked).numpy().tolist()
    assert ease.item_similarities(4).numpy().tolist() == expected.weights[4].numpy().tolist()


@pytest.mark.parametrize("kind", [Ease, Edlae])
def test_a_matrix_that_does_not_fit_says_so(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    """12 items and 30 users: 4 * (3 * 12 * 12 + 30 * 512) bytes."""
    train, _ = matrix()
    assert gram.solve_bytes(train) == 63_168
    monkeypatch.setattr(gram, "solve_bytes", lambda train: 3 * 2**60)
    free = psutil.virtual_memory().available / 2**30
    with pytest.raises(UserError, match=rf"^{kind.__name__.lower()} needs 3221225472.0 GiB for 12 items, ") as caught:
        kind(Dataset.from_csr(train)).solve()
    said = str(caught.value)
    assert said.endswith(" GiB are free; use ials, which holds one vector of each item")
    assert float(said.split(" items, ")[1].split()[0]) == pytest.approx(free, rel=0.2)


def test_popularity_ranks_by_training_users() -> None:
    train, dense = matrix()
    popularity = Popularity(Dataset.from_csr(train))
    popularity.solve()
    scores = popularity.scores(histories([[1], []])).numpy()
    assert scores.tolist() == [dense.sum(axis=0).tolist()] * 2


THREE = [[1, 1, 0], [1, 1, 0], [0, 1, 1], [1, 0, 0]]
"""4 users and 3 items: XᵀX is 3 2 0, 2 3 1, 0 1 1."""


def three_items() -> Dataset:
    return Dataset.from_csr(csr_from_scipy(csr_matrix(np.array(THREE, np.float32))))


def test_ease_of_three_items_by_hand() -> None:
    """With lambda 1 the matrix is 4 2 0, 2 4 1, 0 1 2. Its determinant is 4 * 7 - 2 * 4 = 20, its adjugate
    7 -4 2, -4 8 -4, 2 -4 12, so that P[i, j] / P[j, j] is the adjugate's entry over that of the column's diagonal."""
    model = Ease(three_items(), regularization=1.0)
    model.solve()
    expected = [[0, 4 / 8, -2 / 12], [4 / 7, 0, 4 / 12], [-2 / 7, 4 / 8, 0]]
    assert model.weights.numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_edlae_of_three_items_by_hand() -> None:
    """With L2 1 and p 0.5 the diagonal gets 1 + its own counts 3, 3, 1: the matrix is 7 2 0, 2 7 1, 0 1 3. Its
    adjugate is 20 -6 2, -6 21 -7, 2 -7 45."""
    model = Edlae(three_items(), regularization=1.0, dropout=0.5)
    model.solve()
    expected = [[0, 6 / 21, -2 / 45], [6 / 20, 0, 7 / 45], [-2 / 20, 7 / 21, 0]]
    assert model.weights.numpy() == pytest.approx(np.array(expected), abs=1e-6)


def test_edlae_is_ridge_regression_on_histories_with_dropout() -> None:
    """The mean over all ways to drop items, p 0.25, as one weighted regression for each column: the kept items predict
    the dropped one. It is another way to the closed form (Steck 2020)."""
    train, dense = matrix()
    p, ridge = 0.25, 2.0
    model = Edlae(Dataset.from_csr(train), regularization=ridge, dropout=p)
    model.solve()
    expected = np.zeros((ITEMS, ITEMS))
    for j in range(ITEMS):
        others = [i for i in range(ITEMS) if i != j]
        x, y = dense[:, others], dense[:, j]
        # E[(y - sum d_i w_i x_i)^2] with d_i = 1/(1-p) or 0 adds p/(1-p) w_i^2 x_i^2 to the squared error
        noise = p / (1 - p) * np.diag((x**2).sum(axis=0))
        expected[others, j] = np.linalg.solve(x.T @ x + noise + ridge * np.eye(ITEMS - 1), x.T @ y)
    assert model.weights.numpy() == pytest.approx(expected, abs=1e-5)


def test_weights_of_users_by_hand() -> None:
    """Users of 1, 4 and 1 items have 2 on average: with exponent 0.5 they weigh (1/2)^-0.5, (4/2)^-0.5, (1/2)^-0.5."""
    rows = [[1, 0, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0]]
    train = csr_from_scipy(csr_matrix(np.array(rows, np.float32)))
    weights = gram.user_weights(train, 0.5)
    assert weights == pytest.approx([2**0.5, 0.5**0.5, 2**0.5], rel=1e-6)
    assert gram.user_weights(train, 0.0) is None
    a, b = 2**0.5, 0.5**0.5
    assert gram.item_totals(train, weights) == pytest.approx([a + b, a + b, b, b], rel=1e-6)
    assert gram.gram_matrix(train, weights)[:2, :2] == pytest.approx(np.array([[a + b, b], [b, a + b]]), rel=1e-6)


@pytest.mark.parametrize("kind", [Ease, Edlae])
def test_weighted_users_are_weighted_least_squares(kind: type) -> None:
    """Each column solves a regression in which every user's squared error has the user's weight."""
    train, dense = matrix()
    model = kind(Dataset.from_csr(train), regularization=2.0, user_weighting=0.7)
    model.solve()
    sizes = dense.sum(axis=1)
    weights = (np.maximum(sizes, 1) / sizes.mean()) ** -0.7
    p = 0.5 if kind is Edlae else 0.0
    expected = np.zeros((ITEMS, ITEMS))
    for j in range(ITEMS):
        others = [i for i in range(ITEMS) if i != j]
        x, y = dense[:, others], dense[:, j]
        noise = p / (1 - p) * np.diag((weights[:, None] * x**2).sum(axis=0))
        left = x.T @ (weights[:, None] * x) + noise + 2.0 * np.eye(ITEMS - 1)
        expected[others, j] = np.linalg.solve(left, x.T @ (weights * y))
    assert model.weights.numpy() == pytest.approx(expected, abs=1e-5)


def test_a_kept_gram_matrix_is_of_the_same_weights() -> None:
    data = Dataset.from_csr(matrix()[0])
    first = Ease(data, regularization=3.0)
    first.solve()
    for exponent in (0.0, 0.5, 0.5, 0.0):
        model, alone = (Ease(data, regularization=3.0, user_weighting=exponent) for _ in range(2))
        model.take_over(first)
        model.solve()
        alone.solve()
        assert model.weights.numpy() == pytest.approx(alone.weights.numpy(), abs=1e-6)
        first = model


@pytest.mark.parametrize("users_at_once", [1, 7, 1000])
def test_the_device_gives_the_same_weights(users_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The operators that a GPU runs, on whatever device is here, in blocks of users."""
    train, dense = matrix()
    monkeypatch.setattr(gram, "DENSE_BYTES", 4 * ITEMS * users_at_once)
    assert gram.device_gram(train).numpy().tolist() == (dense.T @ dense).tolist()
    penalty = np.arange(1, ITEMS + 1, dtype=np.float32)
    expected = gram.weights_of_gram(gram.gram_matrix(train), penalty)
    assert gram.device_weights(train, penalty).numpy() == pytest.approx(expected, abs=1e-5)
    weights = gram.user_weights(train, 0.5)
    expected = gram.weights_of_gram(gram.gram_matrix(train, weights), penalty)
    assert gram.device_weights(train, penalty, weights).numpy() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(
    ("gpus", "free", "expected"),
    [
        ([], 2**40, False),
        (["a GPU"], 5 * 4 * 20_000**2 + 2 * 2**28, True),
        (["a GPU"], 5 * 4 * 20_000**2 + 2 * 2**28 - 1, False),
    ],
)
def test_where_weights_are_computed(
    gpus: list[str], free: int, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: gpus)
    monkeypatch.setattr(devices, "free_gpu_bytes", lambda: free)
    assert gram.is_solved_on_gpu(20_000) == expected


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (Ease, {"regularization": 0.0}, "regularization is 0.0, expected more than 0"),
        (Ease, {"user_weighting": -1.0}, "user_weighting is -1.0, expected a number from 0 to 2"),
        (Edlae, {"user_weighting": 3.0}, "user_weighting is 3.0, expected a number from 0 to 2"),
        (Ease, {"regularization": float("nan")}, "regularization is nan, expected more than 0"),
        (Edlae, {"dropout": 1.0}, "dropout is 1.0, expected a number from 0 to below 1"),
        (Edlae, {"lambda": 1.0}, "unknown setting 'lambda', known are: regularization, dropout"),
    ],
)
def test_bad_settings(kind: type, settings: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        kind(three_items(), **settings)
