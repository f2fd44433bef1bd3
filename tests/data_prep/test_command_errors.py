"""What users get wrong on the command line, and how the difference from a data set that is there is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from data_prep.__main__ import main

from .conftest import random_rows, write_csv

ROWS = random_rows()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--event-weights", "view=nan"], "argument --event-weights: the weight of 'view' is nan, expected a number"),
        (["--event-weights", "view=1,buy=inf"], "the weight of 'buy' is inf, expected a number"),
        (["--event-weights", "view=1,view=2"], "'view=1,view=2' has an event twice, every event has one weight"),
        (["--out", ""], "argument --out: the name is empty"),
        (["--titles", " "], "argument --titles: the name is empty"),
    ],
)
def test_flags_that_cannot_be_read(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["table", "--raw", "r.csv", *words])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--titles", "."], "--titles . is a folder, expected a file of item titles"),
        (["--titles", "/dev/null"], "--titles /dev/null is no file, expected a file of item titles"),
        (["--threshold", "nan"], "--threshold is nan, expected a number"),
        (["--event-weights", "a=1", "--positive-events", "a"], "both say which events count, give one of them"),
    ],
)
def test_flags_that_do_not_go(words: list[str], message: str, refuse: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", ROWS)
    assert message in refuse("table", "--raw", raw, *words)


def test_events_that_do_not_occur(refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item,event\n1,2,view\n3,4,view\n")
    told = "none of the first 2 rows has the event 'buy'; those of column 'event' are 'view'"
    assert told in refuse("table", "--raw", tmp_path / "r.csv", "--positive-events", "buy")


def test_times_that_cannot_be_used(refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item,time\n1,2,12/31/2020\n3,4,1/31/2021\n")
    line = refuse("table", "--raw", tmp_path / "r.csv", "--protocol", "time", "--min-user-items", "1")
    assert "column 'time' holds '12/31/2020', expected seconds or milliseconds since 1970, or ISO 8601" in line


def test_the_difference_from_the_data_set_that_is_there(prepare: Any, refuse: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", ROWS)
    prepare("table", "--raw", raw)
    line = refuse("table", "--raw", raw, "--seed", "3", "--k-core", "2", out=("out",))
    assert "(k_core: none there, 2 asked; seed: 98765 there, 3 asked)" in line
    line = refuse("table", "--raw", raw, "--protocol", "per-user", out=("out",))
    assert "(protocol: 'default' there, 'per-user' asked)" in line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["table"], "preparing table in data/table"),
        (["table", "--sql", "x"], "preparing table from a database in data/table"),
        (["table", "--raw", "a", "b"], "preparing table from a and 1 more in data/table"),
        (
            ["table", "--raw", "https://me:secret@h/a.csv?sig=secret"],
            "preparing table from https://h/a.csv in data/table",
        ),
        (["table", "--train", "s3://k:secret@b/a"], "preparing table from s3://b/a in data/table"),
        (["ml-1m", "--download"], "preparing ml-1m by download in data/ml-1m"),
        (["synthetic", "--like", "ml-1m"], "preparing synthetic from a seed in data/synthetic"),
    ],
)
def test_the_first_line(words: list[str], line: str) -> None:
    from data_prep.__main__ import _first_line, _out
    from data_prep.arguments import build_parser

    args = build_parser().parse_args(words)
    assert _first_line(args, _out(args)) == line
