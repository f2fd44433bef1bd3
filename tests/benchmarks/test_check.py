"""`benchmarks check`: its rule by simulation, and what becomes of runs that do not count."""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmarks import check, check_parts, check_rule
from benchmarks.__main__ import main
from benchmarks.check_parts import PARTS, Part, measure
from benchmarks.check_rule import FASTER, LEAST_RUNS, MARGIN, SAME, SLOWER, judge
from recsys_core.measuring.machine import machine
from recsys_core.measuring.records import read
from tests.conftest import ROOT

SETS = 400
NOISE = 0.03
"""Standard deviation of the logarithm of a run where no runs are recorded."""


def _noise() -> float:
    """The largest of a part's, as it was measured on the machine of the committed runs."""
    path = ROOT / check.RECORDED
    runs = [values for values in read(path) if values["kind"] == "check"] if path.exists() else []
    noise = []
    for part in PARTS:
        logs = [math.log(statistics.median(v["ratio"])) for v in runs if v["part"] == part and not v["invalid"]]
        noise += [statistics.stdev(logs)] if len(logs) >= LEAST_RUNS else []
    return max(noise, default=NOISE)


class _Simulated(check.Check):
    """Sets whose runs are drawn: each part is slower than the recorded runs, by the same noise."""

    def __init__(self, slowdown: float, noise: float) -> None:
        self.args = argparse.Namespace(parts=list(PARTS), results=Path("none"))
        self.rng, self.mean, self.noise = np.random.default_rng(1), -math.log1p(slowdown), noise

    def drawn(self, mean: float, count: int) -> list[float]:
        return list(np.exp(self.rng.normal(mean, self.noise, count)))

    def runs(self, parts: Sequence[str], slow: float, about: str, to: Path) -> dict[str, list[dict[str, Any]]]:
        return {part: [{"ratio": [ratio]} for ratio in self.drawn(self.mean, LEAST_RUNS)] for part in parts}


def _verdicts(slowdown: float, noise: float) -> list[list[str]]:
    """Of each set, the verdicts of its parts."""
    checked = _Simulated(slowdown, noise)
    recorded = [{part: checked.drawn(0.0, check.RECORDED_RUNS) for part in PARTS} for _ in range(SETS)]
    return [[found.text for found in checked.set(ratios)] for ratios in recorded]


def test_a_slowdown_of_25_percent_is_found_19_times_of_20() -> None:
    assert statistics.mean(text == SLOWER for found in _verdicts(0.25, _noise()) for text in found) >= 0.95


@pytest.mark.parametrize("noise", [0.005, 0.02, 0.04, 0.08])
def test_false_alarms_are_at_most_1_in_100_sets(noise: float) -> None:
    """Of a set of five parts, each as much slower as the margin allows: the worst case. At 0.04 and 0.08 most parts are
    too noisy for three runs and are judged by six."""
    assert statistics.mean(SLOWER in found for found in _verdicts(MARGIN, noise)) <= 0.01
    assert not any(SLOWER in found for found in _verdicts(0.0, noise))


def test_where_noise_would_hide_a_slowdown_nothing_is_said() -> None:
    rng = np.random.default_rng(0)
    missed = said = 0
    for _ in range(SETS):
        recorded, new = rng.normal(0, 0.07, check.RECORDED_RUNS), rng.normal(-math.log(1.25), 0.07, LEAST_RUNS)
        found = judge(list(recorded), list(new), len(PARTS))
        said += not found.is_too_noisy
        missed += found.verdict == SAME and not found.is_too_noisy
    assert missed / SETS < 0.05
    assert said < SETS, "else the rule says something of any noise"


