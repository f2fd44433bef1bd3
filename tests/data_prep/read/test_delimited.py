"""Delimited text: delimiters, headers, quotes, encodings, types that turn out too narrow, shares of ranks, errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_prep.read import cutting, delimited, leading_zeros
from data_prep.read.cutting import Text
from data_prep.read.streams import entries

from .reading import opened, read, rows_of

HEADER = "userId,movieId,rating,timestamp\n"
GOOD = "1,10,4.5,1000000007\n2,20,3.0,1000000008\n"
ROWS = [(1, 10, 4.5, 1000000007), (2, 20, 3.0, 1000000008)]


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize(
    ("content", "asked"),
    [
        (HEADER + GOOD, {}),
        ((HEADER + GOOD).replace(",", "\t"), {}),
        ((HEADER + GOOD).replace(",", ";"), {}),
        ((HEADER + GOOD).replace(",", "|"), {}),
        ((HEADER + GOOD).replace(",", "::"), {}),
        ((HEADER + GOOD).replace(",", " "), {"delimiter": " "}),
        ((HEADER + GOOD).replace(",", "^"), {"delimiter": "^"}),
        ((HEADER + GOOD).replace(",", "~~~"), {"delimiter": "~~~"}),
        ((HEADER + GOOD).replace("\n", "\r\n"), {}),
        ("\ufeff" + HEADER + GOOD, {}),
        (("\ufeff" + HEADER + GOOD).encode("utf-16-le"), {}),
        (("\ufeff" + HEADER + GOOD).encode("utf-16-be"), {}),
        ((HEADER + GOOD).encode("utf-16-le"), {"encoding": "utf-16-le"}),
        ((HEADER + GOOD).encode("utf-32"), {"encoding": "utf-32"}),
        ((HEADER + GOOD)[:-1], {}),
        (HEADER + "\n" + GOOD + "\n\n", {}),
        ('"userId","movieId","rating","timestamp"\n"1","10","4.5","1000000007"\n"2","20","3.0","1000000008"\n', {}),
        (GOOD, {"header": ("userId", "movieId", "rating", "timestamp")}),
        (GOOD.replace(",", "::"), {"header": ("userId", "movieId", "rating", "timestamp")}),
        (GOOD.replace(",", "\t"), {"header": ("user", "item", "stars", "time")}),
        ('"title, year",userId,movieId,rating,timestamp\n"a, b",1,10,4.5,1000000007\nc,2,20,3.0,1000000008\n', {}),
        ('userId,note,movieId,rating,timestamp\n1,"a\nb, ""c""\n",10,4.5,1000000007\n2,,20,3.0,1000000008\n', {}),
        ('userId,"two\nlines",movieId,rating,timestamp\n1,x,10,4.5,1000000007\n2,y,20,3.0,1000000008\n', {}),
        ('userId,size,movieId,rating,timestamp\n1,5" disc,10,4.5,1000000007\n2,x,20,3.0,1000000008\n', {}),
    ],
    ids=lambda value: "" if isinstance(value, dict) else repr(value[:12]),
)
def test_the_same_rows_in_any_form(content: str | bytes, asked: dict[str, Any], tmp_path: Path) -> None:
    assert read(write(tmp_path / "r.csv", content), **asked) == ROWS


def test_latin1_needs_its_name(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "user,item\nJosé,Größe\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"r\.csv is not UTF-8: it holds the bytes b'\\xe9.*name its enc"):
        read(path)
    assert read(path, encoding="latin-1") == [("José", "Größe")]


def test_latin1_behind_the_first_rows_is_found_too(tmp_path: Path) -> None:
    content = b"user,item\n" + b"ann,1\n" * 300_000 + "José,1\n".encode("latin-1")
    with pytest.raises(ValueError, match=r"r\.csv, line 300002: .*UTF-8.*--encoding"):
        read(write(tmp_path / "r.csv", content))


@pytest.mark.parametrize("block", [7, 40, 1000])
@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
def test_line_ends_in_quotes_end_no_row(
    block: int, ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "BLOCK_BYTES", block)
    lines = [f'u{n},"a{n}\n""{n}""\n\n,",{n}\n' for n in range(60)]
    path = write(tmp_path / "r.csv", "user,item,rating\n" + "".join(lines))
    assert read(path, ranks=ranks) == [(f"u{n}", f'a{n}\n"{n}"\n\n,', float(n)) for n in range(60)]


@pytest.mark.parametrize("ranks", [1, 2, 3, 7])
@pytest.mark.parametrize("block", [1, 10, 1000])
def test_shares_hold_every_line_once(ranks: int, block: int, tmp_path: Path) -> None:
    for k in range(3):
        rows = "".join(f"{k},{n},{'x' * (n % 5)}\n" for n in range(9)) + ("8,8,cut" if k == 2 else "")
        write(tmp_path / f"{k}.csv", "user,item,c\n" + rows)
    _, found = entries([str(tmp_path)])
    texts = [Text(entry=entry, skip=12) for entry in found]
    joined = b"".join(
        b.content for r in range(ranks) for s in cutting.shares(texts, r, ranks) for b in cutting.blocks(s, block)
    )
    assert joined == b"".join((tmp_path / f"{k}.csv").read_bytes()[12:] for k in range(3))


def test_a_quoted_line_end_where_two_ranks_meet_is_no_silent_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first rows hold no quotes, so that no rank counts those before its range."""
    monkeypatch.setattr(delimited, "first_text", lambda entry, asked, amount=0: b"user,item\n1,2\n")
    path = write(tmp_path / "r.csv", "user,item\n" + "1,2\n" * 10 + '1,"' + "a\n" * 30 + '"\n' + "1,2\n" * 10)
    assert len(read(path)) == 21
    with pytest.raises(ValueError, match="a quoted field with a line break lies where two ranks meet"):
        read(path, ranks=2)


