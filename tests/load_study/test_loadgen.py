"""The comparison with MLPerf's LoadGen: intervals of rates, and the command as people run it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from load_study.__main__ import main
from load_study.loadgen import rate_interval
from load_study.search import Goal, SearchResult, Verdict
from load_study.tables import TABLES, same_rate
from load_study.windows import Candidate
from recsys_core.measuring.conditions import BUSY
from recsys_core.measuring.records import read
from tests.load_study.quiet import on_a_quiet_machine


def _search(**beyond: float) -> SearchResult[Candidate]:
    """A search with a trial for each rate (r10=0.01: at 10 queries/s 1 % were late)."""
    found = SearchResult(candidate=Candidate(1), capacity=100.0, goal=Goal(level=0.95, seconds=0.05))
    for name, share in beyond.items():
        rate = float(name[1:])
        found.trials[int(rate)] = [
            Verdict(rate=rate, meets=share <= 0.05, is_significant=True, beyond=share, tail=0.01, queries=9, windows=1)
        ]
    return found


def test_the_interval_of_a_rate_reaches_to_the_next_rate_that_missed() -> None:
    searches = [_search(r10=0.0, r12=0.01, r14=0.2), _search(r10=0.0, r12=0.2), _search(r11=0.0, r13=0.0, r15=0.4)]
    assert rate_interval(searches) == [12.0, 10.0, 15.0]
    assert rate_interval([_search(r10=0.0)]) == [10.0, 10.0, None]  # no rate above it was tried
    assert rate_interval([_search(r10=0.5), _search(r10=0.0)]) is None


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ([10.0, 9.0, 11.0], [12.0, 10.5, 13.0], "yes"),
        ([10.0, 9.0, 10.4], [12.0, 10.5, 13.0], "no"),
        ([12.0, 10.5, 13.0], [10.0, 9.0, 10.4], "no"),
        ([10.0, 9.0, None], [12.0, 10.5, 13.0], "yes"),
        ([10.0, 9.0, 11.0], None, ""),
    ],
)
def test_rates_are_the_same_where_their_intervals_overlap(
    ours: list[float | None], theirs: list[float | None] | None, said: str
) -> None:
    assert same_rate({"rate": ours, "loadgen_rate": theirs}) == said


def test_without_loadgen_nothing_is_started(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    assert main(["loadgen", "--model", "delay:10"]) == 1
    assert capsys.readouterr().err.startswith("error: MLPerf's LoadGen is not installed")


@pytest.mark.slow
def test_both_generators_find_a_rate_of_a_known_delay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mlperf_loadgen", reason="needs the extra loadgen")
    words = ["loadgen", "--model", "delay:10", "--engines", "1", "--sizes", "fixed:1", "--largest", "1", "--compare"]
    words += ["--window", "1", "--most", "1", "--resolution", "0.4", "--repeats", "2", "--results"]
    file = tmp_path / "r.jsonl"

    def check() -> None:
        file.unlink(missing_ok=True)
        assert main([*words, str(file)]) in (0, BUSY)
        row: dict[str, Any]
        (row,) = read(file)
        assert row["target_ms"] == 50.0
        assert len(row["capacity"]) == 2
        for name in ("rate", "loadgen_rate"):
            middle, low, _ = row[name]
            assert 20 < low <= middle < 110  # 100 is the most that an engine of 10 ms can do
        assert 20 < row["theory_rate"] < 100
        assert TABLES["loadgen"].as_text([row])

    on_a_quiet_machine(check, tries=2)
    assert "LoadGen" in capsys.readouterr().out
