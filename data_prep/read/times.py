"""Columns of times: in which form they are written, and as numbers of one unit since 1970.

Numbers are taken as seconds, milliseconds, microseconds or nanoseconds by their size. Texts are ISO 8601; without a
zone they are UTC. Shape legend: R rows of a block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.read.ids import is_text, plain
from data_prep.read.rows import Place, Times
from data_prep.read.schema import Schema

UNITS = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}
"""Unit -> how many are a second."""
_WORDS = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
EXPECTED = "expected seconds or milliseconds since 1970, or ISO 8601 as 2020-01-31T23:59:59Z"
NO_ZONE = "times without a zone were taken as UTC"
_SECONDS_FROM = 10**8
"""Smaller numbers are no times since 1970 (this one is in 1973)."""
_INTEGER = r"^[ \t]*-?[0-9]+[ \t]*$"
_NUMBER = r"^[ \t]*-?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*$"
_COMPACT = r"^(19|20)[0-9]{2}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])$"
_COMPACT_TIME = _COMPACT[:-1] + r"([01][0-9]|2[0-3])[0-5][0-9][0-5][0-9]$"
"""Digits of a date and a time: 20200131235959."""
_DATE = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"
_ZONE = r"(Z|[+-][0-9]{2}(:?[0-9]{2})?)"
_TIME = rf"^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([ T][0-9]{{2}}(:[0-9]{{2}}(:[0-9]{{2}}(\.[0-9]+)?)?)?{_ZONE}?)?$"
_ZONED = rf"[ T][0-9.:]+{_ZONE}$"
_FINE = r"\.[0-9]{7}"
_REWRITTEN = (
    (r"^([0-9]{4})/([0-9]{2})/([0-9]{2})", r"\1-\2-\3"),
    (r"^([0-9]{8})([0-9]{6})$", r"\1T\2"),
    (r"^([0-9])\.", r"0\1."),
    (r"^([0-9]{2})\.([0-9])\.", r"\1.0\2."),
    (r"^([0-9]{2})\.([0-9]{2})\.([0-9]{4})", r"\3-\2-\1"),
    (r"^([0-9]{4})([0-9]{2})([0-9]{2})($|T)", r"\1-\2-\3\4"),
    (r"T([0-9]{2})([0-9]{2})([0-9]{2})", r"T\1:\2:\3"),
    (r" ([0-9]):", r" 0\1:"),
    (r" ?(UTC|GMT)$", "Z"),
    (r" ([+-])", r"\1"),
    (",", "."),
    (r"(\.[0-9]{9})[0-9]+", r"\1"),
)
"""Forms of ISO 8601 and of databases -> the form that Arrow reads."""


@dataclass(frozen=True)
class Form:
    """How the times of a column are written."""

    type: pa.DataType
    """int64, float64, a timestamp, date32, or string where texts need more than Arrow's parser."""
    unit: str
    """As `Schema.time_unit`."""
    notes: tuple[str, ...] = ()


def form(column: pa.ChunkedArray, name: str) -> Form:
    """The form of the times of a column; that of most where there are several.

    Args:
        column: the first rows.
        name: for the message and notes.

    Raises:
        ValueError: these are no times.
    """
    column = plain(column)
    kind = column.type
    if pa.types.is_timestamp(kind):
        return Form(pa.timestamp(kind.unit, kind.tz), kind.unit, () if kind.tz else (_no_zone(name),))
    if pa.types.is_date(kind):
        return Form(pa.date32(), "D")
    if pa.types.is_decimal(kind) or pa.types.is_floating(kind):
        return Form(pa.float64(), *_magnitude(column.cast(pa.float64()), name))
    if pa.types.is_integer(kind):
        return _form_of_integers(column, name)
    if is_text(kind):
        return _form_of_texts(column.filter(pc.greater(pc.binary_length(column), 0)), name)
    raise ValueError(f"column {name!r} is {kind}, {EXPECTED}")


def _no_zone(name: str) -> str:
    return f"column {name!r}: {NO_ZONE}"


def _compact(name: str, texts: pa.ChunkedArray) -> str:
    return f"column {name!r}: numbers as {texts[0].as_py()} were taken as dates"


def _form_of_integers(column: pa.ChunkedArray, name: str) -> Form:
    texts = column.drop_null().cast(pa.string())
    return _form_of_digits(texts, name) or Form(pa.int64(), *_magnitude(column, name))


