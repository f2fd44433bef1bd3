"""Delimited text that other programs write: long fields, the byte 0, delimiters of several bytes, decimal commas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from .reading import opened, read, rows_of

NAMES = "user,item,rating\n"


def write(folder: Path, content: str | bytes, name: str = "r.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def refused(folder: Path, content: str | bytes, message: str, **asked: Any) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        read(write(folder, content), **asked)


def test_a_field_that_is_longer_than_a_block_of_the_parser(tmp_path: Path) -> None:
    name = "x" * 3_000_000
    assert read(write(tmp_path, f"{NAMES}a,1,4\n{name},2,5\nb,3,1\n")) == [("a", 1, 4.0), (name, 2, 5.0), ("b", 3, 1.0)]
    refused(tmp_path, f"{NAMES}a,1,4\n{name}\nb,3,1\n", "r.csv, line 3: 1 columns instead of 3")


def test_the_byte_0_far_behind_the_first_rows(tmp_path: Path) -> None:
    rows = "".join(f"u{k},1,1\n" for k in range(2_000))
    refused(tmp_path, f"{NAMES}{rows}u\0,1,1\n", "r.csv, line 2002: holds the byte 0, which is no text")


@pytest.mark.parametrize("delimiter", ["§", "\u241f", "🙂"])
def test_a_delimiter_of_several_bytes(delimiter: str, tmp_path: Path) -> None:
    path = write(tmp_path, (NAMES + "a,1,4\nb,2,5\n").replace(",", delimiter))
    assert read(path, delimiter=delimiter) == [("a", 1, 4.0), ("b", 2, 5.0)]


def test_a_header_line_that_was_given_again(tmp_path: Path) -> None:
    told = "r.csv begins with the line 'user,item,rating', which names its columns; leave --header out"
    refused(tmp_path, NAMES + "a,b,4\n", told, header=("User", "item", "rating"))
    refused(
        tmp_path,
        NAMES + "1,2,4\n" * 3,
        "line 1: 'rating' in column 'stars' is not a number that can be read: 'user,item,rating'; if that line names "
        "the columns, leave --header out",
        header=("client", "product", "stars"),
        user="client",
        item="product",
    )


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        ("ä".encode("utf-16-le"), "utf-16", "without a byte order mark; say which of its two forms it has: --encoding"),
        (
            b"user",
            "utf-16",
            "r.csv is --encoding utf-16 without a byte order mark; leave --encoding out if it is UTF-8",
        ),
        (
            b"user",
            "UTF-32",
            "r.csv is --encoding UTF-32 without a byte order mark; leave --encoding out if it is UTF-8",
        ),
    ],
)
def test_wide_encodings_without_a_mark(content: bytes, encoding: str, message: str, tmp_path: Path) -> None:
    refused(
        tmp_path, NAMES.encode("utf-16-le") + content if b"u" not in content else content, message, encoding=encoding
    )


def test_what_a_spreadsheet_of_another_country_writes(tmp_path: Path) -> None:
    path = write(tmp_path, "\ufeffuser;item;rating;time\r\na;1;4,5;31.12.2020 23:59\r\nb;2;-3;1.2.2021 0:00\r\n")
    source = opened(path, time="time")
    assert source.schema.notes[0] == "column 'rating': numbers as 4,5 were read with a decimal comma"
    source = opened(write(tmp_path, "user;item;rating;time\na;1;4,5;31.12.2020 23:59:00\nb;2;-3;1.2.2021\n"))
    assert rows_of(source) == [("a", 1, 4.5, 1609459140000000), ("b", 2, -3.0, 1612137600000000)]


def test_a_decimal_comma_behind_the_first_rows(tmp_path: Path) -> None:
    many = "".join("a;1;4\n" for _ in range(30_000))
    source = opened(write(tmp_path, f"user;item;rating\n{many}b;2;2,5\nb;2;1,125\n"))
    assert rows_of(source)[-2:] == [("b", 2, 2.5), ("b", 2, 1.125)]
    assert source.schema.notes == ("column 'rating': numbers as 2,5 were read with a decimal comma",)
    told = "line 30002: '4.5' in column 'rating' is not a number with a decimal comma"
    refused(tmp_path, f"user;item;rating\n{many}b;2;4.5\nb;2;2,5\n", told)


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (["1,000", "2,000"], "column 'rating' holds '1,000', expected numbers, or true and false"),
        (["4,5", "4.5", "5 stars"], "column 'rating' holds '4,5', expected numbers"),
        (["yes", "no", "maybe"], "column 'rating' holds 'maybe', expected true or false, as in other rows"),
    ],
)
def test_numbers_that_could_be_others(found: list[str], message: str, tmp_path: Path) -> None:
    refused(tmp_path, "user;item;rating\n" + "".join(f"a;1;{value}\n" for value in found), message)


def test_a_point_among_decimal_commas(tmp_path: Path) -> None:
    rows = "".join(f"a;{k};4,5\n" for k in range(30_000))
    told = "line 30002: '1.5' in column 'rating' is not a number with a decimal comma, as in other rows"
    refused(tmp_path, f"user;item;rating\n{rows}b;2;1.5\n", told)


@pytest.mark.parametrize("blank", ["   ", "\u00a0", '"  "'])
def test_an_id_of_blanks_is_missing(blank: str, tmp_path: Path) -> None:
    refused(tmp_path, f"user,item\na,1\n{blank},2\n", "line 3: 1 rows have an empty user id, every row needs one")


def test_blanks_around_ids_belong_to_them(tmp_path: Path) -> None:
    assert read(write(tmp_path, "user,item\na,1\n a,2\na ,3\n")) == [("a", 1), (" a", 2), ("a ", 3)]
    assert read(write(tmp_path, "user,item\n 7,1\n7 ,2\n")) == [(7, 1), (7, 2)]


def test_a_zero_in_front_far_behind_the_first_rows(tmp_path: Path) -> None:
    rows = "".join(f"{k % 100},{k % 7}\n" for k in range(900_000))
    assert read(write(tmp_path, f"user,item\n{rows}007,3\n"))[-2:] == [("99", 899_999 % 7), ("007", 3)]
