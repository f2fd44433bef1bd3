"""`load`, `schedule` and `platforms` as people run them, on small subjects."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from load_study import plots
from load_study.__main__ import main
from load_study.engines.simulated import SimulatedPool
from load_study.report import REPORT
from load_study.schedule import baseline, candidates, search
from load_study.search import Goal, Grid
from load_study.traffic.arrivals import poisson
from load_study.traffic.clock import VirtualClock
from load_study.traffic.generator import generate
from load_study.traffic.result import LoadResult
from load_study.traffic.sizes import fixed
from load_study.windows import Candidate
from recsys_core.measuring.conditions import BUSY
from recsys_core.measuring.records import read
from tests.load_study.quiet import on_a_quiet_machine

SHORT = ["--sizes", "fixed:4", "--largest", "4"]


def results(folder: Path, *words: str) -> list[dict[str, Any]]:
    """The records of one command; it may say that the machine was busy."""
    file = folder / "results.jsonl"
    file.unlink(missing_ok=True)
    assert main([*words, "--results", str(file)]) in (0, BUSY)
    return read(file)


@pytest.mark.slow
def test_load_stands_beside_theory_and_the_closed_loop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["load", "--model", "delay:4", "--engines", "1", "--rate", "50", "--duration", "5", "--warm-up", "1"]

    def check() -> None:
        opened, closed = results(tmp_path, *words, *SHORT, "--closed")
        assert (opened["loop"], closed["loop"]) == ("open", "closed")
        # M/D/1 at 20 %: a mean wait of load * D / (2 (1 - load)) before 4 ms of service
        service = opened["service_s"]
        assert 0.004 <= service < 0.008
        load = 50 * service
        assert opened["theory_mean_s"] == pytest.approx(service + load * service / (2 * (1 - load)))
        assert opened["mean_s"][0] >= 0.004
        assert opened["p50_s"][0] >= 0.004
        assert opened["errors"] == opened["timeouts"] == 0.0
        assert opened["p999_s"] is None  # too few
        assert "theory_mean_s" not in closed
        assert closed["queries"] > 2 * opened["queries"]

    on_a_quiet_machine(check, tries=2)
    printed = capsys.readouterr().out
    assert "closed" in printed
    assert "queries sent more than 1 ms late" in printed


@pytest.mark.slow
def test_the_schedule_of_a_known_delay(tmp_path: Path) -> None:
    """Every part takes 10 ms on one engine: cutting 4 items into 4 parts leaves a quarter of the rate."""
    words = ["schedule", "--model", "delay:10", "--engines", "1", *SHORT, "--splits", "1", "4", "--target-ms", "60"]
    words += ["--window", "1", "--most", "1", "--resolution", "0.4"]

    def check() -> None:
        (row,) = results(tmp_path, *words)
        assert not row["is_simulated"]
        assert row["target_from"] == "--target-ms"
        drawn = plots.PLOTS["schedule"].as_html([row])
        assert "<svg" in drawn
        assert "simulated" not in drawn
        assert row["best_split"] == 4
        assert 50 < row["capacity"] < 105  # 100 where nothing else runs
        assert 30 < row["rate"] < 105
        best = {s: max([p["rate"] for p in row["points"] if p["split"] == s and p["meets"]], default=0) for s in (1, 4)}
        assert best[1] < 0.5 * best[4]
        assert row["baseline_split"] == 4
        assert row["gain"] == 1.0

    on_a_quiet_machine(check, tries=2)


class Measured:
    """A single engine of 10 ms in simulated time, as a bench; counts how often each window was measured."""

    def __init__(self) -> None:
        self.windows: Counter[tuple[float, int]] = Counter()

    def capacity(self, candidate: Candidate) -> float:
        return 100.0

    def window(self, candidate: Candidate, rate: float, number: int) -> LoadResult:
        self.windows[rate, number] += 1
        clock, rng = VirtualClock(), np.random.default_rng([number, round(rate)])
        pool = SimulatedPool(clock, 1, lambda size: rng.exponential(0.01))
        return generate(clock, pool, poisson(rate, rng), fixed(1, 1), duration=60.0, warm_up=5.0)


def test_the_search_is_made_again_from_the_windows_of_the_exhaustive_one() -> None:
    bench, goal, grid = Measured(), Goal(level=0.95, seconds=0.1), Grid(ratio=0.1)
    found = search(bench, [Candidate(1)], goal, grid, "queue", True)
    (once,), (every,), (again,) = found.bisected, found.exhaustive, found.bisected_again
    assert once.rate == again.rate == pytest.approx(every.rate, rel=0.11) == pytest.approx(70, rel=0.15)
    for step in again.trials.keys() & every.trials.keys():
        shared = zip(again.trials[step], every.trials[step], strict=False)
        assert all(ours == theirs for ours, theirs in shared)
    assert again.trials.keys() <= every.trials.keys()
    assert found.not_shared == 0  # every window was measured before
    assert max(bench.windows.values()) == 2  # the search's own and the exhaustive one's


@pytest.mark.slow
def test_an_accelerator_profile_is_called_simulated_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    profile = tmp_path / "gpu.csv"
    profile.write_text("1,0.002\n4,0.002\n")
    words = ["schedule", "--model", "delay:20", "--engines", "1", *SHORT, "--splits", "4", "--target-ms", "60"]
    words += ["--profile", str(profile), "--offload-above", "2", "--window", "1", "--most", "1", "--resolution", "0.3"]
    rows: list[dict[str, Any]] = []

    def check() -> None:
        rows[:] = results(tmp_path, *words)
        assert rows[0]["is_simulated"]
        assert rows[0]["best_offload_above"] == 2  # all go to the accelerator: 10 times as fast
        assert rows[0]["rate"] > 1.5 * rows[0]["baseline_rate"]

    on_a_quiet_machine(check, tries=2)
    assert "simulated" in capsys.readouterr().out
    page = REPORT.as_html(rows)
    assert "simulated accelerator" in page


@pytest.mark.slow
def test_engines_of_a_zoo_model_beside_each_other(tmp_path: Path) -> None:
    words = ["platforms", "--model", "ncf", "--table-mib", "1", "--kept", str(tmp_path / "zoo"), "--batches", "1", "8"]
    rows = results(tmp_path, *words, "--seconds", "0.1", "--rounds", "2")
    assert [(row["engine"], row["batch"]) for row in rows[:4]] == [
        ("tensorflow", 1), ("tensorflow-xla", 1), ("onnx-fp32", 1), ("onnx-int8", 1)
    ]  # fmt: skip
    assert rows[0]["speed_up"] == [1.0, 1.0]
    stated = [row["p50_ms"] for row in rows if row["p50_ms"] is not None]  # the windows are short
    assert all(0 < low <= middle <= high for middle, low, high in stated)
    assert all(speed > 0 for row in rows for speed in row["examples_per_second"])
    assert "<svg" in plots.PLOTS["platforms"].as_html(rows)


def test_candidates_are_sorted_and_within_the_largest_query() -> None:
    args = argparse.Namespace(splits=[512, 64, 4096], largest=1000, profile=None, offload_above=[7])
    assert candidates(args) == [Candidate(64), Candidate(512), Candidate(1000)]
    args.profile = Path("x")
    assert candidates(args)[:2] == [Candidate(64), Candidate(64, 7)]


def test_the_fixed_split_is_the_nearest_to_even() -> None:
    assert baseline(2, 1024, [32, 256, 512]) == Candidate(512)
    assert baseline(40, 1024, [32, 256, 512]) == Candidate(32)
    assert baseline(2, 1024, [1024, 256]) == baseline(2, 1024, [256, 1024]) == Candidate(256)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["load"], "no subject: give --model NAME or --export RUN_DIR/export"),
        (["load", "--model", "rmc9"], "unknown --model 'rmc9', known are: rmc1, rmc2, rmc3, ncf, wnd"),
        (["load", "--model", "delay:5", "--cores", "0"], "--cores is 0, expected a whole number from 1"),
        (["load", "--model", "delay:5", "--repeats", "0"], "--repeats is 0, expected a whole number from 1"),
        (["schedule", "--model", "delay:5", "--splits", "64", "0"], "--splits is 0, expected a whole number from 1"),
        (["load", "--model", "delay:soon"], "--model is 'delay:soon', expected delay:MS with milliseconds above 0"),
        (["load", "--model", "delay:5", "--target", "triton-http"], "--target triton-http needs --export"),
        (["load", "--model", "delay:5", "--target", "in-process", "--stall", "1"], "--stall needs --target pool"),
        (["load", "--model", "delay:5", "--sizes", "fixed:9999"], "the fixed size is 9999, expected 1 to 1024"),
        (["schedule", "--model", "delay:5", "--profile", "nowhere.csv"], "there is no nowhere.csv"),
    ],
)
def test_bad_input_is_one_line(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    printed = capsys.readouterr().err.strip().splitlines()[-1]
    assert printed.lstrip("\r ").startswith("error: ") or "error: " in printed
    assert said in printed


def test_records_of_other_rates_stand_beside_each_other() -> None:
    rows = [
        {"kind": "load", "model": "a", "arrivals": f"poisson, {rate}/s", "mean_s": [1.0, 1.0, 1.0]} for rate in (1, 2)
    ]
    again = json.loads(json.dumps(rows[0]))
    assert len(REPORT.sections([*rows, again])["load"]) == 2
