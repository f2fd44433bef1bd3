"""The gate: conditions a run must meet on the validation set before anything of it is exported."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from recsys_core.evaluation.evaluator import Evaluation
from recsys_core.evaluation.metrics import Metric, parse_metric

POPULARITY_MARGIN = 1.1
_NUMBER = r"(\d+(?:\.\d*)?|\.\d+)"


@dataclass(frozen=True, kw_only=True)
class Condition:
    """One condition, as ``ndcg@100>=0.42`` or ``ndcg@100>=1.1*popularity``."""

    metric: Metric
    value: float
    """The least value, or the factor of the baseline's value."""
    baseline: str | None = None

    def __str__(self) -> str:
        right = f"{self.value:g}*{self.baseline}" if self.baseline else f"{self.value:g}"
        return f"{self.metric}>={right}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """How one condition came out."""

    condition: str
    reached: float
    wanted: float
    passed: bool


def parse_condition(
    text: str, baselines: Sequence[str] = ("popularity",), protocol: str = "", flag: str = "--gate"
) -> Condition:
    """Read a condition.

    Args:
        protocol: see `parse_metric`.
        flag: what the text was given with, for the message.

    Raises:
        ValueError: another form, an unknown metric, or a baseline that is not evaluated.
    """
    left, sign, right = text.partition(">=")
    match = re.fullmatch(rf"\s*{_NUMBER}(?:\s*\*\s*([a-z]+))?\s*", right)
    if not sign or not match:
        raise ValueError(f"{flag} is {text!r}, expected METRIC>=NUMBER or METRIC>=FACTOR*popularity, as ndcg@100>=0.42")
    if match[2] and match[2] not in baselines:
        raise ValueError(f"{flag} {text!r}: {match[2]!r} is not evaluated, the baselines are: {', '.join(baselines)}")
    return Condition(metric=parse_metric(left, protocol), value=float(match[1]), baseline=match[2])


def default_condition(primary: Metric) -> Condition:
    """Beat popularity by ten per cent."""
    return Condition(metric=primary, value=POPULARITY_MARGIN, baseline="popularity")


def judge(
    conditions: Sequence[Condition], model: Evaluation, baselines: Mapping[str, Evaluation]
) -> tuple[Verdict, ...]:
    """One verdict for each condition. A value that is not a number never passes."""
    verdicts = []
    for condition in conditions:
        name = str(condition.metric)
        reached = model.metrics[name].mean
        factor = baselines[condition.baseline].metrics[name].mean if condition.baseline else 1.0
        wanted = condition.value * factor
        verdicts.append(Verdict(condition=str(condition), reached=reached, wanted=wanted, passed=reached >= wanted))
    return tuple(verdicts)
