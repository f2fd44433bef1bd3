"""The result of an evaluation: means over users with their standard errors, and the values of the users behind them.

Shape legend: S held-out users.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A mean over users and its standard error (None where there is no spread to take it from)."""

    mean: float
    standard_error: float | None = None


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The metrics of one model on one set of users."""

    metrics: Mapping[str, Estimate]
    users: int
    """Users in the means."""
    users_without_relevant: int
    """Users left out because there was nothing to find."""
    values: Mapping[str, npt.NDArray[np.float64]] = field(default_factory=dict, compare=False, repr=False)
    """Metric -> [S] its value for each held-out user, NaN where there is nothing to find; without metrics of the
    system. Rank 0 alone has them: on other ranks it is empty."""

    def known_values(self, metric: str) -> npt.NDArray[np.float64]:
        """[n] the values of the users who have one."""
        return self.values[metric][~np.isnan(self.values[metric])]

    def as_json(self) -> dict[str, object]:
        """Plain values, for result files; None for what is not a number."""
        metrics = {n: {"mean": _plain(e.mean), "standard_error": _plain(e.standard_error)} for n, e in
                   self.metrics.items()}  # fmt: skip
        return {"metrics": metrics, "users": self.users, "users_without_relevant": self.users_without_relevant}


def estimate(column: npt.NDArray[np.float64]) -> Estimate:
    """Mean of the values [S] that are there, and its standard error."""
    known = column[~np.isnan(column)]
    if not len(known):
        return Estimate(mean=math.nan)
    error = float(known.std(ddof=1) / math.sqrt(len(known))) if len(known) > 1 else None
    return Estimate(mean=float(known.mean()), standard_error=error)


def _plain(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value
