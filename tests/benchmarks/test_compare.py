"""Noise is not a regression, and a regression is not noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.compare import change, change_of_windows, figures
from recsys_core.measuring.figures import figure, values_of


def _record(**values: Any) -> dict[str, Any]:
    return {"kind": "train", "time": "now", "machine": {"cores": 2}, "batch_size": 500, **values}


def test_a_change_beyond_the_noise() -> None:
    found = change_of_windows([100.0, 101.0, 99.0, 100.0], [80.0, 81.0, 79.0, 80.0])
    assert found.ratio == pytest.approx(0.8, rel=1e-3)
    assert found.verdict(0.01, 0.03) == "WORSE"
    assert change_of_windows([80.0, 81.0, 79.0], [100.0, 101.0, 99.0]).verdict(0.01, 0.03) == "better"


def test_a_change_within_the_noise() -> None:
    assert change_of_windows([100.0, 60.0, 140.0], [80.0, 120.0, 50.0]).verdict(0.01, 0.03) == "same"


def test_a_change_too_small_to_matter() -> None:
    found = change_of_windows([100.0, 100.1, 99.9, 100.0], [99.0, 99.1, 98.9, 99.0])
    assert found.chance < 1e-4
    assert found.verdict(0.01, 0.03) == "same"
    assert found.verdict(0.01, 0.005) == "WORSE"


def test_one_window_proves_nothing() -> None:
    assert change_of_windows([100.0], [10.0]).verdict(0.01, 0.03) == "one window"


def test_false_alarms_are_as_rare_as_asked_for() -> None:
    rng = np.random.default_rng(0)
    windows = np.exp(rng.normal(0, 0.1, (2_000, 2, 5)))
    alarms = sum(change_of_windows(list(a), list(b)).verdict(0.05, 0.0) != "same" for a, b in windows)
    assert 0.02 < alarms / 2_000 < 0.06  # Welch's test is a little shy with few windows


def test_only_what_was_measured_alike_is_compared() -> None:
    found = figures([_record(users_per_second=[1.0, 2.0], gemm_gflops=[5.0]), _record(users_per_second=[3.0])])
    assert found == {("train", "batch_size=500", "users_per_second"): [1.0, 2.0, 3.0]}
    other = figures([_record(users_per_second=[1.0], precision="bf16")])
    assert list(other) == [("train", "batch_size=500", "precision=bf16", "users_per_second")]


def _files(folder: Path, before: list[Any], after: list[Any]) -> list[str]:
    paths = [folder / "a.jsonl", folder / "b.jsonl"]
    for path, lines in zip(paths, (before, after), strict=True):
        path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return ["compare", *map(str, paths)]


def test_the_exit_status_says_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fast, slow = _record(users_per_second=[100.0, 101.0, 99.0]), _record(users_per_second=[50.0, 51.0, 49.0])
    assert main(_files(tmp_path, [fast], [slow])) == 1
    assert "WORSE" in capsys.readouterr().out
    assert main(_files(tmp_path, [slow], [fast])) == 0
    assert "better" in capsys.readouterr().out


def test_bad_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = _record(users_per_second=[1.0])
    assert main(["compare", str(tmp_path / "none"), str(tmp_path / "none")]) == 1
    assert "there is no" in capsys.readouterr().err
    assert main(_files(tmp_path, [good], [[1]])) == 1
    assert "b.jsonl is '[1]'" in capsys.readouterr().err
    assert main(_files(tmp_path, [good], [_record(users_per_second=[1.0], precision="bf16")])) == 1
    assert "no setting in common" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("kind", "name", "better"),
    [
        ("train", "users_per_second", "more"),
        ("train", "limit_users_per_second", None),  # the machine's, not ours
        ("train", "gemm_gflops", None),
        ("peers", "peer_examples_per_second", None),
        ("prep", "wall_s", "less"),
        ("prep", "peak_gib", "less"),
        ("serve", "p99_ms", "less"),
        ("serve-quality", "ndcg@100", "more"),
        ("serve-quality", "MiB", "less"),
        ("load", "p95_of_all_s", "less"),
        ("load", "offered_rate", None),
        ("load", "completed_rate", "more"),
        ("schedule", "rate", "more"),
        ("scaling", "step", "less"),
        ("speedup", "step", "more"),  # the gain of a rung
        ("embeddings", "by_rows_ms", "less"),
    ],
)
def test_which_way_is_better(kind: str, name: str, better: str | None) -> None:
    found = figure(kind, name)
    assert (None if found is None else "more" if found.more_is_better else "less") == better


def test_what_is_no_figure_has_no_values() -> None:
    assert values_of("train", "users_per_second", [1.0, 2.0]) == [1.0, 2.0]
    assert values_of("gpu-train", "step", "compiled") is None
    assert values_of("load", "p99_s", None) is None  # too few queries to state it
    assert values_of("load", "p95_s", [0.5, 0.4, None]) == [0.5, 0.4, float("inf")]


def test_slower_preparation_and_latency_and_more_memory_are_worse() -> None:
    """Records of preparation and serving had no figures at all: any regression passed."""
    assert change("prep", "wall_s", [5.0, 5.1, 4.9], [7.0, 7.1, 6.9]).verdict(0.01, 0.03) == "WORSE"
    assert change("prep", "peak_gib", [0.7, 0.71, 0.7], [0.5, 0.51, 0.5]).verdict(0.01, 0.03) == "better"
    assert change("serve", "p95_ms", [10.0, 9.0, 11.0], [14.0, 12.0, 16.0]).verdict(0.01, 0.03) == "WORSE"
    assert change("serve", "p95_ms", [10.0, 9.0, 13.0], [14.0, 12.0, 16.0]).verdict(0.01, 0.03) == "same"
    assert change("serve-quality", "ndcg@100", [0.40], [0.36]).verdict(0.01, 0.03) == "WORSE"
    assert change("serve-quality", "ndcg@100", [0.40], [0.40]).verdict(0.01, 0.03) == "same"


def test_a_slower_server_is_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [
        {"kind": "serve", "engine": "onnx-fp32", "batch": 1, "runs": 500, "p50_ms": [2.0 * k, 1.9 * k, 2.1 * k],
         "p95_ms": [3.0 * k, 2.8 * k, 3.2 * k], "p99_ms": None, "users_per_second": [500.0 / k, 490.0 / k, 510.0 / k]}
        for k in (1.0, 1.3)
    ]  # fmt: skip
    assert main(_files(tmp_path, lines[:1], lines[1:])) == 1
    assert capsys.readouterr().out.count("WORSE") == 3
