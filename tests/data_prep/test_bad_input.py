"""What users get wrong in raw files and arguments: one line that says what, status 2, nothing left behind."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tests.conftest import ROOT, _environment

from .conftest import random_rows, write_csv

ROWS = random_rows()
HEADER = "userId,movieId,rating,timestamp\n"
GOOD = "1,10,4.5,7\n2,20,3.0,8\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "r.csv is empty"),
        (HEADER, "r.csv holds no rows"),
        ("who,what,zeal\n1,2,3\n", "no column 'userId', 'movieId' among 'who', 'what', 'zeal'"),
        ("who;what;zeal\n1;2;3\n", "check the delimiter (';', change it with --delimiter)"),
        (HEADER + GOOD + "3,30\n", "line 4: 2 columns instead of 4"),
        (HEADER + GOOD + "3,30,4.0,1,1\n" + GOOD, "line 4: 5 columns instead of 4"),
        (HEADER + GOOD + "3,30,good,1\n", "line 4: 'good' in column 'rating' is not a number"),
        (HEADER + GOOD + "3,30,4.0,noon\n", "line 4: 'noon' in column 'timestamp' is no time, as those before"),
        (HEADER + GOOD + "3,30,nan,1\n", "1 ratings are empty or NaN, the first for user 3 and item 30"),
        (HEADER + GOOD + "3,30,,1\n", "1 ratings are empty or NaN"),
        (HEADER + GOOD + ",30,4.0,1\n", "1 rows have an empty user id"),
        (HEADER + "1,10,1.0,7\n", "no events left of 1 rows; lower --threshold"),
        (HEADER + GOOD, "no user has 5 items (all 1 users filtered away); lower --min-user-items"),
    ],
)
def test_a_broken_csv(content: str, message: str, refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(content)
    assert message in refuse("csv", "--raw", tmp_path / "r.csv")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--held-out-users", "400"], "cannot hold out 400 users for validation and 400 for test"),
        (["--held-out-users", "0"], "--held-out-users is 0"),
        (["--protocol", "random"], "unknown protocol 'random', known are: default, liang2018"),
        (["--protocol", "liang2018", "--seed", "5"], "leave --seed out"),
        (["--fold-out-share", "1.5"], "--fold-out-share is 1.5, expected a share between 0 and 1"),
        (["--delimiter", "::"], "check the delimiter ('::', change it with --delimiter)"),
        (["--protocol", "time", "--test-from", "soon"], "'soon' is no moment, expected ISO 8601"),
        (["--validation-from", "9"], "--validation-from goes with --protocol time, it is default"),
        (["--protocol", "time", "--held-out-users", "5"], "--held-out-users does not go with time"),
        (["--protocol", "per-user", "--choice", "first"], "unknown --choice 'first', known are: random, latest"),
        (["--protocol", "per-user", "--held-out-share", "0.95"], "expected less than 1 together"),
        (["--k-core", "-1"], "--k-core is -1, expected 0 or more"),
        (["--k-core", "99"], "--k-core 99 leaves no user"),
        (["--memory", "1MiB"], "--memory is 1 MiB, expected 512 MiB or more"),
        (["--train", "x"], "--raw does not go with --train, --valid and --test; name every part by its own flag"),
        (["--database", "sqlite:///x.db"], "--database needs --sql 'SELECT ...' or --sql TABLE"),
        (["--titles", "nowhere.csv"], "nowhere.csv does not exist"),
        (["--threshold", "9"], "no events left"),
    ],
)
def test_bad_arguments(words: list[str], message: str, refuse: Any, tmp_path: Path) -> None:
    assert message in refuse("csv", "--raw", write_csv(tmp_path / "r.csv", ROWS), *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["ml-21m", "--raw", "x"], "unknown data set 'ml-21m' (is 'ml-1m' meant?), known are: "),
        (["csv"], "csv needs --raw PATH (or --database URL --sql 'SELECT ...')"),
        (["ml-20m"], "ml-20m needs --raw PATH or --download"),
        (["ml-20m", "--raw", "nowhere"], "nowhere does not exist"),
        (["netflix", "--download"], "netflix cannot be downloaded: 100,480,507 ratings"),
        (["synthetic"], "synthetic data needs --like NAME or --users"),
        (["synthetic", "--like", "ml-21m"], "--like 'ml-21m' is not known, known are: tiny"),
        (["synthetic", "--users", "0", "--items", "50", "--interactions", "9"], "at least 1 user"),
    ],
)
def test_bad_requests(words: list[str], message: str, refuse: Any) -> None:
    assert message in refuse(*words)


def test_folders_and_archives(refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad.zip").write_bytes(b"PK\x03\x04 and nothing more")
    assert "holds no ratings.csv" in refuse("ml-20m", "--raw", tmp_path / "empty")
    assert "holds no combined_data_*.txt or mv_*.txt, expected for netflix" in refuse(
        "netflix", "--raw", tmp_path / "empty"
    )
    assert "is not a readable archive" in refuse("ml-20m", "--raw", tmp_path / "bad.zip")


@pytest.mark.parametrize(
    ("content", "message"),
    [("1,5,2005-01-01\n", "begins with rows"), ("1x:\n1,3,2005-01-01\n", "'1x:' is not a movie header"),
     ("1:\n1,3\n", "2 columns instead of 3"), ("1:\n1,a,2005-01-01\n", "'a' in column 'rating' is not a number")],
)  # fmt: skip
def test_a_broken_netflix_file(content: str, message: str, refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "combined_data_1.txt").write_text(content)
    assert message in refuse("netflix", "--raw", tmp_path / "combined_data_1.txt")


def test_a_broken_parquet_file(refuse: Any, tmp_path: Path) -> None:
    path = tmp_path / "r.parquet"
    path.write_bytes(b"no parquet")
    assert "is not a readable Parquet file" in refuse("parquet", "--raw", path)
    table = pd.DataFrame(ROWS, columns=["userId", "movieId", "rating"])
    table.drop(columns="movieId").to_parquet(path)
    assert "no column 'movieId' among 'userId', 'rating'" in refuse("parquet", "--raw", path)
    table.iloc[:0].to_parquet(path)
    assert "holds no rows" in refuse("parquet", "--raw", path)


def test_a_folder_of_something_else_is_left_alone(refuse: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", ROWS)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    assert "exists and is no data set" in refuse("csv", "--raw", raw, out=("mine",))
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "manifest.json").write_text("{")
    assert "manifest.json is damaged" in refuse("csv", "--raw", raw, out=("damaged",))


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """The operating system refuses files over 2 kB, as a full disk refuses them."""
    write_csv(tmp_path / "r.csv", ROWS)
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)); "
        "from data_prep.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    words = ["csv", "--raw", str(tmp_path / "r.csv"), "--out", str(tmp_path / "out"), "--min-user-items", "1"]
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=ROOT, env=_environment(None), capture_output=True, text=True
    )
    assert done.returncode == 2
    assert f"error: cannot write {tmp_path / 'out'}: " in done.stderr
    assert "File too large; nothing was left behind" in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("1:\n1,5,2005-01-01\n\n2,5,2005-01-01\n", "an unbalanced quote or an empty line between rows?"),
        ("1:\n1,5,2005-01-01\n2:35,4,2005-01-01\n", "'2:35,4,2005-01-01' is not a movie header"),
        (":\n1,5,2005-01-01\n", "':' is not a movie header"),
        ("99999999999:\n1,5,2005-01-01\n", "is not a movie header"),
        ("1:\n1,5,2005-01-01\n2:\n7,x,2005-01-01\n", "combined_data_1.txt, line 4: 'x' in column 'rating'"),
    ],
)
def test_rows_never_change_their_movie(content: str, message: str, refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "combined_data_1.txt").write_text(content)
    assert message in refuse("netflix", "--raw", tmp_path / "combined_data_1.txt")


def test_a_movie_file_without_header_is_named(refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "nf").mkdir()
    (tmp_path / "nf" / "mv_0000001.txt").write_text("1:\n1,5,2005-01-01\n")
    (tmp_path / "nf" / "mv_0000002.txt").write_text("1,5,2005-01-01\n")
    assert "mv_0000002.txt begins with rows" in refuse("netflix", "--raw", tmp_path / "nf")


def test_an_unbalanced_quote_loses_no_rows_silently(refuse: Any, tmp_path: Path) -> None:
    lines = [f'{u},{i},"5.0,1' if (u, i) == (2, 3) else f"{u},{i},5.0,1" for u in range(1, 40) for i in range(1, 9)]
    (tmp_path / "r.csv").write_text(HEADER + "\n".join(lines) + "\n")
    assert "r.csv" in refuse("csv", "--raw", tmp_path / "r.csv")


def test_lines_are_counted_with_empty_ones(refuse: Any, tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(HEADER + "1,10,4.5,7\n\n\n2,20,3.0,8\n3,cut\n")
    assert "r.csv, line 6: 2 columns instead of 4" in refuse("csv", "--raw", tmp_path / "r.csv")
    (tmp_path / "r.csv").write_text(HEADER + "1,10,4.5,7\n" * 50 + "\n4,20,,8\n")
    assert "r.csv, line 53: 1 ratings are empty or NaN" in refuse("csv", "--raw", tmp_path / "r.csv")


def test_overwrite_spares_what_is_no_data_set(refuse: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", ROWS)
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "manifest.json").write_text('{"name": "app"}')
    (tmp_path / "app" / "precious.txt").write_text("x")
    assert "is no data set" in refuse("csv", "--raw", raw, "--overwrite", out=("app",))
    assert (tmp_path / "app" / "precious.txt").exists()


def test_a_data_set_with_a_file_missing_is_not_reused(prepare: Any, refuse: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", ROWS)
    data = prepare("csv", "--raw", raw)
    (data.folder / "train.indices.npy").unlink()
    assert "is damaged (a file is missing or cut)" in refuse("csv", "--raw", raw, out=("out",))


def test_other_titles_are_another_data_set(prepare: Any, refuse: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", ROWS)
    prepare("csv", "--raw", raw)
    (tmp_path / "t.csv").write_text("id,title\n1,NA\n2,Ångström\n")
    assert "titles: none there" in refuse("csv", "--raw", raw, "--titles", tmp_path / "t.csv", out=("out",))
    items = prepare("csv", "--raw", raw, "--titles", tmp_path / "t.csv", out="b").items.set_index("item_id")["title"]
    assert (items[1], items[2]) == ("NA", "Ångström")


@pytest.mark.ranks
@pytest.mark.parametrize("words", [["--min-user-items", "9999"], ["--held-out-users", "300"]])
def test_errors_behind_the_reading_end_every_rank(words: list[str], command: Any, tmp_path: Path) -> None:
    raw = write_csv(tmp_path / "r.csv", ROWS)
    mpirun = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", "2", "python", "-m", "data_prep"]
    done = command([*mpirun, "csv", "--raw", raw, "--out", tmp_path / "out", *words], timeout=60)
    assert done.returncode == 2
    assert "error: " in done.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["r.csv"]
