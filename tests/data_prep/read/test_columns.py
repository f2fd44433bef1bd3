"""Which column is taken for what: by name, however it is written, by content, and by flag."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from data_prep.read import known_names
from data_prep.read.asked import Asked
from data_prep.read.columns import choose, described, widened
from data_prep.read.schema import Schema

VALUES = {"user": "1", "item": "2", "value": "4.5", "time": "1600000000"}


def table(header: str, *rows: str) -> pa.Table:
    """Text columns of comma-separated lines, or a row of ones."""
    names = header.split(",")
    lines = [row.split(",") for row in rows] or [["1"] * len(names)]
    return pa.Table.from_arrays([pa.array(column) for column in zip(*lines, strict=True)], names=names)


def chosen(header: str, *rows: str, **asked: Any) -> Schema:
    sample = table(header, *rows)
    return choose(sample.column_names, sample, Asked(**asked), "r.csv")


def roles(schema: Schema) -> tuple[str | None, ...]:
    return schema.user, schema.item, schema.value, schema.time


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("userId", "user id"),
        ("USER_ID", "user id"),
        ("User Id", "user id"),
        ("user-id", "user id"),
        ("UserID", "user id"),
        ("userid", "userid"),
        ("purchasedAt", "purchased at"),
        ("unixReviewTime", "unix review time"),
        ("i2", "i 2"),
    ],
)
def test_words_of_a_name(name: str, words: str) -> None:
    assert " ".join(known_names.words(name)) == words


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("userId,movieId,rating,timestamp", ("userId", "movieId", "rating", "timestamp")),
        ("UserID,MovieID,Rating,Timestamp", ("UserID", "MovieID", "Rating", "Timestamp")),
        ("user,item", ("user", "item", None, None)),
        ("uid,song,plays", ("uid", "song", "plays", None)),
        ("customer_email,sku,purchased_at", ("customer_email", "sku", None, "purchased_at")),
        ("Customer Email,SKU,Purchased At", ("Customer Email", "SKU", None, "Purchased At")),
        ("customer,article,stars,when,shop", ("customer", "article", "stars", None)),
        ("session_id,user_id,item_id,category_id,timestamp", ("user_id", "item_id", None, "timestamp")),
        ("session_id,item_id,clicked,event_time", ("session_id", "item_id", "clicked", "event_time")),
        ("timestamp,visitorid,event,itemid,transactionid", ("visitorid", "itemid", None, "timestamp")),
        ("overall,reviewTime,reviewerID,asin,unixReviewTime", ("reviewerID", "asin", "overall", "unixReviewTime")),
        ("review_id,user_id,business_id,stars,useful,date", ("user_id", "business_id", "stars", "date")),
        ("InvoiceNo,StockCode,Quantity,InvoiceDate,CustomerID", ("CustomerID", "StockCode", "Quantity", "InvoiceDate")),
        ("User-ID,ISBN,Book-Rating", ("User-ID", "ISBN", "Book-Rating", None)),
        ("t_dat,customer_id,article_id,price", ("customer_id", "article_id", None, "t_dat")),
        ("user_id,product_id,avg_rating,rating_count", ("user_id", "product_id", None, None)),
        ("user_id,item_id,created_at,updated_at", ("user_id", "item_id", None, "created_at")),
        ("user_id,item_id,rating,score_time,listens", ("user_id", "item_id", "rating", "score_time")),
        ("user_id,item_id,quantity,weight", ("user_id", "item_id", "quantity", None)),
    ],
)  # fmt: skip
def test_usual_names(header: str, expected: tuple) -> None:
    row = ",".join("1600000000" if n in (expected[3], "reviewTime") else "3" for n in header.split(","))
    assert roles(chosen(header, row)) == expected


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "user_id,customer_id,item",
            "'user_id', 'customer_id' could be that of users; name the right one with --user-c",
        ),
        (
            "user_id,asin,parent_asin",
            "'asin', 'parent_asin' could be that of items; name the right one with --item-col",
        ),
        (
            "user_id,item_id,rating,stars",
            "'rating', 'stars' could be that of ratings; name the right one with --rating-",
        ),
        ("user_id,item_id,viewed_at,bought_at", "'viewed_at', 'bought_at' could be that of times; name the right one"),
    ],
)
def test_two_columns_that_are_equally_good(header: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        chosen(header)
    assert str(refused.value).startswith("r.csv: each of the columns ")
    assert message in str(refused.value)


def test_a_flag_decides() -> None:
    found = chosen(
        "user_id,customer_id,asin,parent_asin,rating", user="customer_id", item="parent_asin", rating="rating"
    )
    assert roles(found) == ("customer_id", "parent_asin", "rating", None)
    assert roles(chosen("user_id,item_id,rating,time", rating=None, time=None)) == ("user_id", "item_id", None, None)
    assert roles(chosen("item_id,who", user="item_id", item="who")) == ("item_id", "who", None, None)


@pytest.mark.parametrize(
    ("header", "asked", "message"),
    [
        (
            "a,b",
            {},
            "r.csv: no column 'userId', 'movieId' among 'a', 'b'; name the right ones with --user-column, --item-",
        ),
        ("user,b", {}, "r.csv: no column 'movieId' among 'user', 'b'; name the right one with --item-column"),
        (
            "user,item",
            {"user": "who"},
            "r.csv: no column 'who' among 'user', 'item'; name the right one with --user-colu",
        ),
        (
            "user,item",
            {"rating": "r", "time": "t"},
            "r.csv: no column 'r', 't' among 'user', 'item'; name the right ones",
        ),
        (
            "user,b",
            {"time": "t"},
            "r.csv: no column 'movieId', 't' among 'user', 'b'; name the right ones with --item-col",
        ),
        ("user,item,user", {}, "r.csv: column 'user' is there twice, every column needs its own name"),
        (
            "user,item",
            {"user": "item"},
            "r.csv: no column 'movieId' among 'user', 'item'; name the right one with --item",
        ),
        (
            "user,item",
            {"user": "user", "item": "user"},
            "--user-column and --item-column both name 'user', expected two",
        ),
        (
            "user,item",
            {"positive_events": ("buy",)},
            "r.csv: no column 'event' among 'user', 'item'; name the right one ",
        ),
        (
            "user,item,event",
            {"event": "event"},
            "--event-column needs --event-weights view=1,buy=5 or --positive-events",
        ),
        (
            "user,item,rating",
            {"rating": "rating", "positive_events": ("b",)},
            "--rating-column does not go with events",
        ),
    ],
)
def test_columns_that_are_missing(header: str, asked: dict, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        chosen(header, **asked)
    assert str(refused.value).startswith(message)


def test_a_hint_stands_before_the_flags_and_long_lists_are_cut() -> None:
    names = [f"column_number_{k}" for k in range(200)]
    with pytest.raises(ValueError) as refused:
        choose(names, table(",".join(names)), Asked(), "r.csv", hint="check the delimiter (',') or ")
    message = str(refused.value)
    assert "'column_number_0', 'column_number_1', " in message
    assert "' and others (200 columns); check the delimiter (',') or name the right ones with --user-column" in message


@pytest.mark.parametrize(
    ("header", "rows", "kind", "types"),
    [
        ("user,item,rating,time", ["1,2,4.5,1600000000"], "rating", ["int64", "int64", "float", "int64"]),
        ("user,item,rating,time", ["a@x,007,4,2020-01-01"], "rating", ["string", "string", "float", "date32[day]"]),
        ("user,item,clicked", ["1,2,true", "1,3,false"], "boolean", ["int64", "int64", "bool"]),
        ("user,item,plays,at_time", ["1,2,7,1.5e9"], "count", ["int64", "int64", "float", "double"]),
        ("user,item,time", ["1,2,2020-01-01T10:00:00Z"], "none", ["int64", "int64", "timestamp[us, tz=UTC]"]),
    ],
)
def test_types_and_kinds(header: str, rows: list[str], kind: str, types: list[str]) -> None:
    found = chosen(header, *rows)
    assert found.kind == kind
    assert [str(found.types[name]) for name in header.split(",")] == types


def test_typed_sources_keep_texts() -> None:
    sample = pa.table({"user": ["1", "2"], "item": [1, 2]})
    assert choose(["user", "item"], sample, Asked(), "t").types["user"] == pa.string()
    texts = pa.table({"user": ["1", "2"], "item": ["1", "2"]})
    assert choose(["user", "item"], texts, Asked(), "t").types["user"] == pa.int64()
    assert choose(["user", "item"], texts, Asked(), "t", typed=True).types["user"] == pa.string()


@pytest.mark.parametrize(
    ("header", "row", "asked", "message"),
    [
        (
            "user,item,rating",
            "1,2,good",
            {},
            "r.csv: column 'rating' holds 'good', expected numbers, or true and false; name",
        ),
        (
            "user,item,when",
            "1,2,soon",
            {"time": "when"},
            "r.csv: column 'when' holds 'soon', expected seconds or millisec",
        ),
    ],
)
def test_values_that_cannot_be_used(header: str, row: str, asked: dict, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        chosen(header, row, **asked)
    assert str(refused.value).startswith(message)


def test_a_guessed_column_of_times_that_holds_none_is_noted() -> None:
    found = chosen("user,item,time", "1,2,morning")
    assert found.time is None
    assert found.notes == (
        "column 'time' holds 'morning', expected seconds or milliseconds since 1970, or ISO 8601 as "
        "2020-01-31T23:59:59Z: it was not used; name another column with --time-column",
    )


# Events

EVENTS = ("user,item,event,rating", "1,2,view,3", "1,3,buy,3")


def test_events_are_used_only_if_asked_for() -> None:
    found = chosen(*EVENTS)
    assert (found.value, found.kind) == ("rating", "rating")
    assert found.notes == (
        "column 'event' was not used; choose among its events (view, buy) with --positive-events buy or "
        "--event-weights buy=1",
    )
    for asked in ({"positive_events": ("buy",)}, {"event_weights": {"buy": 5.0}}):
        found = chosen(*EVENTS, **asked)
        assert (found.value, found.kind, found.notes) == ("event", "event", ())


def test_an_event_that_the_first_rows_do_not_have_is_noted() -> None:
    assert chosen(*EVENTS, positive_events=("purchase", "buy")).notes == (
        "none of the first 2 rows has the event 'purchase'; those of column 'event' are 'view', 'buy'",
    )


# Wider types and what is shown


def test_wider_types() -> None:
    found = chosen("user,item,clicked", "1,2,true")
    assert widened(found, "user", ["a@x"]).types["user"] == pa.string()
    assert widened(found, "clicked", ["yes"]).types["clicked"] == pa.string()
    with pytest.raises(ValueError, match="^'perhaps' in column 'clicked' is not true or false$"):
        widened(found, "clicked", ["perhaps"])
    rated = chosen("user,item,rating", "1,2,4")
    with pytest.raises(ValueError, match="^'good' in column 'rating' is not a number that can be read$"):
        widened(rated, "rating", ["good"])


@pytest.mark.parametrize(
    ("header", "row", "asked", "lines"),
    [
        (
            "customer_email,sku,stars,purchased_at",
            "a@x,7,4,2020-01-01T00:00:00Z",
            {},
            [
                "users: column 'customer_email' (text; another: --user-column)",
                "items: column 'sku' (whole numbers; another: --item-column)",
                "ratings: column 'stars' (ratings; another: --rating-column)",
                "times: column 'purchased_at' (dates and times; another: --time-column)",
            ],
        ),
        (
            "user,item,action",
            "1,2,buy",
            {"event_weights": {"view": 1.0, "buy": 5.0}},
            [
                "users: column 'user' (whole numbers; another: --user-column)",
                "items: column 'item' (whole numbers; another: --item-column)",
                "events: column 'action' (kept: view=1, buy=5; another: --event-column)",
                "times: none (a column of them: --time-column)",
            ],
        ),
        (
            "user,item,time",
            "1,2,1600000000",
            {},
            [
                "users: column 'user' (whole numbers; another: --user-column)",
                "items: column 'item' (whole numbers; another: --item-column)",
                "ratings: none, every row is an interaction (a column of them: --rating-column)",
                "times: column 'time' (seconds since 1970; another: --time-column)",
            ],
        ),
    ],
)
def test_what_is_shown(header: str, row: str, asked: dict, lines: list[str]) -> None:
    assert described(chosen(header, row, **asked), Asked(**asked)) == lines
