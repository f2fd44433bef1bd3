"""Columns of ratings, labels, counts and names of events, as numbers; and the rows of events that were asked for.

Shape legend: R rows of a block, K rows of it that are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.read.asked import Asked
from data_prep.read.ids import is_text, plain
from data_prep.read.rows import Place

TRUE = ("true", "t", "yes", "y", "on", "1")
FALSE = ("false", "f", "no", "n", "off", "0")
_OF_ARROW = ("true", "True", "TRUE", "false", "False", "FALSE", "1", "0")
"""Words that Arrow's parser of text takes as boolean."""
_NUMBER = r"^[ \t]*[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?[ \t]*$|^[ \t]*(?i:[+-]?nan|[+-]?inf)[ \t]*$"
EXPECTED = "expected numbers, or true and false"
_COMMA = r"^[ \t]*[+-]?[0-9]+,[0-9]+[ \t]*$"
"""A number with a decimal comma, as programs of many countries write it."""
_THOUSANDS = r"^[ \t]*[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+[ \t]*$"
"""What may be a whole number with commas between its thousands."""


@dataclass(frozen=True)
class Form:
    """How the values of a column are written."""

    kind: str
    """rating, boolean or count."""
    type: pa.DataType
    """float32, bool, or string where texts need more than Arrow's parser."""
    notes: tuple[str, ...] = ()


def form(column: pa.ChunkedArray, name: str, usual: str) -> Form:
    """The form of the values of a column.

    Args:
        column: the first rows.
        usual: the kind that the name stands for: rating, boolean, count, or "" for a name that is not known.

    Raises:
        ValueError: these are neither numbers nor labels.
    """
    column = plain(column)
    kind = column.type
    if pa.types.is_boolean(kind):
        return Form("boolean", pa.bool_())
    if is_text(kind):
        return _form_of_texts(column.filter(pc.greater(pc.binary_length(column), 0)), name, usual)
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind):
        values = set(pc.unique(column).to_pylist()) if usual in ("boolean", "") else set()
        return Form("boolean" if values and values <= {0, 1} and _tells(values, usual) else _of(usual), pa.float32())
    raise ValueError(f"column {name!r} is {kind}, {EXPECTED}")


def _of(usual: str) -> str:
    return "count" if usual == "count" else "rating"


def _tells(values: set, usual: str) -> bool:
    """Whether values that are all 0 or 1 are labels: by the name of the column, or because both occur."""
    return usual == "boolean" or len(values) == 2


def _form_of_texts(texts: pa.ChunkedArray, name: str, usual: str) -> Form:
    found = set(pc.unique(texts).to_pylist()[:1000])
    words = {text.strip().lower() for text in found}
    numbers_only = words <= {"0", "1"} and not (usual in ("boolean", "") and _tells(words, usual))
    if words and words <= {*TRUE, *FALSE} and not numbers_only:
        return Form("boolean", pa.bool_() if found <= set(_OF_ARROW) else pa.string())
    numbers = pc.match_substring_regex(texts, _NUMBER)
    if has_decimal_commas(texts):
        example = texts.filter(pc.match_substring_regex(texts, _COMMA))[0].as_py()
        return Form(_of(usual), pa.string(), (comma_note(name, example),))
    if len(texts) and pc.mean(numbers.cast(pa.int8())).as_py() <= 0.5:
        labels = pc.is_in(pc.utf8_lower(pc.utf8_trim_whitespace(texts)), pa.array([*TRUE, *FALSE]))
        are_labels = pc.mean(labels.cast(pa.int8())).as_py() > 0.5
        wrong = texts.filter(pc.invert(labels if are_labels else numbers))[0].as_py()
        expected = "expected true or false, as in other rows" if are_labels else EXPECTED
        raise ValueError(f"column {name!r} holds {wrong[:40]!r}, {expected}")
    return Form(_of(usual), pa.float32())


def comma_note(name: str, example: str) -> str:
    return f"column {name!r}: numbers as {example.strip()} were read with a decimal comma"


def has_decimal_commas(texts: pa.ChunkedArray) -> bool:
    """Whether some of the texts have a decimal comma, and all others are numbers without a point.

    Commas that all may stand between thousands (1,000) are none: that is a number in one country and a thousand times
    as much in another.
    """
    commas = texts.filter(pc.match_substring_regex(texts, _COMMA))
    if not len(commas) or pc.all(pc.match_substring_regex(commas, _THOUSANDS)).as_py():
        return False
    others = texts.filter(pc.invert(pc.match_substring_regex(texts, _COMMA)))
    return pc.all(pc.match_substring_regex(others, r"^[ \t]*([+-]?[0-9]+)?[ \t]*$")).as_py() in (True, None)