def test_a_judgement_by_hand() -> None:
    # Means 0 and log 0.8; each side varies by 0.02 about its mean: 4 squares of 0.0004 over 4 degrees of freedom.
    recorded, new = [-0.02, 0.0, 0.02], [math.log(0.8) + d for d in (-0.02, 0.0, 0.02)]
    found = judge(recorded, new)
    assert found.change == pytest.approx(0.8)
    assert found.noise == pytest.approx(0.02)
    assert found.bound == pytest.approx(1.05 * math.exp(3.7469 * 0.02 * math.sqrt(2 / 3)) - 1, rel=1e-4)  # t(0.99, 4)
    assert found.verdict == SLOWER
    assert judge(new, recorded).verdict == FASTER
    assert judge(recorded, recorded).verdict == SAME
    assert judge([0.0] * 3, [0.0] * 3).noise == check_rule.LEAST_NOISE
    with pytest.raises(ValueError, match="3 recorded and 2 new runs, expected at least 3 of each"):
        judge(recorded, new[:2])


def test_slowing_a_part_makes_it_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    """A unit of 1 ms, and one that computes 25 % longer, by a clock on which a look takes 1 us."""
    now = 0.0

    def look() -> float:
        nonlocal now
        now += 1e-6
        return now

    def unit() -> float:
        nonlocal now
        now += 1e-3
        return 1.0

    monkeypatch.setattr(check_parts, "time", SimpleNamespace(perf_counter=look, thread_time=look))
    part = Part(unit=unit, limit=lambda seconds: 2_000.0)
    plain, slowed = (measure(part, 3, 0.05, slow) for slow in (0.0, 0.25))
    assert plain["ratio"] == pytest.approx([0.5] * 3, rel=0.01)
    assert slowed["ratio"] == pytest.approx([0.4] * 3, rel=0.01)
    assert plain["rounds"]["kept"] == 3 and plain["rounds"]["stable"]


class _Measured:
    """Stands for the processes: answers of `result_of`, by how much slower each part is."""

    def __init__(self, slower: dict[str, list[float]], invalid: Sequence[str] = ()) -> None:
        self.slower, self.invalid, self.asked = slower, list(invalid), list[list[str]]()
        """`invalid` names a part once for each of its runs that does not count, from the first on."""

    def __call__(self, words: list[str], **_: Any) -> dict[str, Any]:
        parts = words[words.index("--parts") + 1 : words.index("--windows")]
        self.asked.append(parts)
        found = {}
        for part in parts:
            times = self.slower.get(part, [])
            ratio = 0.5 / (times.pop(0) if times else 1.0)
            found[part] = {"ratio": [ratio], "rounds": {}, "invalid": ["busy"] if part in self.invalid else []}
            if part in self.invalid:
                self.invalid.remove(part)
        return found


def _status(folder: Path, measured: _Measured, monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "done").touch()
    recorded = folder / "recorded.jsonl"
    about = {"kind": "check", "slowed": "0", "rounds": {}, "machine": machine()}
    if not recorded.exists():
        lines = [about | {"part": part, "ratio": [0.5 * k]} for part in PARTS for k in (0.99, 1.0, 1.01, 1.0)]
        recorded.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    monkeypatch.setattr(check, "result_of", measured)
    monkeypatch.delenv("RECSYS_BUSY", raising=False)
    about_files = ["--folder", str(folder / "in"), "--recorded", str(recorded), "--results", str(folder / "r.jsonl")]
    return main(["check", *about_files, *words])


def test_an_unchanged_program_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = _Measured({})
    assert _status(tmp_path, measured, monkeypatch) == 0
    assert measured.asked == [list(PARTS)] * LEAST_RUNS


def test_a_slower_part_is_measured_again_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = _Measured({"serving": [1.25] * 6})
    assert _status(tmp_path, measured, monkeypatch) == 1
    assert measured.asked[LEAST_RUNS:] == [["serving"]] * LEAST_RUNS
    assert capsys.readouterr().out.count(SLOWER) == 1


def test_a_part_that_is_slower_once_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _status(tmp_path, _Measured({"serving": [1.25] * 3}), monkeypatch) == 0


def test_runs_of_a_busy_machine_are_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _status(tmp_path, _Measured({"serving": [9.0] * 5}, invalid=["serving"] * 5), monkeypatch) == 4
    said = capsys.readouterr()
    assert "0 valid runs, 3 are needed" in said.out and SLOWER not in said.out
    assert "not valid: a part could not be judged" in said.err


