"""Records of `load_study` as committed ones: their times are intervals, and not windows."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.pages import collect
from benchmarks.pages.values import shown, spec

ABOUT = {"time": "2026-01-31T23:59:00+00:00", "command": "python -m load_study load --model ncf --kept /tmp/zoo"}


def test_times_of_a_load_are_intervals(tmp_path: Path) -> None:
    load = {"kind": "load", **ABOUT, "mean_s": [0.02, 0.01, 0.04], "p99_s": [0.05, 0.03, None], "p95_s": None}
    other = {"kind": "platforms", **ABOUT, "p50_ms": [2.0, 1.0, 4.0], "mean_s": [1.0, 2.0]}
    path = tmp_path / "r.jsonl"
    path.write_text(f"{json.dumps(load)}\n{json.dumps(other)}\n")
    found = {record["kind"]: record for record in collect.collected(path)}
    assert found["load"]["mean_s"] == {"value": 0.02, "low": 0.01, "high": 0.04}
    assert shown(found["load"]["mean_s"], spec("mean_s .0f x1000")) == "20 (10 to 40)"
    assert shown(found["load"]["p99_s"], spec("p99_s .0f x1000")) == "50 (30 to ?)"
    assert found["load"]["p95_s"] is None
    assert found["load"]["command"] == "python -m load_study load --model ncf"
    assert found["platforms"]["p50_ms"] == [2.0, 1.0, 4.0] and found["platforms"]["mean_s"] == [1.0, 2.0]
