"""Cells of the tables: how a value of a record is written."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.measure import spread

Row = Mapping[str, Any]
Cell = Callable[[Row], str]


def plain(name: str) -> Cell:
    """The value as it is, nothing where there is none."""
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
    """Median (least to most) of repeated windows."""
    return lambda row: spread(row[name], form) if row.get(name) else ""


def metric(name: str) -> Cell:
    """Mean ± standard error."""
    return lambda row: f"{row[name]['mean']:.4f} ± {row[name]['standard_error']:.4f}" if row.get(name) else ""


def of_rung(name: str) -> Cell:
    return lambda row: str(row["rung"][name])


@dataclass(frozen=True, kw_only=True)
class Table:
    """Of one kind of record."""

    title: str
    columns: Sequence[tuple[str, Cell]]
    note: str = ""
    apart: Sequence[str] = ()
    """What rows must share to stand in one table: a ladder is climbed on one data set."""
