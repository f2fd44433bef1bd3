"""The gate: conditions a run must meet on the validation set before anything of it is exported.

A condition is judged by the lower end of a 95 % interval over the validation users, not by a mean alone: of models that
are no better than asked for, about one in 40 passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from recsys_core.evaluation.condition import split
from recsys_core.evaluation.metric_names import LOWER_IS_BETTER
from recsys_core.evaluation.metrics import Metric, parse_metric
from recsys_core.evaluation.paired import CONFIDENCE, mean_intervals
from recsys_core.evaluation.result import Evaluation

POPULARITY_MARGIN = 1.1
FLOOR = 1e-6
"""A metric of at most this does not beat a baseline, not even one of 0: the model ranks nothing right."""
MEAN, DIFFERENCE = "mean", "difference"
"""An interval is of the mean of the metric, or of the difference to what is wanted."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition, as ``ndcg@100>=0.42`` or ``ndcg@100>1.1*popularity-0.002``. A baseline must be exceeded."""

    metric: Metric
    value: float
    """The least value, or the factor of the baseline's value."""
    baseline: str | None = None
    margin: float = 0.0
    """Added to the baseline's value times the factor."""

    def wanted(self, baselines: Mapping[str, float]) -> float:
        """The value that the model has to reach, or to exceed where it is that of a baseline.

        Args:
            baselines: name -> mean of the metric.
        """
        if self.baseline is None:
            return self.value
        return max(self.value * baselines[self.baseline] + self.margin, FLOOR)

    def __str__(self) -> str:
        if not self.baseline:
            return f"{self.metric}>={self.value:g}"
        factor = "" if self.value == 1 else f"{self.value:g}*"
        return f"{self.metric}>{factor}{self.baseline}" + (f"{self.margin:+g}" if self.margin else "")


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


def parse_condition(
    text: str, baselines: Sequence[str] = ("popularity",), protocol: str = "", flag: str = "--gate"
) -> Condition:
    """Read a condition; its forms are those of `condition.split`.

    Args:
        protocol: see `parse_metric`.
        flag: what the text was given with, for the message.

    Raises:
        ValueError: another form, an unknown metric or one of which more is not better, or a baseline that is not
            evaluated.
    """
    parts = split(text, flag)
    if parts.baseline and parts.baseline not in baselines:
        known = ", ".join(baselines)
        raise ValueError(f"{flag} {text!r}: {parts.baseline!r} is not evaluated, the baselines are: {known}")
    metric = parse_metric(parts.metric, protocol)
    check_decides(metric, flag)
    return Condition(metric=metric, value=parts.number, baseline=parts.baseline, margin=parts.margin)


def check_decides(metric: Metric, flag: str) -> None:
    """Refuse a metric of which more is not better, where it is to decide something.

    Raises:
        ValueError: names the metric.
    """
    if metric.name in LOWER_IS_BETTER:
        raise ValueError(
            f"{flag}: {metric} cannot decide, because a higher value is no better; measure it with --final-metrics"
        )


def default_condition(primary: Metric) -> Condition:
    """Beat popularity by ten per cent."""
    return Condition(metric=primary, value=POPULARITY_MARGIN, baseline="popularity")


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
