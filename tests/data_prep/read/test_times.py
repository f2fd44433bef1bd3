"""Times in every form: numbers of each unit, dates, ISO 8601 with and without a zone, typed columns."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.read import moments, times
from data_prep.read.columns import widened
from data_prep.read.schema import Schema

EPOCH = datetime(1970, 1, 1)


def schema(form: times.Form) -> Schema:
    return Schema(names=("u", "i", "at"), user="u", item="i", time="at", types={"at": form.type}, time_unit=form.unit)


def read(values: Any, kind: pa.DataType | None = None) -> tuple[list, str]:
    """The times of a column, and their unit."""
    column = pa.chunked_array([pa.array(values, kind)])
    form = times.form(column, "at")
    return times.convert(column, schema(form), lambda row: f"row {row + 1}").tolist(), form.unit


@pytest.mark.parametrize(
    ("texts", "expected", "unit"),
    [
        (["1600000000", "1600000001"], [1600000000, 1600000001], "s"),
        (["1600000000123"], [1600000000123], "ms"),
        (["1600000000123456"], [1600000000123456], "us"),
        (["1600000000123456789"], [1600000000123456789], "ns"),
        (["1600000000.0", "1600000001.5"], [1600000000.0, 1600000001.5], "s"),
        (["1.6e9"], [1.6e9], "s"),
        (["-5", "1600000000", "1600000000"], [-5, 1600000000, 1600000000], "s"),
        (["7", "8"], [7, 8], "number"),
        (["1970-01-03", "1969-12-31"], [2, -1], "D"),
        (["1970/01/03"], [2], "D"),
        (["19700103", "20200131"], [2, 18292], "D"),
        (["1970-01-02T00:00:01Z"], [86_401_000_000], "us"),
        (["1970-01-02 00:00:01"], [86_401_000_000], "us"),
        (["1970-01-01T00:00:00.25Z"], [250_000], "us"),
        (["1970-01-01T00:00:00,25Z"], [250_000], "us"),
        (["1970-01-01T00:00:00.123456789Z"], [123_456_789], "ns"),
        (["1970-01-01T02:00+02:00"], [0], "us"),
        (["1970-01-01T02:00:00 +0200", "1970-01-01 00:00:00 UTC"], [0, 0], "us"),
        (["1970-01-01 02:00:00+02", "1970-01-01T00:00:00", "1970-01-02"], [0, 0, 86_400_000_000], "us"),
        (["19700101T000001Z"], [1_000_000], "us"),
        (["1970-01-01t00:00:01z"], [1_000_000], "us"),
    ],
)
def test_times_of_text(texts: list[str], expected: list, unit: str) -> None:
    assert read(texts) == (expected, unit)


@pytest.mark.parametrize(
    ("values", "kind", "expected", "unit"),
    [
        ([1600000000], pa.int32(), [1600000000], "s"),
        ([1600000000000], pa.uint64(), [1600000000000], "ms"),
        ([1.6e9], pa.float64(), [1.6e9], "s"),
        ([20200131], pa.int64(), [18292], "D"),
        ([EPOCH + timedelta(seconds=2)], pa.timestamp("s"), [2], "s"),
        ([EPOCH + timedelta(seconds=2)], pa.timestamp("ms"), [2000], "ms"),
        ([EPOCH + timedelta(seconds=2)], pa.timestamp("us", "Europe/Berlin"), [2_000_000], "us"),
        ([EPOCH + timedelta(seconds=2)], pa.timestamp("ns", "UTC"), [2_000_000_000], "ns"),
        ([EPOCH + timedelta(days=3)], pa.date32(), [3], "D"),
        ([EPOCH + timedelta(days=3)], pa.date64(), [3], "D"),
        (["1970-01-01T00:00:01Z"], pa.large_string(), [1_000_000], "us"),
        (["1970-01-02"], pa.dictionary(pa.int8(), pa.string()), [1], "D"),
    ],
)
def test_times_of_typed_columns(values: list, kind: pa.DataType, expected: list, unit: str) -> None:
    assert read(values, kind) == (expected, unit)


@pytest.mark.parametrize(
    ("texts", "note"),
    [
        (["2020-01-01T00:00:00Z"], ()),
        (["2020-01-01"], ()),
        (["2020-01-01 10:00"], ("column 'at': times without a zone were taken as UTC",)),
        (["2020-01-01T00:00:00Z", "2020-01-01T00:00:00"], ("column 'at': times without a zone were taken as UTC",)),
        (["5"], ("column 'at': numbers as 5 give the order, and are no times since 1970",)),
        (["20200131"], ("column 'at': numbers as 20200131 were taken as dates",)),
    ],
)
def test_notes_on_times(texts: list[str], note: tuple[str, ...]) -> None:
    assert times.form(pa.chunked_array([texts]), "at").notes == note


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["morning", "evening"], "column 'at' holds 'morning', expected seconds or milliseconds since 1970, or ISO"),
        (["12/31/2019 8:36:57 AM"], "column 'at' holds '12/31/2019 8:36:57 AM', expected"),
        (["", ""], "column 'at' holds no times"),
        ([True], "column 'at' is bool, expected"),
        ([[1]], "column 'at' is list<item: int64>, expected"),
    ],
)
def test_what_are_no_times(values: list, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        times.form(pa.chunked_array([pa.array(values)]), "at")
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("first", "then", "message"),
    [
        (
            ["2020-01-01T00:00:00Z"],
            ["2020-01-01T00:00:00Z", "2020-02-30T00:00:00Z"],
            "row 2: '2020-02-30T00:00:00Z' in",
        ),
        (["2020-01-01T00:00:00Z"], ["yesterday"], "row 1: 'yesterday' in column 'at' is no time, expected seconds"),
        (["2020-01-01T00:00:00Z"], ["2020-01-01T00:00:00Z", None], "row 2: 1 rows have an empty time, every row"),
        (["1600000000"], ["1600000000", "x"], "row 2: 'x' in column 'at' is not a whole number, as those before"),
        (["1.6e9"], ["1.6e9", "nan"], "row 2: time nan, expected a number"),
        (["2020-01-01"], ["2020-01-01", "soon"], "row 2: 'soon' in column 'at' is no time"),
    ],
)
def test_a_block_with_another_time(first: list[str], then: list, message: str) -> None:
    form = times.form(pa.chunked_array([first]), "at")
    with pytest.raises(ValueError) as refused:
        times.convert(pa.chunked_array([pa.array(then, pa.string())]), schema(form), lambda row: f"row {row + 1}")
    assert str(refused.value).startswith(message)


def test_a_wider_type() -> None:
    whole = schema(times.Form(pa.int64(), "s"))
    assert widened(whole, "at", ["1600000000.5"]).types["at"] == pa.float64()
    zoned = schema(times.Form(pa.timestamp("us", "UTC"), "us"))
    mixed = widened(zoned, "at", ["2020-01-01T00:00:00"])
    assert mixed.types["at"] == pa.string()
    assert mixed.notes == ("column 'at': times without a zone were taken as UTC",)
    days = widened(schema(times.Form(pa.date32(), "D")), "at", ["2020-01-01T10:00:00Z"])
    assert (days.types["at"], days.time_unit, days.notes) == (pa.string(), "us", ())
    with pytest.raises(ValueError, match="'soon' in column 'at' is no time, as those before"):
        widened(whole, "at", ["soon"])
    with pytest.raises(ValueError, match="'2020-01-01' in column 'at' is no time, as those before"):
        widened(whole, "at", ["2020-01-01"])


def _offset(moment: datetime, minutes: int) -> str:
    shifted = (moment + timedelta(minutes=minutes)).replace(tzinfo=timezone(timedelta(minutes=minutes)))
    return shifted.isoformat()


@given(
    micro=st.lists(st.integers(-2_000_000_000_000_000, 7_000_000_000_000_000), min_size=1, max_size=5),
    minutes=st.integers(-14 * 60, 14 * 60),
)
def test_every_moment_comes_back_from_every_form_of_text(micro: list[int], minutes: int) -> None:
    made = [EPOCH + timedelta(microseconds=m) for m in micro]
    for texts in (
        [m.isoformat() for m in made],
        [m.isoformat(" ") + "Z" for m in made],
        [_offset(m, minutes) for m in made],
        [m.strftime("%Y%m%dT%H%M%S.%f") + "+0000" for m in made],
        [m.strftime("%Y/%m/%d %H:%M:%S.%f") + " UTC" for m in made],
        [m.isoformat() if k % 2 else _offset(m, minutes) for k, m in enumerate(made)],
    ):
        assert read(texts) == (micro, "us")


@given(
    unit=st.sampled_from(["s", "ms", "us", "ns"]),
    seconds=st.lists(st.integers(10**8, 9 * 10**9), min_size=1, max_size=5),
)
def test_every_number_comes_back_with_its_unit(unit: str, seconds: list[int]) -> None:
    numbers = [s * times.UNITS[unit] for s in seconds]
    assert read([str(n) for n in numbers]) == (numbers, unit)
    assert read(numbers) == (numbers, unit)
    assert read([f"{n}.0" for n in numbers if n < 2**53] or ["1e9"])[0] == ([n for n in numbers if n < 2**53] or [1e9])


@given(days=st.lists(st.integers(-20_000, 40_000), min_size=1, max_size=5))
def test_every_day_comes_back(days: list[int]) -> None:
    made = [(EPOCH + timedelta(days=d)).date() for d in days]
    assert read([d.isoformat() for d in made]) == (days, "D")
    assert read([d.strftime("%Y%m%d") for d in made]) == (days, "D")
    assert read(made) == (days, "D")


# Moments that users name


@pytest.mark.parametrize(
    ("text", "unit", "expected"),
    [
        ("1970-01-02", "s", 86_400),
        ("1970-01-02", "ms", 86_400_000),
        ("1970-01-02", "ns", 86_400_000_000_000),
        ("1970-01-02", "D", 1),
        ("1970-01-02T12:00:00Z", "D", 1.5),
        ("1970-01-01T02:00:00+02:00", "us", 0),
        ("1970-01-01 00:00:00.5", "s", 0.5),
        ("2020", "s", 1577836800),
        ("2020-02", "D", 18293),
        ("20200131", "D", 18292),
        ("1600000000", "s", 1600000000),
        ("1600000000", "ms", 1600000000000),
        ("1600000000000", "us", 1600000000000000),
        ("864000000", "D", 10000),
        ("12", "number", 12),
        ("2020", "number", 2020),
        ("12.5", "number", 12.5),
        ("-3", "s", -3),
    ],
)
def test_a_moment(text: str, unit: str, expected: float) -> None:
    found = moments.moment(text, schema(times.Form(pa.int64(), unit)))
    assert found == expected and type(found) is type(expected)


@pytest.mark.parametrize(
    ("text", "unit", "message"),
    [
        (
            "soon",
            "s",
            "'soon' is no moment, expected ISO 8601 as 2020-01-31T23:59:59Z, or a number as those of column 'at'",
        ),
        ("2020-02-30", "s", "'2020-02-30' is no moment"),
        ("2020-01-01", "number", "'2020-01-01' is a date, and the times of column 'at' are numbers that are no times"),
    ],
)
def test_no_moment(text: str, unit: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        moments.moment(text, schema(times.Form(pa.int64(), unit)))
    assert str(refused.value).startswith(message)


def test_a_moment_without_times() -> None:
    with pytest.raises(
        ValueError, match="'2020' is a moment, and there is no column of times; name it with --time-col"
    ):
        moments.moment("2020", Schema(names=("u", "i"), user="u", item="i", types={}))


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (1577836800, "s", "2020-01-01T00:00:00Z"),
        (1577836800500, "ms", "2020-01-01T00:00:00.500000Z"),
        (18292, "D", "2020-01-31"),
        (18292.5, "D", "2020-01-31T12:00:00Z"),
        (7, "number", "7"),
        (10**30, "s", f"{10**30} s"),
    ],
)
def test_a_moment_is_shown(value: float, unit: str, text: str) -> None:
    assert moments.written(value, unit) == text


def test_suspicious_times_are_counted() -> None:
    now = 1_600_000_000.0
    blocks = [np.array([-1, 0, 1_600_000_000, 1_600_086_400]), np.array([1_600_086_401, -5, -6]), np.array([5])]
    counts = [moments.outside(block, "s", now) for block in blocks]
    assert counts == [(1, 0), (2, 1), (0, 0)]
    assert moments.outside(np.array([18519.0, 18520.5]), "D", now) == (0, 1)
    assert moments.outside(np.array([-1, 10**18]), "number", now) == (0, 0)
    assert moments.warnings(counts, schema(times.Form(pa.int64(), "s"))) == [
        "3 rows have a time before 1970 (column 'at'; they were used as they are)",
        "1 rows have a time in the future (column 'at'; they were used as they are)",
    ]
    assert moments.warnings([(0, 0)], schema(times.Form(pa.int64(), "s"))) == []


def test_times_of_two_units_in_one_column() -> None:
    seconds = [1_600_000_000 + k for k in range(6)]
    column = pa.chunked_array([[*(1000 * s for s in seconds), *seconds[:4]]])
    assert times.form(column, "t").notes == (
        "column 't': 4 of the first 10 times are as large as seconds, most as milliseconds; they were used as they "
        "are, write all in one unit",
    )


@pytest.mark.parametrize("kind", [pa.int64(), pa.string()])
def test_digits_of_dates_and_times(kind: pa.DataType) -> None:
    column = pa.chunked_array([["20200131235959", "20200201000000"]]).cast(kind)
    form = times.form(column, "t")
    assert (form.type, form.unit) == (pa.string(), "us")
    found = times.parse(column.cast(pa.string()), "us", str, "t")
    assert found.tolist() == [1580515199_000000, 1580515200_000000]
