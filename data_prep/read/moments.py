"""Moments in the unit of a source's times: those that users name, those to show, and those that are suspicious."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from fractions import Fraction

import numpy as np
import pyarrow as pa

from data_prep.read.rows import Times
from data_prep.read.schema import Schema
from data_prep.read.times import UNITS, magnitude, parse

DAY_S = 86_400
TOLERANCE_S = DAY_S
"""A time counts as future from this long after now: until then it may be of another zone."""
_PARTS = {unit: Fraction(1, each) for unit, each in UNITS.items()} | {"D": Fraction(DAY_S)}
"""Unit -> its seconds."""
_EPOCH = datetime(1970, 1, 1)
_YEAR = re.compile(r"(19|20)\d\d(-\d\d)?")
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?")


def moment(text: str, schema: Schema) -> int | float:
    """A moment that a user names, in the unit of the times of a source.

    Args:
        text: ISO 8601 (without a zone: UTC; also a year, or a year and month: their first moment), or a number of
            seconds, milliseconds, ... since 1970, or one in the unit of the source.

    Raises:
        ValueError: it is no moment, or the source has no times.
    """
    text, unit = text.strip(), schema.time_unit
    if schema.time is None:
        raise ValueError(f"{text!r} is a moment, and there is no column of times; name it with --time-column")
    if unit != "number" and _YEAR.fullmatch(text):
        text = f"{text}-01" if "-" in text else f"{text}-01-01"
    elif _NUMBER.fullmatch(text) and not (unit != "number" and re.fullmatch(r"(19|20)\d{6}", text)):
        return _number(_in_unit(Fraction(text), unit))
    try:
        micro = int(parse(pa.chunked_array([[text]]), "us", str, "")[0])
    except ValueError:
        raise ValueError(
            f"{text[:40]!r} is no moment, expected ISO 8601 as 2020-01-31T23:59:59Z, or a number as those of column "
            f"{schema.time!r}"
        ) from None
    if unit == "number":
        raise ValueError(
            f"{text[:40]!r} is a date, and the times of column {schema.time!r} are numbers that are no times since "
            "1970; name a number"
        )
    return _number(Fraction(micro, UNITS["us"]) / _PARTS[unit])


def _in_unit(value: Fraction, unit: str) -> Fraction:
    """A number that is as large as seconds, milliseconds, ... since 1970 are is one of these, whatever the unit."""
    size = magnitude(float(abs(value)))
    return value * _PARTS[size] / _PARTS[unit] if size and unit in _PARTS else value


def _number(value: Fraction) -> int | float:
    return int(value) if value.denominator == 1 else float(value)


def written(value: int | float, unit: str) -> str:
    """A moment for people: ISO 8601 in UTC, a day for days, the number itself where it is no time."""
    if unit not in _PARTS:
        return f"{value:.15g}" if isinstance(value, float) else str(value)
    try:
        found = _EPOCH + timedelta(microseconds=int(Fraction(value) * _PARTS[unit] * UNITS["us"]))
    except OverflowError:
        return f"{value} {unit}"
    if unit == "D" and not (found.hour or found.minute or found.second):
        return found.date().isoformat()
    return found.isoformat(timespec="auto") + "Z"


def outside(times: Times, unit: str, now_s: float | None = None) -> tuple[int, int]:
    """How many times of a block are before 1970, and how many in the future; (0, 0) where numbers are no times.

    Args:
        now_s: seconds since 1970, by default those of the clock.
    """
    if unit not in _PARTS or not len(times):
        return 0, 0
    now_s = time.time() if now_s is None else now_s
    latest = float(Fraction(now_s + TOLERANCE_S) / _PARTS[unit])
    before = int(np.count_nonzero(times < 0)) if times.min() < 0 else 0
    future = int(np.count_nonzero(times > latest)) if times.max() > latest else 0
    return before, future


def warnings(counts: Sequence[tuple[int, int]], schema: Schema) -> list[str]:
    """Sentences on times that are suspicious.

    Args:
        counts: what `outside` found in every block.
    """
    before, future = (sum(c[k] for c in counts) for k in (0, 1))
    about = f"(column {schema.time!r}; they were used as they are)"
    found = [f"{before:,} rows have a time before 1970 {about}"] if before else []
    return found + ([f"{future:,} rows have a time in the future {about}"] if future else [])
