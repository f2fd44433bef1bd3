"""Cells of a table: each function returns a function that writes one value of a record as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from recsys_core.measuring.windows import spread

Row = Mapping[str, Any]
Cell = Callable[[Row], str]


def having(rows: Sequence[Row], *names: str) -> list[Row]:
    """The records that hold all of some fields; records of earlier versions may lack one."""
    return [row for row in rows if all(row.get(name) not in (None, []) for name in names)]


def first_of(value: float | Sequence[float]) -> float:
    """The figure of [value, low, high], or of a number alone."""
    return value[0] if isinstance(value, Sequence) else value


def of_windows(values: float | Sequence[float], form: str) -> str:
    """One number, or the median of repeated windows with their minimum and maximum; a single window is called so."""
    if not isinstance(values, Sequence):
        return f"{values:{form}}"
    return spread(values, form) if len(values) > 1 else f"{values[0]:{form}} (one window)"


def plain(name: str) -> Cell:
    """The value as it is, whole numbers with separators; empty where the record has none."""

    def cell(row: Row) -> str:
        value = row.get(name)
        if value is None:
            return ""
        return f"{value:,}" if type(value) is int else str(value)

    return cell


def number(name: str, form: str, scale: float = 1.0) -> Cell:
    """One number, or the median (minimum to maximum) of repeated windows; empty where the record has none."""

    def cell(row: Row) -> str:
        value = row.get(name)
        if value is None or value == []:
            return ""
        return of_windows([scale * v for v in value] if isinstance(value, list) else scale * value, form)

    return cell


def estimate(name: str, form: str) -> Cell:
    """A figure with its interval; a number alone in older records; "not stated" where too few times carry it."""

    def cell(row: Row) -> str:
        value = row.get(name)
        if not isinstance(value, list):
            return f"{value:{form}}" if value is not None else "not stated" if name in row else ""
        middle, low, high = (f"{v:{form}}" for v in value)
        return f"{middle} ({low} to {high})"

    return cell


def metric(name: str) -> Cell:
    """Mean ± standard error."""
    return lambda row: f"{row[name]['mean']:.4f} ± {row[name]['standard_error']:.4f}" if row.get(name) else ""
