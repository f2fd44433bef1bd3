"""What the command says while it works; times are set by hand, nothing waits for a clock."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from data_prep import progress
from data_prep.__main__ import main

from .conftest import write_csv

ROWS = [(u, i, 5.0) for u in range(1, 41) for i in range(u, u + 7)]


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every moment were late: steps are shown when they begin, and each block has its line."""
    monkeypatch.setattr(progress, "FIRST_AFTER_S", 0.0)
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.0)
    timer = progress._Steps.__init__

    def started(self: progress._Steps) -> None:
        timer(self)
        self._timer.join()

    monkeypatch.setattr(progress._Steps, "__init__", started)


def run(tmp_path: Path, capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    raw = write_csv(tmp_path / "r.csv", ROWS)
    assert main(["csv", "--raw", str(raw), "--out", str(tmp_path / "out"), *words]) == 0
    return capsys.readouterr().out.splitlines()


COLUMNS = [
    "users: column 'userId' (whole numbers; another: --user-column)",
    "items: column 'movieId' (whole numbers; another: --item-column)",
    "ratings: column 'rating' (ratings; another: --rating-column)",
    "times: column 'timestamp' (numbers that give the order; another: --time-column)",
]


@pytest.mark.usefixtures("at_once")
def test_the_steps_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = write_csv(tmp_path / "r.csv", ROWS).stat().st_size
    lines = run(tmp_path, capsys)
    assert lines[0] == f"preparing csv from {tmp_path / 'r.csv'} in {tmp_path / 'out'}"
    assert lines[1] == f"reading {tmp_path / 'r.csv'} ({size / 1000:.1f} kB)"
    rows_size = f"{(size - 33) / 1000:.1f} kB"  # without the header
    assert lines[2:6] == COLUMNS
    assert lines[6].startswith(f"reading: {rows_size} of {rows_size} (100 %, about 0 s left)")
    assert lines[7].startswith("splitting ") and lines[7].endswith(" events (default)")
    assert lines[8] == f"writing {tmp_path / 'out'}"
    assert " rows -> " in lines[9]


def test_a_short_run_prints_its_summary_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "FIRST_AFTER_S", 600.0)
    lines = run(tmp_path, capsys)
    assert lines[:4] == COLUMNS
    assert len(lines) == 6
    assert " rows -> " in lines[4]


@pytest.mark.usefixtures("at_once")
def test_other_ranks_are_silent(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_RANK", "1")
    with progress.shown():
        progress.step("reading")
        with progress.bar("reading", 10, "B") as bar:
            bar.update(5)
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.usefixtures("at_once")
def test_a_library_call_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    progress.step("reading")
    with progress.bar("reading", 10, "B") as bar:
        bar.update(5)
    assert capsys.readouterr().out == ""


def test_steps_of_the_first_moments_are_shown_when_the_run_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown():
        assert progress._steps is not None
        progress.step("one")
        progress.step("two")
        assert capsys.readouterr().out == ""
        progress._steps._show()  # what the timer calls
        assert capsys.readouterr().out == "one\ntwo\n"
        progress.step("three")
        assert capsys.readouterr().out == "three\n"


@pytest.mark.parametrize(
    ("total", "seconds", "line"),
    [
        (2_000_000_000, 10.0, "reading: 500.0 MB of 2.0 GB (25 %, about 30 s left)"),
        (0, 12.0, "reading: 500.0 MB in 12 s"),
    ],
)
def test_lines_of_a_long_step(total: int, seconds: float, line: str) -> None:
    lines = progress._Lines("reading", total, "B", 0)
    lines.update(500_000_000)
    assert lines._line(seconds) == line


def test_a_resumed_download_counts_what_it_fetches_for_the_time_left() -> None:
    lines = progress._Lines("downloading x.zip", 1_000, "B", 900)
    lines.update(50)
    assert lines._line(10.0) == "downloading x.zip: 950 B of 1.0 kB (95 %, about 10 s left)"


@pytest.mark.usefixtures("at_once")
def test_a_terminal_has_a_bar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import tqdm

    made: list[dict[str, Any]] = []
    bar_of = tqdm.tqdm

    def recorded(**options: Any) -> Any:
        made.append(options)
        return bar_of(**options, disable=True)

    monkeypatch.setattr(tqdm, "tqdm", recorded)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress.shown(), progress.bar("unpacking x.zip", 10, "B") as bar:
        bar.update(5)
    assert (made[0]["desc"], made[0]["total"]) == ("unpacking x.zip", 10)
    assert capsys.readouterr().out == ""
