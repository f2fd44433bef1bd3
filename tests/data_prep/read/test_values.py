"""Ratings, labels, counts and events as numbers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from data_prep.read import values
from data_prep.read.asked import Asked

NAN = float("nan")


def read(found: Any, kind: pa.DataType | None = None, usual: str = "") -> tuple[str, list[float]]:
    column = pa.chunked_array([pa.array(found, kind)])
    form = values.form(column, "x", usual)
    numbers = values.convert(column, form.kind, "x", lambda row: f"row {row + 1}")
    assert numbers.dtype == np.float32
    return form.kind, numbers.tolist()


@pytest.mark.parametrize(
    ("found", "kind", "usual", "expected"),
    [
        (["4.5", "3", " 1 "], None, "rating", ("rating", [4.5, 3.0, 1.0])),
        (["4.5", "-1e1", ".5"], None, "", ("rating", [4.5, -10.0, 0.5])),
        (["1", "0"], None, "rating", ("rating", [1.0, 0.0])),
        (["1", "0"], None, "", ("boolean", [1.0, 0.0])),
        (["1", "1"], None, "", ("rating", [1.0, 1.0])),
        (["1", "1"], None, "boolean", ("boolean", [1.0, 1.0])),
        (["1", "0"], None, "count", ("count", [1.0, 0.0])),
        (["3", "0"], None, "boolean", ("rating", [3.0, 0.0])),
        (["true", "False"], None, "rating", ("boolean", [1.0, 0.0])),
        (["Yes", "no", "Y"], None, "", ("boolean", [1.0, 0.0, 1.0])),
        ([4, 3], pa.int8(), "rating", ("rating", [4.0, 3.0])),
        ([2.5, 3], pa.float64(), "count", ("count", [2.5, 3.0])),
        ([1, 0], pa.int64(), "", ("boolean", [1.0, 0.0])),
        ([1, 0], pa.int64(), "rating", ("rating", [1.0, 0.0])),
        ([True, False], None, "rating", ("boolean", [1.0, 0.0])),
        ([Decimal("4.5")], None, "rating", ("rating", [4.5])),
        (["a", "b"], pa.dictionary(pa.int8(), pa.string()), "", None),
        (["4.5"], pa.large_string(), "rating", ("rating", [4.5])),
    ],
)
def test_values(found: list, kind: Any, usual: str, expected: tuple[str, list[float]] | None) -> None:
    if expected is None:
        with pytest.raises(ValueError, match="column 'x' holds 'a', expected numbers, or true and false"):
            read(found, kind, usual)
    else:
        assert read(found, kind, usual) == expected


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (["4.5", "", "nan"], None),
        ([4.5, None, NAN], None),
        ([True, None, None], None),
        (["yes", "", None], None),
    ],
)
def test_missing_values_are_nan(found: list, kind: Any) -> None:
    numbers = read(found, kind, "rating")[1]
    assert np.isnan(numbers).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("texts", "expected"),
    [(["true", "false"], pa.bool_()), (["1", "0"], pa.bool_()), (["yes", "no"], pa.string()), (["4"], pa.float32())],
)
def test_types_that_the_parser_of_text_reads(texts: list[str], expected: pa.DataType) -> None:
    assert values.form(pa.chunked_array([texts]), "x", "").type == expected


@pytest.mark.parametrize(
    ("kind", "found", "message"),
    [
        ("rating", ["4", "good"], "row 2: 'good' in column 'x' is not a number"),
        ("boolean", ["yes", "perhaps"], "row 2: 'perhaps' in column 'x' is not true or false"),
    ],
)
def test_a_block_with_another_value(kind: str, found: list[str], message: str) -> None:
    with pytest.raises(ValueError) as refused:
        values.convert(pa.chunked_array([found]), kind, "x", lambda row: f"row {row + 1}")
    assert str(refused.value) == message


@pytest.mark.parametrize("found", [[[1]], [b"x"]])
def test_what_are_no_values(found: list) -> None:
    with pytest.raises(ValueError, match="column 'x' is .*, expected numbers, or true and false"):
        read(found)


# Events


@pytest.mark.parametrize(
    ("found", "kind", "asked", "rows", "weights"),
    [
        (["view", "buy", None, "cart", "buy"], None, {"positive_events": ("buy",)}, [1, 4], None),
        (["view", "buy", None, "cart"], None, {"event_weights": {"buy": 5.0, "view": 1.0}}, [0, 1], [1.0, 5.0]),
        (["buy", "buy"], None, {"positive_events": ("buy",)}, None, None),
        (["buy", "buy"], None, {"event_weights": {"buy": 2.5}}, None, [2.5, 2.5]),
        (["buy"], pa.dictionary(pa.int8(), pa.string()), {"positive_events": ("buy",)}, None, None),
        ([1, 2, 3], None, {"event_weights": {"3": 4.0}}, [2], [4.0]),
        ([1.0, 2.0, None], None, {"positive_events": ("2",)}, [1], None),
        ([True, False], None, {"positive_events": ("true",)}, [0], None),
        (["view"], None, {"positive_events": ("buy",)}, [], None),
    ],
)
def test_events(found: list, kind: Any, asked: dict, rows: list[int] | None, weights: list[float] | None) -> None:
    chosen = values.events(pa.chunked_array([pa.array(found, kind)]), Asked(**asked))
    assert (None if chosen.rows is None else chosen.rows.tolist()) == rows
    assert (None if chosen.weights is None else chosen.weights.tolist()) == weights


def test_names_of_events_in_order() -> None:
    assert values.names_of(pa.chunked_array([["view", None, "buy", "view"]])) == ["view", "buy"]
    assert values.names_of(pa.chunked_array([[2.0, 1.0]])) == ["2", "1"]
