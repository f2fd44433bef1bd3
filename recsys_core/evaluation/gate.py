"""The gate: conditions a run must meet on the validation set before anything of it is exported.

A condition is judged by the lower end of a 95 % interval over the validation users, not by a mean alone: of models that
are no better than asked for, about one in 40 passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys_core.evaluation.condition import FLOOR, Condition
from recsys_core.evaluation.paired import CONFIDENCE, mean_intervals
from recsys_core.evaluation.result import Evaluation

MEAN, DIFFERENCE = "mean", "difference"
"""An interval is of the mean of the metric, or of the difference to what is wanted."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether one condition is met."""

    condition: str
    reached: float
    """The model's mean."""
    wanted: float
    passed: bool
    low: float | None = None
    """Lower end of the interval that decides; None where there is none, and `reached` decides."""
    high: float | None = None
    interval_of: str = MEAN
    """`MEAN`, or `DIFFERENCE`: model - what is wanted, user by user."""
    users: int | None = None
    """Users behind the interval."""


def judge(
    conditions: Sequence[Condition], model: Evaluation, baselines: Mapping[str, Evaluation]
) -> tuple[Verdict, ...]:
    """One verdict for each condition.

    A number is compared with the lower end of the interval of the mean; a baseline is exceeded where the interval of
    the paired difference lies above 0. A value that is not a number never passes, nor does one up to `FLOOR` beat a
    baseline. One user has no interval, so only a condition that every model meets is passed. A metric without values
    of users, as coverage, is compared itself.
    """
    return tuple(_verdict(condition, model, baselines) for condition in conditions)


def _verdict(condition: Condition, model: Evaluation, baselines: Mapping[str, Evaluation]) -> Verdict:
    name = str(condition.metric)
    reached = model.metrics[name].mean
    wanted = condition.wanted({n: e.metrics[name].mean for n, e in baselines.items()})
    if name not in model.values:
        passed = reached > wanted if condition.baseline else reached >= wanted
        return Verdict(condition=str(condition), reached=reached, wanted=wanted, passed=passed)
    if condition.baseline:
        own, other = model.values[name], baselines[condition.baseline].values[name]
        low, high, users = _interval(own - (condition.value * other + condition.margin), -np.inf)
        passed = low > 0 and reached > FLOOR
    else:
        low, high, users = _interval(model.values[name], condition.metric.lowest)
        passed = low >= wanted
    return Verdict(
        condition=str(condition),
        reached=reached,
        wanted=wanted,
        passed=bool(passed),
        low=low if np.isfinite(low) else None,
        high=high if np.isfinite(high) else None,
        interval_of=DIFFERENCE if condition.baseline else MEAN,
        users=users,
    )


def _interval(values: np.ndarray, lowest: float) -> tuple[float, float, int]:
    """Both ends of the interval of the mean of values [S] (NaN for none), and how many there are.

    Args:
        lowest: the least value that the mean can have; an interval does not go below.
    """
    known = values[~np.isnan(values)]
    if len(known) < 2:
        return lowest if len(known) else np.nan, np.inf, len(known)
    _, _, low, high = mean_intervals(known, confidence=CONFIDENCE)
    return max(float(low), lowest), float(high), len(known)
