"""The Netflix Prize format as a source: rows never change their movie, on any number of ranks."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from data_prep.read import cutting, netflix
from data_prep.read.source import open_netflix

from .reading import rows_of

DAY = datetime.date(2005, 9, 6)
ROWS = [(user, movie, float(user % 5 + 1)) for movie in (1, 3, 12, 17770) for user in range(movie, movie + movie % 40)]


def text(rows: list[tuple[int, int, float]]) -> str:
    lines, last = [], None
    for user, movie, rating in rows:
        lines += [f"{movie}:\n"] if movie != last else []
        lines.append(f"{user},{int(rating)},{DAY}\n")
        last = movie
    return "".join(lines)


EXPECTED = [(*row, (DAY - datetime.date(1970, 1, 1)).days) for row in ROWS]


@pytest.mark.parametrize("ranks", [1, 2, 3, 8])
@pytest.mark.parametrize("block", [1, 25, 1 << 24])
@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_two_files(ends: str, block: int, ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "BLOCK_BYTES", block)
    monkeypatch.setattr(netflix, "_BACK", 10)
    for k, rows in enumerate((ROWS[:16], ROWS[16:])):
        (tmp_path / f"combined_data_{k + 1}.txt").write_bytes(text(rows).replace("\n", ends).encode())
    source = open_netflix(str(tmp_path))
    assert source.schema.time_unit == "D"
    assert rows_of(source, ranks=ranks) == EXPECTED
    assert rows_of(source, ranks=ranks, with_times=False) == ROWS


def test_a_file_a_movie(tmp_path: Path) -> None:
    for movie in (1, 3, 12, 17770):
        (tmp_path / f"mv_{movie:07}.txt").write_text(text([row for row in ROWS if row[1] == movie]))
    assert rows_of(open_netflix(str(tmp_path)), ranks=2) == EXPECTED


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1,5,2005-01-01\n", "begins with rows, expected a line 'movie:' first"),
        ("1x:\n1,3,2005-01-01\n", "'1x:' is not a movie header"),
        ("1:\n1,3\n", r"line 2: 2 columns instead of 3"),
        ("1:\n1,5,2005-01-01\n22:\n1,a,2005-01-01\n", r"line 4: 'a' in column 'rating' is not a number"),
        ("1:\n1,5,2005-01-01\n22:\n,4,2005-01-01\n", r"line 4: 1 rows have an empty user id"),
        ("1:\n1,5,2005-01-01\n22:\n1,4,soon\n", r"line 4: 'soon' in column 'date'"),
    ],
)
def test_a_broken_file(content: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "combined_data_1.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        rows_of(open_netflix(str(path)))
    with pytest.raises(ValueError, match="holds neither combined_data_"):
        (tmp_path / "empty").mkdir()
        open_netflix(str(tmp_path / "empty"))
