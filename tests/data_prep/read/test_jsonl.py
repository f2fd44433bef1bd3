"""JSON lines: the same rows on any number of ranks, types that the first rows do not show, errors with their lines."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from data_prep.read import cutting

from .reading import opened, read

Object = dict[str, Any]


def write(path: Path, objects: list[Object | str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((o if isinstance(o, str) else json.dumps(o)) + "\n" for o in objects))
    return path


REVIEWS: list[Object | str] = [
    {"reviewerID": f"A{k % 7}", "asin": f"B{k % 5}", "overall": float(k % 5 + 1), "helpful": [1, 2],
     "text": 'says "x",\n{y}', "unixReviewTime": 1_400_000_000 + k}
    for k in range(300)
]  # fmt: skip
ROWS = [(f"A{k % 7}", f"B{k % 5}", float(k % 5 + 1), 1_400_000_000 + k) for k in range(300)]


@pytest.mark.parametrize("ranks", [1, 2, 5])
@pytest.mark.parametrize("block", [100, 3000, 1 << 24])
def test_reviews(block: int, ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "BLOCK_BYTES", block)
    assert read(write(tmp_path / "r.json", REVIEWS), ranks=ranks) == ROWS


def test_compressed_and_partitioned(tmp_path: Path) -> None:
    plain = write(tmp_path / "p.json", REVIEWS)
    (tmp_path / "r.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    assert read(tmp_path / "r.jsonl.gz") == ROWS
    write(tmp_path / "t" / "user=x" / "a.json", [{"item": 1}])
    write(tmp_path / "t" / "user=y" / "a.json", [{"item": 2}])
    assert read(tmp_path / "t") == [("x", 1), ("y", 2)]


def test_a_byte_order_mark_empty_lines_and_missing_fields(tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    path.write_text('\ufeff{"user": 1, "item": 2, "rating": 3}\r\n\r\n{"item": 4, "user": 3, "rating": 4.5, "x": []}\n')
    assert read(path) == [(1, 2, 3.0), (3, 4, 4.5)]
    with pytest.raises(ValueError, match=r"r\.json, line 2: 1 rows have an empty item id"):
        read(write(path, [{"user": 1, "item": 2}, {"user": 1}]))


def test_times_as_texts(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.json",
        [{"user": "a", "item": "b", "time": time} for time in ("2020-01-01T00:00:00Z", "2020-01-01T00:00:01Z")],
    )
    source = opened(path)
    assert source.schema.time_unit in ("s", "ms", "us", "ns")
    unit = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[source.schema.time_unit]
    assert [row[2] for row in read(path)] == [1577836800 * unit, 1577836801 * unit]


@pytest.mark.parametrize(
    ("last", "message"),
    [
        ({"user": "x", "item": 2, "rating": 1}, "line 50001: column 'user' is 'x', a whole number in the rows before"),
        ({"user": 1, "item": 2, "rating": "5"}, "line 50001: column 'rating' is '5', a number in the rows before"),
        ({"user": 1.5, "item": 2, "rating": 1}, "line 50001: column 'user' is 1.5, a whole number in the rows before"),
        ({"user": 2**64, "item": 2, "rating": 1}, "too large for 64 bits; write such ids as texts"),
        ('{"user": 1, "item": ', "line 50001: no JSON .*; expected an object a line"),
        ("[1, 2]", "line 50001: a JSON list, expected an object"),
    ],
)
def test_a_broken_line_behind_the_first_rows(last: Object | str, message: str, tmp_path: Path) -> None:
    objects: list[Object | str] = [{"user": 1, "item": 2, "rating": 4.5}] * 50_000
    with pytest.raises(ValueError, match=message) as error:
        read(write(tmp_path / "r.json", [*objects, last]), ranks=2)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            '{"user": 1, "item": 2}\n{"user": "x", "item": 2}\n',
            "line 2: column 'user' is 'x', and a number before",
        ),
        (
            '{"user": "x", "item": 2}\n{"user": 1, "item": 2}\n',
            "line 2: column 'user' is 1, and a text before",
        ),
        ('{"user": 1, "item": 2}\n{"user": 1 "item"}\n', "line 2: no JSON"),
        ("{}\n", r"r\.json: no column"),
        ('{"user": {"id": 1}, "item": 2}\n', r"column 'user' is struct"),
    ],
)
def test_a_broken_file(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "r.json")


def test_numbers_as_other_programs_write_them(tmp_path: Path) -> None:
    """pandas writes whole numbers with a point where a value of the column is missing, and others write texts."""
    lines: list[Object | str] = ['{"user": 7.0, "item": 8, "rating": "4.5", "time": "1400000000"}',
                                 '{"user": 9, "item": 8, "rating": "3", "time": "1400000001"}']  # fmt: skip
    path = write(tmp_path / "r.json", lines)
    assert read(path) == [(7, 8, 4.5, 1400000000), (9, 8, 3.0, 1400000001)]
    with pytest.raises(ValueError, match=r"r\.json, line 1: user id 7\.5 in column 'user' is not a whole number up to"):
        read(write(tmp_path / "r.json", ['{"user": 7.5, "item": 8}']))


def test_several_types_only_matter_in_columns_that_are_used(tmp_path: Path) -> None:
    lines: list[Object | str] = [{"user": "a", "item": 1, "more": 5}, {"user": "b", "item": 2, "more": "six"},
                                 {"user": "c", "item": 3, "more": {"x": [1]}}]  # fmt: skip
    path = write(tmp_path / "r.json", lines)
    assert read(path) == [("a", 1), ("b", 2), ("c", 3)]
    told = r"r\.json, line 2: column 'more' is 'six', and a number before; every row needs the same type"
    with pytest.raises(ValueError, match=told):
        read(path, rating="more")
    with pytest.raises(ValueError, match=told):
        read(path, user="more")
