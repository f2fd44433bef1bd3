"""Intervals, tests and Holm's correction: typed values, independent formulas, and simulations with a known truth."""

from __future__ import annotations

import math
import warnings

import numpy as np
import numpy.typing as npt
import pytest

from recsys_core.evaluation.paired import holm, mean_intervals, paired_difference, permutation_p, t_test_p

REPETITIONS = 4000
SHIFT = 0.02


def differences_of_models(rng: np.random.Generator, users: int) -> npt.NDArray[np.float64]:
    """[R, S] differences of two models whose values are like NDCG: many zeros, skewed, alike for the same user.

    Half of the users have 0 with both models; the others have values of a Beta distribution that both models share,
    plus noise of their own. The mean of the difference is `SHIFT`.
    """
    found = rng.random((REPETITIONS, users)) < 0.5
    shared = rng.beta(1, 3, (REPETITIONS, users))
    first, second = (shared + rng.exponential(0.05, (REPETITIONS, users)) for _ in range(2))
    return found * (first - second + 2 * SHIFT)


@pytest.mark.parametrize(("users", "allowed"), [(30, 0.015), (100, 0.012), (750, 0.011)])
def test_an_interval_holds_the_true_difference_as_often_as_it_says(users: int, allowed: float) -> None:
    """4,000 repetitions: the share has a standard error of 0.0034, so 0.011 are about three of them."""
    values = differences_of_models(np.random.default_rng(users), users)
    _, _, low, high = mean_intervals(values)
    assert np.mean((low <= SHIFT) & (high >= SHIFT)) == pytest.approx(0.95, abs=allowed)
    one_sided = np.mean(low > SHIFT)  # what a gate is judged by: a model that is no better passes
    assert one_sided == pytest.approx(0.025, abs=allowed)


def test_intervals_of_one_model_hold_its_mean() -> None:
    """Values of a Beta distribution with mean 0.25, some of them 0: mean 0.8 x 0.25."""
    rng = np.random.default_rng(1)
    values = (rng.random((REPETITIONS, 200)) < 0.8) * rng.beta(1, 3, (REPETITIONS, 200))
    _, _, low, high = mean_intervals(values)
    assert np.mean((low <= 0.2) & (high >= 0.2)) == pytest.approx(0.95, abs=0.011)
    _, _, low, high = mean_intervals(values, confidence=0.8)
    assert np.mean((low <= 0.2) & (high >= 0.2)) == pytest.approx(0.8, abs=0.02)


def test_intervals_of_many_are_those_of_each() -> None:
    values = np.random.default_rng(2).random((5, 12))
    mean, error, low, high = mean_intervals(values)
    for k, row in enumerate(values):
        found = paired_difference(row, np.zeros(12))
        assert (found.mean, found.standard_error, found.low, found.high) == (mean[k], error[k], low[k], high[k])


def test_p_of_the_permutation_test_by_hand() -> None:
    """Of the 8 signs of 1, 2, 3 one gives a mean of 2 or more, one of -2 or less."""
    assert permutation_p([1.0, 2.0, 3.0]) == pytest.approx(2 / 8)
    assert permutation_p([1.0, -1.0, 2.0]) == pytest.approx(6 / 8)  # mean 2/3 or more: 3 of 8
    assert permutation_p([0.0, 0.0, 0.0]) == 1.0


def test_p_of_the_t_test_by_hand() -> None:
    """Differences 0.1, 0.2, 0.3, 0.4: t is 0.25 / 0.0645497 = 3.87298; of 3 degrees p is 0.030466."""
    assert t_test_p([0.1, 0.2, 0.3, 0.4]) == pytest.approx(0.030466, abs=1e-6)
    assert (t_test_p([0.0, 0.0]), t_test_p([0.5, 0.5])) == (1.0, 0.0)


def test_both_tests_agree_where_there_are_many_users() -> None:
    rng = np.random.default_rng(3)
    differences = rng.normal(0.008, 0.1, 500)
    assert permutation_p(differences) == pytest.approx(t_test_p(differences), abs=0.02)


def test_the_permutation_test_has_its_level() -> None:
    """Of equal models, skewed differences included, about 5 % have p of at most 0.05 (600 repetitions: 0.009)."""
    rng = np.random.default_rng(4)
    values = rng.exponential(1, (600, 25)) * rng.choice([-1, 1], (600, 25))
    p_values = np.array([permutation_p(row, resamples=199, seed=k) for k, row in enumerate(values)])
    assert np.mean(p_values <= 0.05) == pytest.approx(0.05, abs=0.027)
    assert np.mean(p_values <= 0.5) == pytest.approx(0.5, abs=0.065)


def test_thousands_of_users_make_no_warning() -> None:
    """SciPy warned of an overflow above a thousand users or so."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert permutation_p(np.random.default_rng(0).normal(size=6_040), resamples=99) > 0


def test_p_values_are_seeded() -> None:
    differences = np.random.default_rng(5).normal(0.02, 0.1, 60)
    assert permutation_p(differences, seed=1) == permutation_p(differences, seed=1)
    assert permutation_p(differences, seed=1) != permutation_p(differences, seed=2)


def test_progress_counts_the_signs() -> None:
    counts: list[int] = []
    permutation_p(np.random.default_rng(6).random(100), resamples=999, progress=counts.append)
    assert sum(counts) == 999


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([0.04], [0.04]),
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 x 0.01, 2 x 0.03, and not below: 1 x 0.04
        ([0.2, 0.01, 0.02, 0.9], [0.4, 0.04, 0.06, 0.9]),
        ([0.6, 0.7], [1.0, 1.0]),
        ([], []),
    ],
)
def test_holm_by_hand(given: list[float], expected: list[float]) -> None:
    assert holm(given) == pytest.approx(expected)


def test_holm_keeps_the_level_of_all_comparisons_together() -> None:
    """Ten comparisons of equal models: one or more is below 0.05 in at most 5 % of the repetitions."""
    p_values = np.random.default_rng(7).random((REPETITIONS, 10))
    share = np.mean([min(holm(list(row))) <= 0.05 for row in p_values])
    assert share == pytest.approx(1 - (1 - 0.005) ** 10, abs=0.011)
    assert np.mean(p_values.min(axis=1) <= 0.05) == pytest.approx(1 - math.pow(0.95, 10), abs=0.03)


@pytest.mark.parametrize(("users", "confidence"), [(1, 0.95), (3, 1.0), (3, 0.0)])
def test_intervals_that_cannot_be(users: int, confidence: float) -> None:
    with pytest.raises(ValueError, match="users have a value, expected two|confidence is"):
        mean_intervals(np.zeros(users), confidence=confidence)
