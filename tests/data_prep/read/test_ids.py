"""Ids of every type: the keys of equal ids are equal, those of others differ, and texts come back."""

from __future__ import annotations

import uuid
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.read import ids
from data_prep.read.rows import Ids

INT64 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda text: bool(text.strip()))


def place(row: int) -> str:
    return f"row {row + 1}"


def read(values: Any, kind: pa.DataType | None = None, typed: bool = True) -> Ids:
    column = pa.chunked_array([pa.array(values, kind)])
    return ids.convert(column, ids.read_type(column, "who", typed), "who", "user", place)


def texts(found: Ids) -> list[str]:
    assert found.names is not None
    assert len(set(found.names.keys.tolist())) == len(found.names.texts)
    named = dict(zip(found.names.keys.tolist(), found.names.texts.to_pylist(), strict=True))
    return [named[key] for key in found.keys.tolist()]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([3, -1], pa.int8()),
        ([3, 200], pa.uint8()),
        ([3, -(2**31)], pa.int32()),
        ([3, 2**40], pa.uint64()),
        ([3, -(2**63)], pa.int64()),
        ([3.0, -5.0], pa.float64()),
        ([3.0, 2.0**24], pa.float32()),
        ([Decimal("3"), Decimal("10")], pa.decimal128(20, 0)),
        ([Decimal("3.00"), Decimal("10.00")], pa.decimal128(20, 2)),
        ([3, 3, 4], pa.dictionary(pa.int8(), pa.int64())),
    ],
)
def test_whole_numbers_are_their_own_keys(values: list, kind: pa.DataType) -> None:
    found = read(values, kind)
    assert found.names is None
    assert found.keys.tolist() == [int(value) for value in values]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([2**31 - 1, -(2**31)], np.int32), ([2**31], np.int64), ([-(2**31) - 1], np.int64), ([], np.int32)],
)
def test_the_smallest_type_of_keys(values: list[int], dtype: type) -> None:
    assert ids.smallest(np.array(values, np.int64)).dtype == dtype


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (["a", "b", "a"], pa.string(), ["a", "b", "a"]),
        (["a", "b", "a"], pa.large_string(), ["a", "b", "a"]),
        (["a", "b", "a"], pa.string_view(), ["a", "b", "a"]),
        (["a", "b", "a"], pa.dictionary(pa.int32(), pa.string()), ["a", "b", "a"]),
        (["12", "7"], pa.string(), ["12", "7"]),
        ([2**64 - 1, 5], pa.uint64(), ["18446744073709551615", "5"]),
        ([Decimal(10**25), Decimal(5)], pa.decimal128(30, 0), ["10000000000000000000000000", "5"]),
    ],
)
def test_texts_and_numbers_that_are_too_large(values: list, kind: pa.DataType, expected: list[str]) -> None:
    assert texts(read(values, kind)) == expected


@pytest.mark.parametrize(
    ("codes", "dictionary", "expected"),
    [
        ([1, 1, 3], ["not there", "a", "nor this", "b"], ["a", "a", "b"]),
        ([0, 1, 2], ["a", "b", "a"], ["a", "b", "a"]),
        ([0, 1], ["", "a"], None),
        ([0, 1], [None, "a"], None),
        ([0, None], ["a"], None),
    ],
)
def test_dictionaries_as_files_hold_them(codes: list, dictionary: list, expected: list[str] | None) -> None:
    """Parts of a dictionary that do not occur are not known ids."""
    column = pa.DictionaryArray.from_arrays(pa.array(codes, pa.int32()), pa.array(dictionary))
    pieces = pa.chunked_array([column, column.slice(1)])
    if expected is None:
        with pytest.raises(ValueError, match="rows have an empty user id"):
            ids.convert(pieces, pa.string(), "who", "user", place)
        return
    found = ids.convert(pieces, pa.string(), "who", "user", place)
    assert texts(found) == expected + expected[1:]
    assert found.names is not None and set(found.names.texts.to_pylist()) == set(expected)