@pytest.mark.parametrize(
    ("odd", "expected"),
    [("x1", "x1"), ("007", "007"), ("+7", "+7"), ("1.0", "1.0"), ("9" * 20, "9" * 20), ("0x1f", "0x1f"),
     ('"007"', "007"), ("-07", "-07"), ("00", "00"), (str(2**63), str(2**63))],
)  # fmt: skip
@pytest.mark.parametrize("column", [0, 1])
def test_an_id_that_is_no_number_makes_the_column_text(odd: str, expected: str, column: int, tmp_path: Path) -> None:
    """It stands behind the first rows, from which types are chosen."""
    plain = "1,2,3.5\n" * 25_000
    row = [odd, "5"] if column == 0 else ["5", odd]
    path = write(tmp_path / "r.csv", "user,item,rating\n" + plain + ",".join(row) + ",0.5\n")
    source = opened(path)
    assert source.schema.types[("user", "item")[column]] == "int64"
    found = rows_of(source, ranks=2)
    first, last = [1, 2], [5, 5]
    first[column], last[column] = str(first[column]), expected  # type: ignore[call-overload]
    assert found[0] == (*first, 3.5)
    assert found[-1] == (*last, 0.5)
    assert len(found) == 25_001


def test_negative_and_large_ids_are_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", f"user,item\n-5,0\n{2**63 - 1},-{2**63}\n")
    assert read(path) == [(-5, 0), (2**63 - 1, -(2**63))]


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"1,20,0.5,100\n20,10,0,0\n", False), (b"1,07\n", True), (b"1,2\n01,2\n", True), (b"01,2\n", True),
     (b'"01",2\n', True), (b"1,0x1\n", True), (b"1,2000-01-02\n", False), (b"1,0a\n", False), (b"0", False)],
)  # fmt: skip
def test_leading_zeros_are_seen_in_bytes(content: bytes, expected: bool) -> None:
    assert leading_zeros.has_leading_zero(content, ",", False) == expected


@pytest.mark.parametrize("shift", range(4))
def test_leading_zeros_are_seen_where_two_parts_meet(shift: int) -> None:
    start = leading_zeros.PART_BYTES - shift
    content = b"1" * start + b",01\n"
    assert leading_zeros.has_leading_zero(content, ",", False)


