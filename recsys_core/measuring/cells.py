"""Cells of a table: each function returns a function that writes one value of a record as text."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from typing import Any

from recsys_core.measuring.windows import spread

Row = Mapping[str, Any]
Cell = Callable[[Row], str]


def plain(name: str) -> Cell:
    """The value as it is; empty where the record has none."""
    return lambda row: "" if row.get(name) is None else str(row[name])


def number(name: str, form: str, scale: float = 1.0) -> Cell:
    """One number, or the median of several."""

    def cell(row: Row) -> str:
        value = row.get(name)
        if value is None:
            return ""
        return f"{scale * (statistics.median(value) if isinstance(value, list) else value):{form}}"

    return cell


def windows(name: str, form: str) -> Cell:
    """Median (minimum to maximum) of repeated windows."""
    return lambda row: spread(row[name], form) if row.get(name) else ""


def metric(name: str) -> Cell:
    """Mean ± standard error."""
    return lambda row: f"{row[name]['mean']:.4f} ± {row[name]['standard_error']:.4f}" if row.get(name) else ""