def test_uuids_are_their_usual_text() -> None:
    made = [uuid.UUID(int=5), uuid.UUID("123e4567-e89b-12d3-a456-426614174000"), uuid.UUID(int=5)]
    storage = pa.array([None, *(u.bytes for u in made)], pa.binary(16)).slice(1)
    assert texts(read(pa.ExtensionArray.from_storage(pa.uuid(), storage))) == [str(u) for u in made]
    with pytest.raises(ValueError, match="row 2: 1 rows have an empty user id"):
        read(pa.ExtensionArray.from_storage(pa.uuid(), pa.array([made[0].bytes, None], pa.binary(16))))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["12", "-7", "0", "", "9223372036854775807", " 5 "], pa.int64()),
        (["12", "007"], pa.string()),
        (["+7"], pa.string()),
        (["-0"], pa.string()),
        (["1.0"], pa.string()),
        (["0x1F"], pa.string()),
        (["9223372036854775808"], pa.string()),
        (["12345678901234567890"], pa.string()),
        (["12", "a@x.org"], pa.string()),
        (["", ""], pa.string()),
        ([], pa.string()),
    ],
)
def test_numbers_among_text(values: list[str], expected: pa.DataType) -> None:
    """Where every column is text (CSV) only canonical whole numbers become numbers."""
    assert ids.read_type(pa.chunked_array([pa.array(values, pa.string())]), "who", typed=False) == expected


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([1, None, None], pa.int64(), "row 2: 2 rows have an empty user id, every row needs one"),
        (["a", ""], pa.string(), "row 2: 1 rows have an empty user id"),
        (["a", None, ""], pa.string(), "row 2: 1 rows have an empty user id"),
        ([None], pa.null(), "row 1: 1 rows have an empty user id"),
        ([1.0, float("nan")], pa.float64(), "row 2: 1 rows have an empty user id"),
        (
            [1.0, 2.5],
            pa.float64(),
            "row 2: user id 2.5 in column 'who' is not a whole number up to 9,007,199,254,740,992",
        ),
        ([2.0**60], pa.float64(), "row 1: user id 1.152921504606847e+18 in column 'who' is not a whole number up to"),
        ([float("inf")], pa.float32(), "row 1: user id inf in column 'who' is not a whole number up to 16,777,216"),
        ([True], pa.bool_(), "column 'who' is bool, expected texts or whole numbers as ids"),
        ([b"ab"], pa.binary(), "column 'who' is binary, expected"),
        ([b"0123456789abcdef"], pa.binary(16), "column 'who' is fixed_size_binary[16], expected"),
        ([[1]], pa.list_(pa.int64()), "column 'who' is list<item: int64>, expected"),
        ([5], pa.timestamp("s"), "column 'who' is timestamp[s], expected"),
    ],
)
def test_what_are_no_ids(values: list, kind: pa.DataType, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        read(values, kind)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        (
            ["5", "x"],
            pa.string(),
            "row 2: user id 'x' in column 'who' is not a whole number of 64 bits, as those of the",
        ),
        (["5", "007"], pa.string(), "row 2: user id '007' in column 'who' is not a whole number"),
        (["5", " "], pa.string(), "row 2: 1 rows have an empty user id"),
        ([5, 2**63], pa.uint64(), "row 2: user id '9223372036854775808' in column 'who' is not a whole number"),
        ([Decimal("5"), Decimal("5.5")], pa.decimal128(5, 1), "row 2: user id '5.5' in column 'who' is not a whole"),
    ],
)
def test_a_block_of_another_type(values: list, kind: pa.DataType, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        ids.convert(pa.chunked_array([pa.array(values, kind)]), pa.int64(), "who", "user", place)
    assert str(refused.value).startswith(message)


def test_numbers_in_a_column_of_texts() -> None:
    found = ids.convert(pa.chunked_array([pa.array([5, 7])]), pa.string(), "who", "user", place)
    assert texts(found) == ["5", "7"]
    with pytest.raises(ValueError, match="row 1: column 'who' is double here, and text in the rows before"):
        ids.convert(pa.chunked_array([pa.array([5.5])]), pa.string(), "who", "user", place)


@given(st.lists(INT64, min_size=1))
def test_any_number_is_kept_from_any_form(values: list[int]) -> None:
    assert read(values, pa.int64()).keys.tolist() == values
    assert read([str(v) for v in values], typed=False).keys.tolist() == values


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_any_number_without_sign_is_kept(values: list[int]) -> None:
    found = read(values, pa.uint64())
    assert (found.keys.tolist() if found.names is None else [int(t) for t in texts(found)]) == values


@given(st.lists(TEXT, min_size=1))
def test_any_text_comes_back_in_order(values: list[str]) -> None:
    """Equal texts have equal keys, different ones different keys, whatever the chunks."""
    found = read(values)
    assert texts(found) == values
    assert len(set(found.keys.tolist())) == len(set(values))
    pieces = pa.chunked_array([pa.array(values[:1]), pa.array(values[1:], pa.string())])
    assert ids.convert(pieces, pa.string(), "who", "user", place).keys.tolist() == found.keys.tolist()
    assert [ids.hashed(pa.array([v]))[0] for v in values] == found.keys.tolist()


def test_the_key_of_a_text_never_changes() -> None:
    """Blocks on disk and other ranks rely on it."""
    assert ids.hashed(pa.array(["ann@example.org", "SKU-1", "ü"])).tolist() == [
        -4089474804927475609,
        -7132839618723748297,
        6689755093696353227,
    ]
