"""The gate: conditions a run must meet on the validation set before anything of it is exported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsys_core.evaluation.condition import split
from recsys_core.evaluation.evaluator import Evaluation
from recsys_core.evaluation.metrics import Metric, parse_metric

POPULARITY_MARGIN = 1.1
FLOOR = 1e-6
"""A metric of at most this does not beat a baseline, not even one of 0: the model ranks nothing right."""


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition, as ``ndcg@100>=0.42`` or ``ndcg@100>1.1*popularity``. A baseline must be exceeded."""

    metric: Metric
    value: float
    """The least value, or the factor of the baseline's value."""
    baseline: str | None = None

    def __str__(self) -> str:
        return f"{self.metric}>{self.value:g}*{self.baseline}" if self.baseline else f"{self.metric}>={self.value:g}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether one condition is met."""

    condition: str
    reached: float
    wanted: float
    passed: bool


def parse_condition(
    text: str, baselines: Sequence[str] = ("popularity",), protocol: str = "", flag: str = "--gate"
) -> Condition:
    """Read a condition; its forms are those of `condition.split`.

    Args:
        protocol: see `parse_metric`.
        flag: what the text was given with, for the message.

    Raises:
        ValueError: another form, an unknown metric, or a baseline that is not evaluated.
    """
    parts = split(text, flag)
    if parts.baseline and parts.baseline not in baselines:
        known = ", ".join(baselines)
        raise ValueError(f"{flag} {text!r}: {parts.baseline!r} is not evaluated, the baselines are: {known}")
    return Condition(metric=parse_metric(parts.metric, protocol), value=parts.number, baseline=parts.baseline)


def default_condition(primary: Metric) -> Condition:
    """Beat popularity by ten per cent."""
    return Condition(metric=primary, value=POPULARITY_MARGIN, baseline="popularity")


def judge(
    conditions: Sequence[Condition], model: Evaluation, baselines: Mapping[str, Evaluation]
) -> tuple[Verdict, ...]:
    """One verdict for each condition. A value that is not a number never passes, nor does one up to `FLOOR` beat a
    baseline."""
    verdicts = []
    for condition in conditions:
        name = str(condition.metric)
        reached = model.metrics[name].mean
        if condition.baseline:
            wanted = max(condition.value * baselines[condition.baseline].metrics[name].mean, FLOOR)
            passed = reached > wanted
        else:
            wanted, passed = condition.value, reached >= condition.value
        verdicts.append(Verdict(condition=str(condition), reached=reached, wanted=wanted, passed=passed))
    return tuple(verdicts)
