"""Repeated pairs: the latest rating decides, in every format and protocol, on one rank and on several."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from data_prep.__main__ import main

from .conftest import MATRICES, Prepared
from .lists import lists_of

Event = tuple[int, int, float, int]
"""User, item, rating, time."""
HEADER = "userId,movieId,rating,timestamp"
# Users 1 to 12 like items 1 to 8, and rate items 9 to 11 once with 2.
ONCE: list[Event] = [(u, i, 5.0 if i < 9 else 2.0, 100 * i + u) for u in range(1, 13) for i in range(1, 12)]
# User 1: item 3 is rated 1 later, though the row stands first in the file; item 9 is rated 5 later.
# User 2: item 4 is rated 1 earlier and stays; item 5 is rated 5 and 1 at the same time, the later row counts.
# User 3: item 6 has three rows above and one below, which is the latest. Item 10: two rows, both below.
BEFORE: list[Event] = [(1, 3, 1.0, 9000)]
AFTER: list[Event] = [
    (1, 9, 5.0, 9000), (2, 4, 1.0, 1), (2, 5, 1.0, 502), (3, 6, 4.0, 700), (3, 6, 4.5, 701), (3, 6, 3.5, 702),
    (3, 10, 1.0, 9000),
]  # fmt: skip
ROWS = [*BEFORE, *ONCE, *AFTER]
BY_TIME = {(1, 3): False, (1, 9): True, (2, 4): True, (2, 5): False, (3, 6): False, (3, 10): False}
BY_FILE = {**BY_TIME, (1, 3): True, (2, 4): False}
"""Without times (1, 3) is rated 5 in the later row of the file, and (2, 4) 1."""
OVERRIDDEN = {"time": 1 + 1 + 1 + 1 + 3, "file": 1 + 1 + 1 + 1 + 3}
"""One row of each contradicted pair, three of (3, 6); (3, 10) was never above the threshold."""


def write(path: Path, rows: Iterable[Event], times: bool = True) -> Path:
    lines = [f"{u},{i},{r}" + (f",{t}" if times else "") for u, i, r, t in rows]
    path.write_text("\n".join([HEADER if times else "userId,movieId,rating", *lines]) + "\n")
    return path


def expected(decided: dict[tuple[int, int], bool]) -> set[tuple[int, int]]:
    liked = {(u, i) for u, i, r, _ in ONCE if r > 3.5}
    return {pair for pair in liked | decided.keys() if decided.get(pair, True)}


def everything(data: Prepared) -> set[tuple[int, int]]:
    return set().union(*(data.pairs(name) for name in MATRICES))


def by_hand(rows: Iterable[Event], threshold: float = 3.5) -> set[tuple[int, int]]:
    """The pairs whose latest rating is above the threshold, one row at a time."""
    latest: dict[tuple[int, int], tuple[int, float]] = {}
    for user, item, rating, time in rows:
        if (user, item) not in latest or time >= latest[user, item][0]:
            latest[user, item] = (time, rating)
    return {pair for pair, (_, rating) in latest.items() if rating > threshold}


def test_the_rows_above_are_typed_right() -> None:
    assert by_hand(ROWS) == expected(BY_TIME)
    assert by_hand([(u, i, r, 0) for u, i, r, _ in ROWS]) == expected(BY_FILE)


def raw_file(kind: str, folder: Path) -> list[str | Path]:
    """NAME and --raw of the rows in one format."""
    path = folder / "raw"
    path.mkdir()
    if kind == "csv":
        return ["csv", "--raw", write(path / "r.csv", ROWS)]
    if kind == "parquet":
        table = pd.DataFrame(ROWS, columns=HEADER.split(","))
        table.to_parquet(path / "r.parquet", row_group_size=20)
        return ["parquet", "--raw", path / "r.parquet"]
    if kind == "ml-20m":
        write(path / "ratings.csv", ROWS)
        return ["ml-20m", "--raw", path]
    name, mark = {"ml-100k": ("u.data", "\t"), "ml-10m": ("ratings.dat", "::")}[kind]
    (path / name).write_text("".join(mark.join(map(str, row)) + "\n" for row in ROWS))
    return [kind, "--raw", path]


SIZE = ("--held-out-users", "2")


@pytest.mark.parametrize("kind", ["csv", "parquet", "ml-100k", "ml-10m", "ml-20m"])
def test_the_latest_rating_decides(kind: str, prepare: Any, tmp_path: Path) -> None:
    data = prepare(*raw_file(kind, tmp_path), *SIZE)
    assert everything(data) == expected(BY_TIME)
    counts = data.manifest["counts"]
    assert (counts["rows_read"], counts["duplicates_dropped"], counts["pairs_rated_down"]) == (140, 7, 3)
    assert counts["events"] == len(expected(BY_TIME)) == 94


@pytest.mark.parametrize("protocol", ["default", "liang2018"])
def test_both_protocols_of_users_say_how_many(
    protocol: str, prepare: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = prepare("csv", "--raw", write(tmp_path / "r.csv", ROWS), *SIZE, "--protocol", protocol)
    assert everything(data) | {(1, 9)} == expected(BY_TIME)  # nobody else has item 9: it goes if user 1 is held out
    note = (
        "7 rows were overridden by a later row of the same user and item; 3 pairs are left out: they were rated above "
        "3.5, and later at or below it"
    )
    assert note in data.manifest["warnings"]
    assert f"note: {note}" in capsys.readouterr().out


def test_without_times_the_later_row_of_the_file_decides(prepare: Any, tmp_path: Path) -> None:
    data = prepare("csv", "--raw", write(tmp_path / "r.csv", ROWS, times=False), *SIZE)
    assert everything(data) == expected(BY_FILE)
    assert data.manifest["counts"]["duplicates_dropped"] == 7
    assert (
        "of repeated pairs the later row of the file decided: there is no column of times" in data.manifest["warnings"]
    )


def test_times_that_cannot_be_read(prepare: Any, refuse: Any, tmp_path: Path) -> None:
    """A column that nobody named is left aside, with a note; one that was named is an error."""
    lines = [f"{u},{i},{r},about {t}" for u, i, r, t in ROWS]
    (tmp_path / "r.csv").write_text("\n".join([HEADER, *lines]) + "\n")
    data = prepare("csv", "--raw", tmp_path / "r.csv", *SIZE)
    assert everything(data) == expected(BY_FILE)
    assert any("column 'timestamp' holds 'about" in w and "it was not used" in w for w in data.manifest["warnings"])
    message = refuse("csv", "--raw", tmp_path / "r.csv", "--time-column", "timestamp")
    assert "column 'timestamp' holds 'about" in message
    assert "expected seconds or milliseconds since 1970, or ISO 8601" in message


def test_a_named_column_of_times_decides(prepare: Any, tmp_path: Path) -> None:
    lines = [f"{u},{i},{r},0,{t}" for u, i, r, t in ROWS]
    (tmp_path / "r.csv").write_text("\n".join([f"{HEADER},when", *lines]) + "\n")
    data = prepare("csv", "--raw", tmp_path / "r.csv", *SIZE, "--time-column", "when")
    assert everything(data) == expected(BY_TIME)
    assert data.manifest["parameters"]["time"] == "when"
    by_file = prepare("csv", "--raw", tmp_path / "r.csv", *SIZE, out="b")
    assert everything(by_file) == expected(BY_FILE)  # timestamp is 0 throughout
    assert "time" not in by_file.manifest["parameters"]  # data sets that were prepared before are found again


def netflix_text(rows: list[Event]) -> str:
    """Days of 2001 as times; a movie's rows stand in the order given."""
    lines = []
    for movie in range(1, 12):
        lines.append(f"{movie}:")
        lines += [
            f"{u},{int(r)},{np.datetime64('2001-01-01') + np.timedelta64(t, 'D')}" for u, i, r, t in rows if i == movie
        ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("form", ["combined", "mv"])
@pytest.mark.parametrize("block", [1 << 20, 40])
def test_netflix(form: str, block: int, prepare: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 40 bytes begin in the middle of a movie."""
    monkeypatch.setattr("data_prep.read.cutting.BLOCK_BYTES", block)
    (tmp_path / "nf").mkdir()
    whole = netflix_text(ROWS)
    if form == "combined":
        (tmp_path / "nf" / "combined_data_1.txt").write_text(whole)
    else:
        for movie in range(1, 12):
            own = [row for row in ROWS if row[1] == movie]
            text = f"{movie}:\n" + netflix_text(own).split(f"{movie}:\n", 1)[1].split(f"{movie + 1}:\n")[0]
            (tmp_path / "nf" / f"mv_{movie:07d}.txt").write_text(text)
    data = prepare("netflix", "--raw", tmp_path / "nf", *SIZE)
    assert everything(data) == expected(BY_TIME)
    assert data.manifest["counts"]["duplicates_dropped"] == 7


LOO = ("--protocol", "leave-one-out", "--negatives", "1", "--threshold", "3.5", "--min-user-items", "1")


def test_leave_one_out_places_a_pair_where_it_was_first_liked(prepare: Any, tmp_path: Path) -> None:
    """Item 9 of user 1 is liked at last; item 1 of user 4 is liked again late, and stays where it was liked first."""
    rows = [*ROWS, (4, 1, 5.0, 9999), *((99, i, 5.0, i) for i in range(50, 60))]
    data = prepare("csv", "--raw", write(tmp_path / "r.csv", rows), *LOO)
    train, valid, test = lists_of(data).split()
    assert (train[1], valid[1], test[1]) == ({1, 2, 4, 5, 6, 7}, 8, 9)
    assert (train[2], valid[2], test[2]) == ({1, 2, 3, 4, 6}, 7, 8)
    assert (train[3], valid[3], test[3]) == ({1, 2, 3, 4, 5}, 7, 8)
    assert (train[4], valid[4], test[4]) == ({1, 2, 3, 4, 5, 6}, 7, 8)
    assert data.manifest["counts"]["duplicates_dropped"] == 8
    assert data.manifest["counts"]["pairs_rated_down"] == 3


def test_every_pair_is_rated_down(refuse: Any, tmp_path: Path) -> None:
    rows = [(u, i, r, t) for u in range(20) for i in range(10) for r, t in ((5.0, 10), (1.0, 20))]
    raw = write(tmp_path / "r.csv", rows)
    message = refuse("csv", "--raw", raw)
    assert "no events left of 400 rows: 200 (user, item) pairs were rated above the threshold, and at or" in message


def test_repeats_that_agree_are_kept_once(prepare: Any, tmp_path: Path) -> None:
    rows = [*ONCE, *((u, i, 4.0, t) for u, i, r, t in ONCE if r > 3.5 and u < 4)]
    data = prepare("csv", "--raw", write(tmp_path / "r.csv", rows), *SIZE)
    assert everything(data) == {(u, i) for u, i, r, _ in ONCE if r > 3.5}
    assert data.manifest["warnings"] == ["24 repeated (user, item) pairs were kept once"]
    assert "pairs_rated_down" not in data.manifest["counts"]


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("large", [False, True])
def test_agrees_with_a_naive_loop(seed: int, large: bool, prepare: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(seed)
    pairs = rng.integers(1, [30, 25], (1500, 2)) * (10**14 + 7 if large else 1)
    ratings, times = rng.integers(1, 11, 1500) / 2, rng.integers(0, 50, 1500)
    rows = [(int(u), int(i), float(r), int(t)) for (u, i), r, t in zip(pairs, ratings, times, strict=True)]
    data = prepare("csv", "--raw", write(tmp_path / "r.csv", rows), *SIZE, "--min-user-items", "1")
    wanted = by_hand(rows)
    assert everything(data) == wanted
    once_liked = {(u, i) for u, i, r, _ in rows if r > 3.5}
    assert data.manifest["counts"]["pairs_rated_down"] == len(once_liked - wanted) > 0
    rows_of_these = sum((u, i) in once_liked for u, i, *_ in rows)
    assert data.manifest["counts"]["duplicates_dropped"] == rows_of_these - len(once_liked)


@pytest.mark.ranks
@pytest.mark.parametrize("kind", ["csv", "parquet", "netflix", "text from the middle"])
def test_ranks_agree(kind: str, prepare: Any, command: Any, tmp_path: Path) -> None:
    if kind == "netflix":
        (tmp_path / "combined_data_1.txt").write_text(netflix_text(ROWS))
        words: list[str | Path] = ["netflix", "--raw", tmp_path / "combined_data_1.txt"]
    elif kind == "text from the middle":  # behind the rows that the types are found from, of the last rank only
        more = [(200 + k // 10, 1 + k % 10, 5.0, k) for k in range(30_000)]
        lines = [f"{u},{i},{r},{t}" for u, i, r, t in more] + [f"u{u},{i},{r},{t}" for u, i, r, t in ROWS]
        (tmp_path / "r.csv").write_text("\n".join([HEADER, *lines]) + "\n")
        words = ["csv", "--raw", tmp_path / "r.csv"]
    else:
        words = raw_file(kind, tmp_path)
    alone = prepare(*words, *SIZE)
    if kind == "text from the middle":
        assert {(u, i) for u, i in everything(alone) if u[0] == "u"} == {(f"u{u}", i) for u, i in expected(BY_TIME)}
    else:
        assert everything(alone) == expected(BY_TIME)
    mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "3", "python", "-m", "data_prep"]
    done = command([*mpirun, *words, *SIZE, "--out", tmp_path / "ranks"])
    assert done.returncode == 0, done.stderr
    assert Prepared(tmp_path / "ranks").content() == alone.content()


def test_a_data_set_of_one_command_is_found_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["csv", "--raw", str(write(tmp_path / "r.csv", ROWS)), *SIZE, "--out", str(tmp_path / "out")]
    assert main(words) == main(words) == 0
    assert "already prepared" in capsys.readouterr().out