def convert(
    column: pa.ChunkedArray, kind: str, name: str, place: Place, *, commas: bool = False
) -> npt.NDArray[np.float32]:
    """[R] ratings, labels (0 or 1) or counts; NaN where there is none.

    Args:
        commas: whether numbers have a decimal comma; one with a point is an error then.

    Raises:
        ValueError: one is no such value.
    """
    column = plain(column)
    if is_text(column.type) and kind == "boolean":
        return _labels(column, name, place)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if is_text(column.type):
        column = pc.utf8_trim_whitespace(column)
        column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
        if commas:
            _check_no_points(column, name, place)
            column = pc.replace_substring(column, ",", ".")
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    try:
        return np.asarray(column.cast(pa.float32(), safe=False).to_numpy(), dtype=np.float32)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        row = next((r for r in range(len(column)) if not _is_number(column[r].as_py())), 0)
        raise _no_value(row, column, name, place, "a number") from None


def _check_no_points(column: pa.ChunkedArray, name: str, place: Place) -> None:
    points = pc.match_substring(column, ".").fill_null(False).to_numpy()
    if points.any():
        raise _no_value(int(np.argmax(points)), column, name, place, "a number with a decimal comma, as in other rows")


def _is_number(value: object) -> bool:
    try:
        float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return value is None
    return True


def _no_value(row: int, column: pa.ChunkedArray, name: str, place: Place, expected: str) -> ValueError:
    found = str(column[row].as_py())[:40]
    return ValueError(f"{place(row)}: {found!r} in column {name!r} is not {expected}")


def _labels(column: pa.ChunkedArray, name: str, place: Place) -> npt.NDArray[np.float32]:
    words = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    codes = pc.index_in(words, pa.array([*TRUE, *FALSE, ""])).fill_null(-1).to_numpy()
    if (wrong := (codes < 0) & ~column.is_null().to_numpy()).any():
        raise _no_value(int(np.argmax(wrong)), column, name, place, "true or false")
    labels = (codes < len(TRUE)).astype(np.float32)
    labels[(codes < 0) | (codes == len(TRUE) + len(FALSE))] = np.nan
    return labels


@dataclass(frozen=True)
class Chosen:
    """The rows of a block whose events were asked for."""

    rows: npt.NDArray[np.intp] | None
    """[K] ascending; None: all."""
    weights: npt.NDArray[np.float32] | None
    """[K] weight of each; None: every row is an interaction."""


def asked_events(asked: Asked) -> Mapping[str, float]:
    """Name of an event -> its weight, of those that are kept."""
    return dict(asked.event_weights) or dict.fromkeys(asked.positive_events, 1.0)


def events(column: pa.ChunkedArray, asked: Asked) -> Chosen:
    """Select the rows of the events that were asked for. A row without the name of an event is of none."""
    weights = asked_events(asked)
    column = plain(column)
    names = column if is_text(column.type) else column.cast(pa.string())
    if pa.types.is_boolean(column.type) or pa.types.is_floating(column.type):
        names = pa.chunked_array([pa.array([_written(v) for v in column.to_pylist()], pa.string())])
    codes = pc.index_in(names, pa.array(list(weights), pa.string())).fill_null(-1).to_numpy()
    kept = codes >= 0
    rows = None if kept.all() else np.flatnonzero(kept)
    if not asked.event_weights:
        return Chosen(rows, None)
    return Chosen(rows, np.array(list(weights.values()), np.float32)[codes[kept]])


def _written(value: object) -> str | None:
    """A typed value as the name of an event: true, 1 (not 1.0)."""
    if value is None or isinstance(value, bool):
        return None if value is None else str(value).lower()
    return f"{value:g}"


def names_of(column: pa.ChunkedArray) -> list[str]:
    """The names of the events of some rows, in order of their first row."""
    column = plain(column)
    if pa.types.is_boolean(column.type) or pa.types.is_floating(column.type):
        return list(dict.fromkeys(w for v in column.to_pylist() if (w := _written(v)) is not None))
    return [name for name in pc.unique(column.cast(pa.string())).to_pylist() if name is not None]
