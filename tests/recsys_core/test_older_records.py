"""Records of earlier versions are read in the current form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsys_core.measuring.records import read, settings

RATES = {"gemm_gflops": [100.0], "memory_gb_per_second": [10.0], "limit_per_second": [8.0], "share_of_limit": [0.5]}
STEP = {"batch_size": 5, "precision": "fp32", "operations": 10, "bytes": 4, "bound": "compute"}


@pytest.mark.parametrize(
    ("earlier", "current"),
    [
        ({"kind": "inference", "engine": "onnx"}, {"kind": "serve", "engine": "onnx"}),
        ({"kind": "inference-quality", "MiB": 1.5}, {"kind": "serve-quality", "MiB": 1.5}),
        ({"kind": "schedule", "asked": "pool", "rate": 3.0}, {"kind": "schedule", "target": "pool", "rate": 3.0}),
        ({"kind": "train", "batch_size": 5}, {"kind": "train", "batch_size": 5}),
        ({"kind": "of another program", "model": "a"}, {"kind": "of another program", "model": "a"}),
    ],
)
def test_kinds_and_fields(earlier: dict[str, Any], current: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text(json.dumps(earlier))
    assert read(tmp_path / "r.jsonl") == [current]


@pytest.mark.parametrize(
    ("model", "kind", "unit", "shape"),
    [("VAE-CF", "train", "users", {}), ("he2017-8", "ncf", "samples", {"shape": "he2017-8"})],
)
def test_a_roofline_is_a_training_record(
    model: str, kind: str, unit: str, shape: dict[str, str], tmp_path: Path
) -> None:
    earlier = {"kind": "roofline", "model": model, **STEP, **RATES, "examples_per_second": [4.0]}
    (tmp_path / "r.jsonl").write_text(json.dumps(earlier))
    (found,) = read(tmp_path / "r.jsonl")
    assert (found["kind"], found[f"{unit}_per_second"], found[f"limit_{unit}_per_second"]) == (kind, [4.0], [8.0])
    assert {"model", "examples_per_second", "limit_per_second"}.isdisjoint(found)
    assert shape.items() <= found.items()


def test_the_limit_is_not_a_setting() -> None:
    """Records of `train` and `ncf` from before they held the limit pair with those of today."""
    step = {"kind": "ncf", "shape": "he2017-8", "batch_size": 5, "precision": "fp32"}
    assert settings(step) == settings(step | STEP)