def _form_of_digits(texts: pa.ChunkedArray, name: str) -> Form | None:
    """The form of numbers whose digits are those of dates, or of dates and times; None of others."""
    if len(texts) and _share(texts, _COMPACT) == 1:
        return Form(pa.string(), "D", (_compact(name, texts),))
    if len(texts) and _share(texts, _COMPACT_TIME) == 1:
        return Form(pa.string(), "us", (_compact(name, texts),))
    return None


def _magnitude(column: pa.ChunkedArray, name: str) -> tuple[str, tuple[str, ...]]:
    """The unit of numbers, by the size of the one in the middle; and a note where they are no times."""
    values = np.abs(column.drop_null().cast(pa.float64(), safe=False).to_numpy())
    values = values[np.isfinite(values)]
    middle = float(np.median(values)) if len(values) else 0.0
    if unit := magnitude(middle):
        return unit, _mixed_units(values, unit, name)
    return "number", (f"column {name!r}: numbers as {middle:.15g} give the order, and are no times since 1970",)


def _mixed_units(values: npt.NDArray[np.float64], unit: str, name: str) -> tuple[str, ...]:
    """A note on times that are as large as those of another unit."""
    notes = list[str]()
    for other, each in UNITS.items():
        is_other = (values >= _SECONDS_FROM * each) & (values < 1000 * _SECONDS_FROM * each)
        if other != unit and (count := int(np.count_nonzero(is_other))):
            notes.append(
                f"column {name!r}: {count:,} of the first {len(values):,} times are as large as {_WORDS[other]}, most "
                f"as {_WORDS[unit]}; they were used as they are, write all in one unit"
            )
    return tuple(notes)


def magnitude(value: float) -> str:
    """The unit of a time since 1970, by its size; "" for one that is too small or too large for any."""
    fitting = (unit for unit, each in UNITS.items() if _SECONDS_FROM * each <= value < 1000 * _SECONDS_FROM * each)
    return next(fitting, "")


def _share(texts: pa.ChunkedArray, pattern: str) -> float:
    return pc.mean(pc.match_substring_regex(texts, pattern).cast(pa.int8())).as_py()


def _form_of_texts(texts: pa.ChunkedArray, name: str) -> Form:
    if not len(texts):
        raise ValueError(f"column {name!r} holds no times, {EXPECTED}")
    if digits := _form_of_digits(texts, name):
        return digits
    if _share(texts, _NUMBER) > 0.5:
        numbers = texts.filter(pc.match_substring_regex(texts, _NUMBER))
        kind = pa.int64() if _share(numbers, _INTEGER) == 1 else pa.float64()
        return Form(kind, *_magnitude(pc.utf8_trim_whitespace(numbers).cast(pa.float64()), name))
    plain_form = _share(texts, _TIME) == 1
    found = _normal(texts)
    times = found.filter(pc.match_substring_regex(found, _TIME))
    if len(times) <= len(texts) / 2:
        wrong = texts.filter(pc.invert(pc.match_substring_regex(found, _TIME)))[0].as_py()
        raise ValueError(f"column {name!r} holds {wrong[:40]!r}, {EXPECTED}")
    if _share(times, _DATE) == 1:
        return Form(pa.date32() if _share(texts, _DATE) > 0.5 else pa.string(), "D")
    zoned, fine = _share(times, _ZONED), _share(times, _FINE) > 0
    notes = () if zoned == 1 else (_no_zone(name),)
    if plain_form and zoned in (0, 1) and not fine:
        return Form(pa.timestamp("us", "UTC" if zoned else None), "us", notes)
    return Form(pa.string(), "ns" if fine else "us", notes)


def _normal(texts: pa.ChunkedArray) -> pa.ChunkedArray:
    """Texts of times as Arrow reads them."""
    if not len(texts) or _share(texts, _TIME) == 1:
        return texts
    texts = pc.utf8_upper(pc.utf8_trim_whitespace(texts))
    for pattern, written in _REWRITTEN:
        texts = pc.replace_substring_regex(texts, pattern, written)
    return texts


