"""A simulated engine from its measured times at some sizes, interpolated for all sizes: `is_simulated` is True."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from load_study.traffic.columns import is_number


class Profile:
    """Measured seconds by size: straight lines between the points, and the last line goes on above them.

    Never clamped above. A size below the least point takes as long as the least point.

    Raises:
        ValueError: fewer than two points, one that is not positive, or the last is faster than the one before.
    """

    is_simulated = True

    def __init__(self, points: Mapping[int, float]) -> None:
        if len(points) < 2:
            raise ValueError(f"the profile has {len(points)} points, expected at least 2")
        for size, takes in points.items():
            if size < 1 or not (math.isfinite(takes) and takes > 0):
                raise ValueError(f"the profile says {takes} s for size {size}, expected both above 0")
        self._sizes = np.array(sorted(points), dtype=np.float64)
        self._seconds = np.array([points[size] for size in sorted(points)])
        rise = self._seconds[-1] - self._seconds[-2]
        if rise < 0:
            last, before = self._sizes[-1], self._sizes[-2]
            raise ValueError(f"the profile falls from size {before:g} to {last:g}, expected not: larger ones follow it")
        self._slope = float(rise / (self._sizes[-1] - self._sizes[-2]))

    def __call__(self, size: int) -> float:
        """Seconds for a batch of this size."""
        above = max(size - float(self._sizes[-1]), 0.0)
        return float(np.interp(size, self._sizes, self._seconds)) + self._slope * above

    @classmethod
    def read(cls, path: Path) -> Profile:
        """From JSON, {"SIZE": SECONDS, ...}, or else from CSV, SIZE,SECONDS a line, a header allowed.

        Raises:
            ValueError: no such file, a line that is not a point, or points that make no profile.
        """
        if not path.is_file():
            raise ValueError(f"there is no {path}, expected a profile: JSON {{SIZE: SECONDS}} or CSV SIZE,SECONDS")
        points: dict[int, float] = {}
        for where, *point in _read_points(path):
            if len(point) != 2 or not all(is_number(value) for value in point) or float(point[0]) % 1:
                raise ValueError(f"{where} of {path} is {','.join(point)!r}, expected SIZE,SECONDS")
            if int(float(point[0])) in points:
                raise ValueError(f"{where} of {path} is {','.join(point)!r}, expected a size that is not there yet")
            points[int(float(point[0]))] = float(point[1])
        return cls(points)


def _read_points(path: Path) -> list[list[str]]:
    """[where, size, seconds] as texts."""
    if path.suffix != ".json":
        with path.open(newline="") as file:
            rows = [[f"line {number}", *row] for number, row in enumerate(csv.reader(file), 1) if row]
        return rows[1:] if rows and not is_number(rows[0][1]) else rows
    try:
        found = json.loads(path.read_text())
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} of {path}"
        raise ValueError(f"{where} is not JSON ({error.msg}), expected {{SIZE: SECONDS}}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds a {type(found).__name__}, expected an object {{SIZE: SECONDS}}")
    return [["an entry", size, str(takes)] for size, takes in found.items()]
