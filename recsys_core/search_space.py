"""Search spaces: the values of a setting that a search may try. A preset declares its own (`config.Preset.search`).

Neither TensorFlow nor Optuna is needed here; `recsys_core.tuning` samples these spaces.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias


def _check_range(low: float, high: float, log: bool) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ValueError(f"a range goes from {low} to {high}, expected two finite numbers, the smaller one first")
    if log and low <= 0:
        raise ValueError(f"a logarithmic range starts at {low}, expected more than 0")


@dataclass(frozen=True)
class Real:
    """Numbers from `low` to `high`, both included; with `log` their logarithms are uniform."""

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a range that holds nothing."""
        _check_range(self.low, self.high, self.log)

    def __str__(self) -> str:
        return f"{self.low:g}..{self.high:g}{' (log)' if self.log else ''}"

    def nearest(self, value: Any) -> float:
        """The value inside the range that is closest to a number."""
        return float(min(max(float(value), self.low), self.high))

    def examples(self) -> list[Any]:
        """Both ends, and the middle."""
        middle = math.sqrt(self.low * self.high) if self.log else (self.low + self.high) / 2
        return [float(self.low), float(self.high), middle]


@dataclass(frozen=True)
class Whole:
    """Whole numbers from `low` to `high`, both included; with `log` their logarithms are uniform."""

    low: int
    high: int
    log: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for a range that holds nothing."""
        _check_range(self.low, self.high, self.log)

    def __str__(self) -> str:
        return f"{self.low}..{self.high}{' (log)' if self.log else ''}"

    def nearest(self, value: Any) -> int:
        """The value inside the range that is closest to a number."""
        return int(min(max(round(value), self.low), self.high))

    def examples(self) -> list[Any]:
        """Both ends, and the middle."""
        return [self.low, self.high, (self.low + self.high) // 2]


@dataclass(frozen=True, init=False)
class Choice:
    """One of some values, of any type that a setting has. A single value fixes the setting."""

    values: tuple[Any, ...]

    def __init__(self, *values: Any) -> None:
        """Raise ValueError for no values, or two that look the same."""
        labels = [label(value) for value in values]
        if not values or len(set(labels)) < len(labels):
            raise ValueError(f"the values to choose from are {', '.join(labels) or 'none'}, expected different ones")
        object.__setattr__(self, "values", tuple(values))

    def __str__(self) -> str:
        return ",".join(self.labels)

    @property
    def labels(self) -> list[str]:
        """The values as texts, in their order."""
        return [label(value) for value in self.values]

    def nearest(self, value: Any) -> Any:
        """The value itself if it is one of them; else the closest of numbers, and the first of other values."""
        wanted = tuple(value) if isinstance(value, list) else value
        if wanted in self.values:
            return wanted
        numbers = [v for v in self.values if isinstance(v, int | float) and not isinstance(v, bool)]
        is_number = isinstance(value, int | float) and len(numbers) == len(self.values)
        return min(numbers, key=lambda v: abs(v - value)) if is_number else self.values[0]

    def of_label(self, text: str) -> Any:
        """The value with a label."""
        return self.values[self.labels.index(text)]

    def examples(self) -> list[Any]:
        """Every value."""
        return list(self.values)


Parameter: TypeAlias = Real | Whole | Choice


def label(value: Any) -> str:
    """A value as it is typed and shown: a list of widths as 600x200, an empty one as none."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "x".join(map(str, value)) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