def parse(texts: pa.ChunkedArray, unit: str, place: Place, name: str) -> npt.NDArray[np.int64]:
    """[R] texts of times in a unit since 1970; those without a zone are UTC, and fractions of the unit are cut off.

    Raises:
        ValueError: one is no time.
    """
    normal = _normal(texts)
    right = pc.match_substring_regex(normal, _TIME).to_numpy()
    if not right.all():
        raise _no_time(int(np.argmin(right)), texts, place, name)
    finer = "us" if unit == "D" else unit
    if finer == "us":
        normal = pc.replace_substring_regex(normal, r"(\.[0-9]{6})[0-9]+", r"\1")
    zoned = pc.match_substring_regex(normal, _ZONED).to_numpy()
    values = np.empty(len(texts), np.int64)
    for rows, zone in ((np.flatnonzero(zoned), "UTC"), (np.flatnonzero(~zoned), None)):
        kind = pa.timestamp(finer, zone)
        some = normal.take(pa.array(rows))
        if not _casts(some, kind):
            row = next((row for row in rows.tolist() if not _casts(normal.slice(row, 1), kind)), int(rows[0]))
            raise _no_time(row, texts, place, name)
        values[rows] = some.cast(kind).cast(pa.int64()).to_numpy()
    return values // (86_400 * UNITS["us"]) if unit == "D" else values


def _casts(texts: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        texts.cast(kind)
    except pa.ArrowInvalid:
        return False
    return True


def _no_time(row: int, texts: pa.ChunkedArray, place: Place, name: str) -> ValueError:
    return ValueError(f"{place(row)}: {texts[row].as_py()[:40]!r} in column {name!r} is no time, {EXPECTED}")


def convert(column: pa.ChunkedArray, schema: Schema, place: Place) -> Times:
    """[R] the times of a block, as int64 or float64 in the unit of the schema.

    Raises:
        ValueError: a time is missing or is none.
    """
    name, unit = str(schema.time), schema.time_unit
    column, kind = plain(column), schema.types[str(schema.time)]
    if column.null_count:
        row = int(np.argmax(column.is_null().to_numpy()))
        raise ValueError(
            f"{place(row)}: {column.null_count} rows have an empty time, every row needs one; --time-column none "
            "leaves times out"
        )
    if is_text(column.type) and pa.types.is_temporal(kind) and _casts(column, kind):
        return (
            column.cast(kind)
            .cast(pa.int64() if pa.types.is_timestamp(kind) else pa.int32())
            .to_numpy()
            .astype(np.int64)
        )
    if pa.types.is_string(kind) or (is_text(column.type) and pa.types.is_temporal(kind)):
        return parse(column if is_text(column.type) else column.cast(pa.string()), unit, place, name)
    try:
        values = _numbers(column, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        row = next((r for r in range(len(column)) if not _reads(column.slice(r, 1), kind)), 0)
        found = str(column[row].as_py())[:40]
        expected = "a whole number" if pa.types.is_int64(kind) else "a time"
        raise ValueError(f"{place(row)}: {found!r} in column {name!r} is not {expected}, as those before") from None
    if values.dtype.kind == "f" and (wrong := ~np.isfinite(values)).any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{place(row)}: time {values[row]}, expected a number")
    return values


def _numbers(column: pa.ChunkedArray, kind: pa.DataType) -> Times:
    """[R] the times of a column whose type is that of the schema or near to it."""
    if is_text(column.type):
        column = pc.utf8_trim_whitespace(column)
    if pa.types.is_date32(kind):
        return column.cast(kind).cast(pa.int32()).to_numpy().astype(np.int64)
    if pa.types.is_timestamp(kind):
        zone = column.type.tz if pa.types.is_timestamp(column.type) else None
        return column.cast(pa.timestamp(kind.unit, zone)).cast(pa.int64()).to_numpy()
    return column.cast(kind).to_numpy()


def _reads(column: pa.ChunkedArray, kind: pa.DataType) -> bool:
    try:
        _numbers(column, kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return False
    return True


def wider(kind: pa.DataType, unit: str, found: Sequence[str], name: str) -> Form | None:
    """The form of times that holds values which `kind` does not; None where there is none."""
    texts = pa.chunked_array([pa.array(found, pa.string())])
    if not len(texts):
        return None
    if pa.types.is_int64(kind):
        return Form(pa.float64(), unit) if _share(texts, _NUMBER) == 1 else None
    if pa.types.is_temporal(kind) and _share(_normal(texts), _TIME) == 1:
        finer = pa.types.is_date(kind) and _share(_normal(texts), _DATE) < 1
        zoned = _share(_normal(texts), _ZONED) == 1 or (pa.types.is_date(kind) and not finer)
        return Form(pa.string(), "us" if finer else unit, () if zoned else (_no_zone(name),))
    return None
