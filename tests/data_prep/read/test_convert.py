"""Blocks of Arrow columns as checked rows, and tables in memory as sources."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from data_prep.read import convert
from data_prep.read.asked import Asked
from data_prep.read.columns import choose
from data_prep.read.convert import TableSource
from data_prep.read.rows import Rows

EVENTS = pa.table(
    {
        "user": ["ann", None, "bob", "bob"],
        "item": [1, None, 2, None],
        "event": ["view", "login", "buy", "buy"],
        "time": [1600000000, 1600000001, 1600000002, 1600000003],
    }
)


def rows(table: pa.Table, asked: Asked, with_times: bool = True) -> Rows:
    schema = choose(table.column_names, table, asked, "t", typed=True)
    return convert.rows(table, schema, lambda row: f"t, row {row + 1}", asked, with_times=with_times)


def test_rows_of_events_that_were_not_asked_for_are_not_checked() -> None:
    asked = Asked(event_weights={"view": 1.0, "buy": 5.0})
    found = rows(EVENTS.slice(0, 3), asked)
    assert found.left_out == 1
    assert found.count == 2
    assert found.items.keys.tolist() == [1, 2]
    assert found.values is not None and found.values.tolist() == [1.0, 5.0]
    assert found.times is not None and found.times.tolist() == [1600000000, 1600000002]
    with pytest.raises(ValueError, match="t, row 4: 1 rows have an empty item id"):
        rows(EVENTS, asked)


def test_times_are_left_out_on_demand() -> None:
    assert rows(EVENTS.slice(0, 1), Asked(), with_times=False).times is None


@pytest.mark.parametrize(
    ("column", "values", "message"),
    [
        (
            "rating",
            [4.0, None, float("nan")],
            "t, row 2: 2 ratings are empty or NaN, the first for user b and item 8; every",
        ),
        (
            "rating",
            [4.0, 3.0, float("inf")],
            "t, row 3: 1 ratings are empty, NaN or infinite, the first for user a and it",
        ),
        ("clicked", [True, None, False], "t, row 2: 1 labels are empty or NaN, the first for user b and item 8"),
        ("plays", [1, 2, None], "t, row 3: 1 counts are empty or NaN, the first for user a and item 7"),
    ],
)
def test_values_that_are_missing(column: str, values: list, message: str) -> None:
    table = pa.table({"user": ["a", "b", "a"], "item": [7, 8, 7], column: values})
    with pytest.raises(ValueError) as refused:
        rows(table, Asked())
    assert str(refused.value).startswith(message)


# Tables in memory

FRAME = pd.DataFrame(
    {
        "email": ["a@x", "b@x", "a@x"],
        "sku": ["S-1", "S-1", "S-2"],
        "stars": [5, 3, 4],
        "bought_at": pd.to_datetime(["2020-01-01", "2020-01-02", "2020-01-03"]),
        "basket": [[1, "x"], {2}, None],
    }
)


def read(table: Any, **asked: Any) -> tuple[TableSource, Rows]:
    source = TableSource(table, Asked(**asked))
    (block,) = source.read(0, 1, lambda rows: rows)
    return source, block


def forms(frame: pd.DataFrame) -> list[Any]:
    simple = frame.drop(columns="basket")
    return [frame, pa.Table.from_pandas(simple), pl.from_pandas(simple), simple.astype({"email": "category"})]


@pytest.mark.parametrize("form", range(4))
def test_every_kind_of_table(form: int) -> None:
    source, block = read(forms(FRAME)[form])
    assert (source.schema.user, source.schema.item, source.schema.value) == ("email", "sku", "stars")
    assert block.users.names is not None and block.users.names.texts.to_pylist() == ["a@x", "b@x"]
    assert block.users.keys[0] == block.users.keys[2] != block.users.keys[1]
    assert block.values is not None and block.values.tolist() == [5.0, 3.0, 4.0]
    assert block.times is not None and len(set(np.diff(block.times).tolist())) == 1
    assert source.rows_estimate() == 3


def test_ranks_share_the_rows_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convert, "BLOCK_ROWS", 3)
    source = TableSource(pa.table({"user": range(11), "item": range(11)}), Asked())
    shares = [list(source.read(rank, 3, lambda rows: rows.users.keys.tolist())) for rank in range(3)]
    assert shares == [[[0, 1, 2]], [[3, 4, 5], [6]], [[7, 8, 9], [10]]]


def test_the_digest_is_that_of_the_values() -> None:
    frame, chunks = pa.table({"user": ["a", "", None], "item": [1, 2, 3]}), []
    for k in range(3):
        chunks.append(frame.slice(k, 1))  # noqa: PERF401
    one, cut = TableSource(frame, Asked()), TableSource(pa.concat_tables(chunks), Asked())
    assert one.digest() == cut.digest() == one.stamp()
    for other in ({"user": ["", "a", None]}, {"user": ["a", None, ""]}, {"item": [1, 2, 4]}):
        assert (
            TableSource(pa.table({"user": ["a", "", None], "item": [1, 2, 3]} | other), Asked()).digest()
            != one.digest()
        )


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("user", [uuid.UUID(int=1), uuid.UUID(int=2)], [str(uuid.UUID(int=1)), str(uuid.UUID(int=2))]),
        ("user", [Decimal(3), Decimal(4)], [3, 4]),
        ("user", np.array([3, 4], np.uint16), [3, 4]),
        ("user", pd.array([3, 4], "Int64"), [3, 4]),
        ("user", [np.int64(3), 4], [3, 4]),
        ("user", [3.0, 4.0], [3, 4]),
        ("rating", [3, 4.5], [3.0, 4.5]),
        ("rating", [Decimal("3"), Decimal("4.5")], [3.0, 4.5]),
        ("time", [date(1970, 1, 2), date(1970, 1, 3)], [1, 2]),
        ("time", [datetime(1970, 1, 1, 0, 0, 1), datetime(1970, 1, 1)], [1_000_000, 0]),
        ("time", [pd.Timestamp("1970-01-01T01:00+01:00"), pd.Timestamp("1970-01-01T01:00+01:00")], [0, 0]),
    ],
)
def test_columns_of_python_objects(column: str, values: Any, expected: list) -> None:
    frame = pd.DataFrame({"user": [1, 2], "item": [1, 2]})
    frame[column] = pd.Series(values, dtype=object if isinstance(values, list) else None)
    found = getattr(read(frame)[1], {"user": "users", "rating": "values", "time": "times"}[column])
    if column == "user":
        found = found.keys if found.names is None else np.array(found.names.texts.to_pylist())
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ([1, 2], "the table is a list, expected a pandas, pyarrow or polars one"),
        (pd.DataFrame({"user": [], "item": []}), "the table holds no rows"),
        (
            pd.DataFrame({"user": [1, "a"], "item": [1, 2]}),
            "the values of column 'user' are of several types: int and str;",
        ),
        (pd.DataFrame({"user": [1, 2], "item": [object(), object()]}), "the values of column 'item' cannot be read: "),
        (pd.DataFrame([[1, 2, 3]], columns=["user", "item", "user"]), "the table: column 'user' is there twice"),
        (
            pd.DataFrame({0: [1], 1: [2]}),
            "the table: no column 'userId', 'movieId' among '0', '1'; name the right ones",
        ),
    ],
)
def test_bad_tables(table: Any, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        TableSource(table, Asked())
    assert str(refused.value).startswith(message)


def test_a_missing_id_in_a_frame_names_its_row() -> None:
    source = TableSource(pd.DataFrame({"user": ["a", None], "item": [1, 2]}), Asked())
    with pytest.raises(ValueError, match="^the table, row 2: 1 rows have an empty user id, every row needs one$"):
        list(source.read(0, 1, lambda rows: rows))