def test_a_run_of_a_busy_machine_is_measured_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = _Measured({"serving": [9.0]}, invalid=["serving"])
    assert _status(tmp_path, measured, monkeypatch) == 0
    assert measured.asked[LEAST_RUNS:] == [["serving"]]


def test_a_part_whose_runs_differ_is_judged_by_twice_as_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = _Measured({"serving": [0.93, 1.07, 1.0, 1.0, 1.0, 1.0]})
    assert _status(tmp_path, measured, monkeypatch) == 0
    assert measured.asked[LEAST_RUNS:] == [["serving"]] * LEAST_RUNS
    measured = _Measured({"serving": [0.8, 1.25] * 3})
    assert _status(tmp_path, measured, monkeypatch) == 4
    assert "runs differ by" in capsys.readouterr().out


def test_runs_of_another_processor_are_not_compared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    line = {"kind": "check", "part": "serving", "slowed": "0", "ratio": [9.0], "machine": {"cpu": "another"}}
    (tmp_path / "recorded.jsonl").write_text(f"{json.dumps(line)}\n" * 9)
    assert _status(tmp_path, _Measured({}), monkeypatch) == 4
    assert "0 valid runs are recorded for this processor" in capsys.readouterr().out


def test_noise_that_would_hide_a_slowdown_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _status(tmp_path, _Measured({"serving": [1.3, 1.0, 0.8]}), monkeypatch) == 4
    assert "so that a slowdown of up to" in capsys.readouterr().out


def test_recorded_runs_are_appended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _status(tmp_path, _Measured({}), monkeypatch, "--record", "2", "--parts", "serving") == 0
    found = read(tmp_path / "recorded.jsonl")
    assert [values["part"] for values in found[-2:]] == ["serving"] * 2
    assert "command" in found[-1] and "versions" in found[-1]


def test_recorded_runs_name_no_path_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sys.orig_argv", ["python", "-m", "benchmarks", "check", "--folder", "/a/b", "--parts", "serving"]
    )
    assert _status(tmp_path, _Measured({}), monkeypatch, "--record", "1", "--parts", "serving") == 0
    assert read(tmp_path / "recorded.jsonl")[-1]["command"] == "python -m benchmarks check --parts serving"


def test_the_proof_wants_the_slowed_set_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Honours(_Measured):
        def __call__(self, words: list[str], env: Any = None, **_: Any) -> dict[str, Any]:
            found = super().__call__(words)
            slow = float(env["RECSYS_SLOW_STEP"]) if env else 0.0
            return {p: v | {"ratio": [r / (1 + slow) for r in v["ratio"]]} for p, v in found.items()}

    assert _status(tmp_path, Honours({}), monkeypatch, "--prove") == 0
    rows = [values for values in read(tmp_path / "r.jsonl") if values["kind"] == "check-verdict"]
    assert [row["verdict"] for row in rows] == [SAME] * 15 + [SLOWER] * 5
    assert _status(tmp_path, _Measured({}), monkeypatch, "--prove") == 1, "slowed, and not found"
    assert _status(tmp_path, Honours({"serving": [1.25] * 6}), monkeypatch, "--prove") == 1, "unchanged, and slower"


@pytest.mark.slow
def test_every_part_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Real processes: the inputs, and one short run of all parts."""
    monkeypatch.setenv("RECSYS_BUSY", "1")
    words = ["--folder", str(tmp_path / "in"), "--runs", "3", "--windows", "1", "--seconds", "0.01", "--record", "1"]
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    assert parser.parse_args(words).record == 1
    recorded = tmp_path / "recorded.jsonl"
    assert main(["check", *words, "--recorded", str(recorded), "--results", str(tmp_path / "r.jsonl")]) == 0
    assert [values["part"] for values in read(recorded)] == list(PARTS)
    assert all(ratio > 0 for values in read(recorded) for ratio in values["ratio"])
