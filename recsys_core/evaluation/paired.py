"""Statistics of values that are measured user by user: intervals of a mean, tests of paired differences, Holm.

Nothing here imports TensorFlow, and SciPy only where it is used. Shape legend: S users, N comparisons.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
FEW_USERS = 30
"""With fewer users the mean of skewed values is not close to a normal distribution, and its interval is rough."""
RESAMPLES = 9_999
BATCH_BYTES = 1 << 25
"""Memory of the sign flips that are drawn at once."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """Mean over users of (value of one model - value of another), and its confidence interval."""

    mean: float
    standard_error: float
    low: float
    high: float
    confidence: float
    """Share of repetitions, with other users, whose interval holds the true mean."""
    users: int
    """Users with a value."""


def mean_intervals(values: npt.ArrayLike, *, confidence: float = CONFIDENCE) -> tuple[Array, Array, Array, Array]:
    """Mean, standard error, and both ends of Student's t interval of the mean, over the last axis [..., S].

    Raises:
        ValueError: fewer than two users, or a confidence out of range.
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence is {confidence}, expected a share between 0 and 1, as 0.95")
    known = np.asarray(values, np.float64)
    users = known.shape[-1]
    if users < 2:
        raise ValueError(f"{users} users have a value, expected two or more")
    from scipy.stats import t

    mean, error = known.mean(axis=-1), known.std(axis=-1, ddof=1) / math.sqrt(users)
    margin = float(t.ppf((1 + confidence) / 2, users - 1)) * error
    return mean, error, mean - margin, mean + margin


def paired_values(values: npt.ArrayLike, reference: npt.ArrayLike) -> Array:
    """[n] differences `values - reference` of the users that have a value.

    Args:
        values: [S] value of one model for each user, NaN where a user has none.
        reference: [S] the same of the model to compare with, the same users in the same order.

    Raises:
        ValueError: lists of unlike users, or fewer than two users.
    """
    first, second = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"values of shape {first.shape} and {second.shape}, expected one of each of the same users")
    if (np.isnan(first) != np.isnan(second)).any():
        raise ValueError("a user has a value of one model only, expected the same users for both")
    differences = (first - second)[~np.isnan(first)]
    if len(differences) < 2:
        raise ValueError(f"{len(differences)} users have a value, expected two or more")
    return differences


def paired_difference(
    values: npt.ArrayLike, reference: npt.ArrayLike, *, confidence: float = CONFIDENCE
) -> PairedDifference:
    """The mean of the differences `values - reference` and its Student's t interval.

    Both models are measured on the same users in the same order. What makes a user easy or hard is in both values and
    cancels in the difference; two separate standard errors are larger, and do not answer which model is better.

    What the interval assumes and covers:
        - Users are independent of each other, and so many (from about 30) that the mean of the differences is normal.
        - It covers the choice of test users. It does not cover another seed, another split or another data set.
        - It is for one comparison that was decided on beforehand. Among 20 comparisons of equal models about one 95 %
          interval leaves 0 out. For n comparisons use a confidence of 1 - 0.05 / n (Bonferroni), or `holm`.
        - The test users chose nothing: no epoch, setting or model. Who looks at them again after each change, until an
          interval leaves 0 out, has no 95 % interval. Choose on the validation users, and look at the test users once.

    Args:
        values: [S] value of one model for each user, NaN where a user has none.
        reference: [S] the same of the model to compare with, the same users in the same order.
        confidence: between 0 and 1.

    Raises:
        ValueError: lists of unlike users, fewer than two users, or a confidence out of range.
    """
    differences = paired_values(values, reference)
    mean, error, low, high = map(float, mean_intervals(differences, confidence=confidence))
    return PairedDifference(
        mean=mean, standard_error=error, low=low, high=high, confidence=confidence, users=len(differences)
    )


def t_test_p(differences: npt.ArrayLike) -> float:
    """Two-sided p of Student's paired t test: that the true mean of the differences [n] is 0.

    1 where all differences are 0, 0 where all are the same other number.
    """
    mean, error, _, _ = mean_intervals(differences)
    if error == 0:
        return float(mean == 0)
    from scipy.stats import t

    return float(2 * t.sf(abs(mean / error), np.shape(differences)[0] - 1))


def permutation_p(
    differences: npt.ArrayLike,
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> float:
    """Two-sided p of the paired permutation test: that both models have the same distribution of values for each user.

    Then each difference has either sign with the same probability. The p value is the share of `resamples` random
    signs that give a mean as far from 0, counted conservatively (the smallest is 2 / (resamples + 1)); of all signs
    where there are no more than `resamples`. It assumes no distribution (Fisher 1935; SciPy's `permutation_test`).

    Args:
        differences: [n]
        progress: called with the number of resamples that were just computed.
    """
    known = np.asarray(differences, np.float64)
    from scipy.stats import permutation_test

    def mean(values: Array, axis: int) -> Array:
        if progress is not None and values.ndim > 1:
            progress(int(np.prod(values.shape[:-1])))
        return values.mean(axis=axis)

    batch = max(1, BATCH_BYTES // (8 * len(known)))
    rng = np.random.default_rng(seed)
    with np.errstate(over="ignore"):  # SciPy counts all signs, whose number is infinite for thousands of users
        found = permutation_test(
            (known,),
            mean,
            permutation_type="samples",
            vectorized=True,
            n_resamples=resamples,
            batch=batch,
            random_state=rng,
        )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """[N] p values corrected for N comparisons (Holm 1979), in the order given.

    The smallest is multiplied by N, the next by N - 1, and so on; none is below the one before, none above 1. Of all
    comparisons of equal models, one or more is below 0.05 in at most 5 % of the repetitions.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        corrected[place] = largest
    return corrected
