"""Figures of a busy machine are marked, left out of reports and comparisons, and end the command with a status."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.__main__ import main
from recsys_core.measuring import conditions, records
from recsys_core.measuring.conditions import Watch, busy_reason, quiet_ones

QUIET = {"seconds": 10.0, "others": 0.04, "steal": 0.0}


@pytest.fixture
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_BUSY", raising=False)


def test_reasons() -> None:
    assert busy_reason(QUIET) is None
    assert busy_reason(None) is None  # a record of an earlier version
    assert busy_reason({"seconds": 0.1, "others": 0.9, "steal": 0.0}) is None  # too short to tell
    reason = busy_reason({"seconds": 10.0, "others": 0.34, "steal": 0.0})
    assert reason == "other programs used 34% of its cores (at most 10%)"
    assert busy_reason({"seconds": 10.0, "others": 0.0, "steal": 0.05}) == (
        "its host took 5% of its cores away (at most 2%)"
    )


def test_shares_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """10 s of 2 cores: 12 s busy, of which 9 s ours, and 1 s stolen."""
    times = iter([(100.0, 50.0, 2.0, 20.0), (110.0, 62.0, 3.0, 29.0)])
    monkeypatch.setattr(Watch, "_now", staticmethod(lambda: next(times)))
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    found = Watch().since()
    assert {name: found[name] for name in ("seconds", "others", "steal")} == pytest.approx(
        {"seconds": 10.0, "others": 0.15, "steal": 0.05}
    )


def test_what_a_process_starts_is_its_own() -> None:
    watch = Watch()
    start = watch._start
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 1: pass"], check=True)
    used = watch._now()[3] - start[3]
    assert used >= 0.9


def _records(folder: Path, **about: Any) -> Path:
    values = {"kind": "prep", "way": "ours", "wall_s": [1.0, 1.1, 0.9], **about}
    path = folder / "r.jsonl"
    path.write_text(json.dumps(values) + "\n")
    return path


def test_busy_records_are_left_out(strict: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    busy, old = {"conditions": {**QUIET, "others": 0.5}}, {"kind": "train"}
    quiet, late = {"conditions": QUIET, "invalid": []}, {"conditions": QUIET, "invalid": ["the generator was late"]}
    assert quiet_ones([busy, quiet, late, old]) == ([quiet, old], 2)
    monkeypatch.setenv("RECSYS_BUSY", "1")
    assert quiet_ones([busy, quiet, old]) == ([busy, quiet, old], 0)


def test_compare_says_what_it_leaves_out(strict: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = str(_records(tmp_path, conditions={**QUIET, "steal": 0.3}))
    assert main(["compare", path, path]) == 1
    said = capsys.readouterr().err
    assert "1 records of a busy machine left out" in said and "no setting in common" in said
    assert main(["compare", path, path, "--busy"]) == 0
    os.environ.pop("RECSYS_BUSY", None)


@pytest.mark.parametrize(("others", "status"), [(0.02, 0), (0.6, conditions.BUSY)])
def test_the_status_of_a_command(
    others: float,
    status: int,
    strict: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = {"seconds": 5.0, "others": others, "steal": 0.0}
    monkeypatch.setattr(Watch, "since", lambda self: found)

    def measured(args: Any) -> int:
        records.record(args.results, "prep", {"way": "ours", "wall_s": [1.0]})
        return 0

    monkeypatch.setattr("benchmarks.prep.main", measured)
    results = tmp_path / "r.jsonl"
    assert main(["prep", "--results", str(results)]) == status
    assert json.loads(results.read_text())["conditions"] == found
    said = capsys.readouterr().err
    assert ("not valid: 1 record (prep: other programs used 60%" in said) == bool(status)
