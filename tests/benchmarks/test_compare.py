"""Noise is not a regression, and a regression is not noise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.__main__ import main
from benchmarks.compare import change, figures


def _record(**values: Any) -> dict[str, Any]:
    return {"kind": "train", "time": "now", "machine": {"cores": 2}, "batch_size": 500, **values}


def test_a_change_beyond_the_noise() -> None:
    found = change([100.0, 101.0, 99.0, 100.0], [80.0, 81.0, 79.0, 80.0])
    assert found.ratio == pytest.approx(0.8, rel=1e-3)
    assert found.verdict(0.01, 0.03) == "SLOWER"
    assert change([80.0, 81.0, 79.0], [100.0, 101.0, 99.0]).verdict(0.01, 0.03) == "faster"


def test_a_change_within_the_noise() -> None:
    assert change([100.0, 60.0, 140.0], [80.0, 120.0, 50.0]).verdict(0.01, 0.03) == "same"


def test_a_change_too_small_to_matter() -> None:
    found = change([100.0, 100.1, 99.9, 100.0], [99.0, 99.1, 98.9, 99.0])
    assert found.chance < 1e-4
    assert found.verdict(0.01, 0.03) == "same"
    assert found.verdict(0.01, 0.005) == "SLOWER"


def test_one_window_proves_nothing() -> None:
    assert change([100.0], [10.0]).verdict(0.01, 0.03) == "same"


def test_false_alarms_are_as_rare_as_asked_for() -> None:
    rng = np.random.default_rng(0)
    windows = np.exp(rng.normal(0, 0.1, (2_000, 2, 5)))
    alarms = sum(change(list(a), list(b)).verdict(0.05, 0.0) != "same" for a, b in windows)
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
    assert "SLOWER" in capsys.readouterr().out
    assert main(_files(tmp_path, [slow], [fast])) == 0
    assert "faster" in capsys.readouterr().out


def test_bad_input_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = _record(users_per_second=[1.0])
    assert main(["compare", str(tmp_path / "none"), str(tmp_path / "none")]) == 1
    assert "there is no" in capsys.readouterr().err
    assert main(_files(tmp_path, [good], [[1]])) == 1
    assert "b.jsonl is '[1]'" in capsys.readouterr().err
    assert main(_files(tmp_path, [good], [_record(users_per_second=[1.0], precision="bf16")])) == 1
    assert "no setting in common" in capsys.readouterr().err