def test_times_and_dates_do_not_make_ids_text(tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", "user,item,zip,day\n1,2,01234,2020-01-05\n3,4,00001,2020-10-01\n")
    assert [row[:2] for row in read(path)] == [(1, 2), (3, 4)]


def test_several_files_with_one_header(tmp_path: Path) -> None:
    for k in range(3):
        write(tmp_path / f"{k}.csv", f"user,item\n{k},1\n{k},2\n")
    expected = [(k, i) for k in range(3) for i in (1, 2)]
    assert read(tmp_path) == expected
    assert read(tmp_path / "*.csv", ranks=2) == expected
    assert read(tmp_path / "2.csv", tmp_path / "0.csv") == [(2, 1), (2, 2), (0, 1), (0, 2)]
    write(tmp_path / "1.csv", "user,item\n")  # a part of a folder may be without rows
    assert read(tmp_path) == [(0, 1), (0, 2), (2, 1), (2, 2)]


@pytest.mark.parametrize(
    ("header", "message"),
    [("user,thing", r"1\.csv has no column 'item', which the first file has \(it has 'user', 'thing'\)"),
     ("user,item,time", r"1\.csv has a column 'time', which the first file has not"),
     ("item,user", r"1\.csv has its columns in another order than the first file: 'item', 'user' instead of")],
)  # fmt: skip
def test_files_with_different_columns(header: str, message: str, tmp_path: Path) -> None:
    write(tmp_path / "0.csv", "user,item\n1,1\n")
    write(tmp_path / "1.csv", f"{header}\n1,1{',1' * (header.count(',') - 1)}\n")
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


def test_partitions_of_folders_are_columns(tmp_path: Path) -> None:
    write(tmp_path / "t" / "user=7" / "part-0.csv", "item,rating\n1,2\n")
    write(tmp_path / "t" / "user=09" / "part-0.csv", "item,rating\n3,4\n")
    assert read(tmp_path / "t") == [("09", 3, 4.0), ("7", 1, 2.0)]
    write(tmp_path / "t" / "user=__HIVE_DEFAULT_PARTITION__" / "part-0.csv", "item,rating\n3,4\n")
    with pytest.raises(ValueError, match=r"part-0\.csv, line 2: 1 rows have an empty user id"):
        read(tmp_path / "t")


def test_parts_of_different_partitions(tmp_path: Path) -> None:
    write(tmp_path / "t" / "year=1" / "a.csv", "user,item\n1,1\n")
    write(tmp_path / "t" / "b.csv", "user,item\n1,1\n")
    with pytest.raises(ValueError, match="partition columns year, .* with none; every part needs the same"):
        read(tmp_path / "t")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", r"r\.csv is empty"),
        ("\n\n", r"r\.csv is empty"),
        (HEADER, r"r\.csv holds no rows"),
        (HEADER + "\n\n", r"r\.csv holds no rows"),
        ("user,user,item\n1,2,3\n", r"r\.csv: column 'user' is there twice, every column needs its own name"),
        ("who,what,stars\n1,2,3\n", r"no column 'userId', 'movieId' among 'who', 'what', 'stars'; check the delimiter"),
        ("1,10,4.5\n2,20,3\n", r"begins with '1,10,4.5', expected a line with the names of the columns; give them"),
        (HEADER + GOOD + "3,30\n", r"line 4: 2 columns instead of 4 .*: '3,30'"),
        (HEADER + GOOD + "3,30,4.0,1,1\n" + GOOD, "line 4: 5 columns instead of 4"),
        (HEADER + "1,10,4.5,1000000007\n\n\n2,20,3.0,8\n3,cut\n", r"r\.csv, line 6: 2 columns instead of 4"),
        (HEADER + GOOD + "3,30,4.0,\n", "line 4: 1 rows have an empty time"),
        (HEADER + GOOD + "3,30,nan,1\n", "line 4: 1 ratings are empty or NaN, the first for user 3 and item 30"),
        (HEADER + GOOD + ",30,4.0,1\n", "line 4: 1 rows have an empty user id, every row needs one"),
        (HEADER.replace("movieId", "x") + GOOD, "no column 'movieId' among"),
        (b"user,item\n\x00\x01\x02", "is no text"),
        ("user,item\n1,2\n".encode("utf-16-le"), "looks like UTF-16: name its encoding with --encoding utf-16-le"),
        ("user,item\r1,2\r", "ends its lines with CR alone"),
        ("word\nother\n", "no delimiter divides its lines into fields"),
        ('[{"user": 1}]\n', "holds one JSON array, expected an object a line"),
        ("<html><body>Sign in</body></html>\n", "is a web page"),
        (b"SQLite format 3\x00....", "is an SQLite database; read it with --database"),
        ("1 2 3\n4 5 6\n", "holds 3 fields a line, divided by blanks: say whether"),
        ("version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
    ],
)
def test_a_broken_file(content: str | bytes, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read(write(tmp_path / "r.csv", content))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [("3,30,good,1", r"line 25002: 'good' in column 'rating' is not a number that can be read: '3,30,good,1'"),
     ("3,30,4.0,soon", r"line 25002: 'soon' in column 'timestamp' is no time"),
     ("3,30", r"line 25002: 2 columns instead of 4")],
)  # fmt: skip
def test_a_broken_row_behind_the_first_ones(row: str, message: str, tmp_path: Path) -> None:
    path = write(tmp_path / "r.csv", HEADER + "1,10,4.5,1000000007\n" * 25_000 + row + "\n")
    with pytest.raises(ValueError, match=message):
        read(path)
    with pytest.raises(ValueError, match=message):
        read(path, ranks=3)


def test_an_unbalanced_quote_loses_no_rows_silently(tmp_path: Path) -> None:
    lines = [f'{u},{i},"5.0,1' if (u, i) == (2, 3) else f"{u},{i},5.0,1" for u in range(1, 40) for i in range(1, 9)]
    path = write(tmp_path / "r.csv", HEADER + "\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"r\.csv"):
        read(path)


@pytest.mark.parametrize(
    ("asked", "message"),
    [({"encoding": "klingon"}, "--encoding is 'klingon', expected a name that Python knows"),
     ({"encoding": "base64"}, "--encoding is 'base64'"),
     ({"format": "xml"}, "--format is 'xml', known are: csv, json, lists, parquet, arrow"),
     ({"header": ("a", "b")}, r"has 4 columns divided by ',', but 2 names were given for them \(a, b\)"),
     ({"delimiter": "\n"}, "--delimiter is"), ({"delimiter": ";"}, r"no column .*check the delimiter \(';'")],
)  # fmt: skip
def test_bad_requests(asked: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read(write(tmp_path / "r.csv", HEADER + GOOD), **asked)
