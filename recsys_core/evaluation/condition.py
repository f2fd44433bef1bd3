"""A condition of `--gate` and `--target`: its text, its parts, and the answer to one that the shell has cut.

Nothing here imports TensorFlow, so that a wrong condition is answered at once.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recsys_core.evaluation.metric_names import LOWER_IS_BETTER, Metric, parse_metric

POPULARITY_MARGIN = 1.1
FLOOR = 1e-6
"""A metric of at most this does not beat a baseline, not even one of 0: the model ranks nothing right."""
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)"
_NAME = r"[a-z][a-z0-9]*"
_WANTED = rf"(?:(?P<factor>{_NUMBER})\s*[*x]\s*)?(?P<baseline>{_NAME})(?:\s*(?P<sign>[+-])\s*(?P<margin>{_NUMBER}))?"
_FORM = re.compile(rf"(?P<metric>[^>:]*)(?P<relation>>=|>|:)\s*(?:(?P<number>{_NUMBER})|{_WANTED})\s*")
_FILE = re.compile(rf"=?(?:{_NUMBER}|(?:{_NUMBER}[*x])?{_NAME}(?:[+-]{_NUMBER})?)")
"""Name of the file that the shell makes of an unquoted `>=0.4`, `>1.1*popularity` or `>=ease-0.002`."""


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
class Parts:
    """The parts of a condition."""

    metric: str
    number: float
    """The least value, or the factor of the baseline's value."""
    baseline: str | None
    margin: float = 0.0
    """Added to the baseline's value times the factor; below 0 where the model may be worse by so much."""


def split(text: str, flag: str = "--gate", folder: Path | None = None) -> Parts:
    """The parts of a condition.

    In quotes: ``ndcg@100>=0.42``, ``ndcg@100>popularity``, ``ndcg@100>1.1*popularity``, ``ndcg@100>=ease-0.002``.
    Without quotes, because a shell leaves them alone: ``ndcg@100:0.42`` (at least), and for baselines (above)
    ``ndcg@100:popularity``, ``ndcg@100:1.1xpopularity``, ``ndcg@100:ease-0.002``.

    Args:
        flag: what the text was given with, for the message.
        folder: where the shell would have made a file (default: the current folder).

    Raises:
        ValueError: another form; where the shell took the rest of the text for a file, the file is named.
    """
    match = _FORM.fullmatch(text)
    if match and (match["baseline"] or match["relation"] != ">"):
        margin = float(match["margin"] or 0) * (-1 if match["sign"] == "-" else 1)
        number = float(match["number"] or match["factor"] or 1)
        return Parts(metric=match["metric"], number=number, baseline=match["baseline"], margin=margin)
    expected = (
        f"{flag} is {text!r}, expected METRIC>=NUMBER or METRIC>FACTOR*popularity (another baseline, FACTOR* left out, "
        "or a margin after it, as ease-0.002)"
    )
    if any(sign in text for sign in "><:"):
        raise ValueError(f"{expected}, as ndcg@100>=0.42, in quotes; without quotes METRIC:NUMBER, as ndcg@100:0.42")
    made = _file_of_shell(folder or Path())
    rest = made.name if made else ">=0.42"
    whole = f"{text}>{rest.removeprefix('>')}"
    plain = f"{text}:{rest.lstrip('>=').replace('*', 'x')}"
    fault = "the shell takes an unquoted > for a file"
    if made:
        fault += f", and made {made.name!r} here (remove it: rm {shlex.quote(f'./{made.name}')})"
    raise ValueError(f'{expected}. Quote it, {flag} "{whole}", or write {flag} {plain}: {fault}')


def parse_condition(
    text: str, baselines: Sequence[str] = ("popularity",), protocol: str = "", flag: str = "--gate"
) -> Condition:
    """Read a condition; its forms are those of `split`.

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


def _file_of_shell(folder: Path) -> Path | None:
    """The newest file whose name is the end of a condition. It is empty, as the shell made it: no other is named."""
    try:
        named = [path for path in folder.iterdir() if _FILE.fullmatch(path.name) and path.is_file()]
        found = [path for path in named if not path.stat().st_size]
        return max(found, key=lambda path: path.stat().st_mtime) if found else None
    except OSError:
        return None
