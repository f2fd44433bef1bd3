"""A GPU computes what the CPU computes: losses, scores, metrics, answers of an export. Skipped without a GPU.

GPU_TESTS_ON=cpu compares the CPU with itself instead: to try these tests, not the GPU.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.gpu import card
from benchmarks.gpu.running import tensorflow_environment
from tests.conftest import ROOT
from tests.gpu.compared import METRICS, MODELS, NCF_METRICS, PRECISIONS, STEPS

BOUNDS = {"fp32": 1e-4, "bf16": 1e-2, "fp16": 2e-3}
"""Largest relative difference of a loss to the CPU's in fp32, in 50 steps. The CPU's own losses in bf16 differ by up to
3e-3 (NeuMF), in fp16 by up to 5e-5."""
SCORE_BOUND = 2e-5
"""Of the largest score: float32 has errors of about 1e-6, TF32 of about 3e-4."""
ON_CPU = os.environ.get("GPU_TESTS_ON") == "cpu"
pytestmark = [
    pytest.mark.skipif(not ON_CPU and bool(card.missing()), reason=card.missing() or "there is a GPU"),
    pytest.mark.timeout(240),
]


def results_on(device: str, data: Path, pairs: Path, export: Path) -> dict[str, Any]:
    """What `tests.gpu.program` prints on a device: the CPU with the sparse step, the GPU with the compiled one."""
    env = tensorflow_environment(os.environ) | ({"CUDA_VISIBLE_DEVICES": "-1"} if device == "cpu" or ON_CPU else {})
    words = [sys.executable, "-m", "tests.gpu.program", str(data), str(pairs), str(export)]
    words.append("sparse" if device == "cpu" else "compiled")
    done = subprocess.run(words, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert done.returncode == 0 and lines, f"on the {device}: {(done.stdout + done.stderr)[-3000:]}"
    return json.loads(lines[-1].removeprefix("RESULT "))


@pytest.fixture(scope="module")
def both(
    tiny_data: Path, tiny_pairs: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Results on the CPU and on the GPU, in this order: the CPU writes the export that the GPU answers from."""
    export = tmp_path_factory.mktemp("gpu") / "export"
    return results_on("cpu", tiny_data, tiny_pairs, export), results_on("gpu", tiny_data, tiny_pairs, export)


Both = tuple[dict[str, Any], dict[str, Any]]


def test_each_ran_where_it_should(both: Both) -> None:
    on_cpu, on_gpu = both
    assert on_cpu["gpus"] == 0
    assert on_gpu["gpus"] >= (0 if ON_CPU else 1), "TensorFlow finds no GPU: is it the build for GPUs?"


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_losses_agree(both: Both, model: str, precision: str) -> None:
    on_cpu, on_gpu = (np.array(found["losses"][f"{model}:{kind}"]) for found, kind in zip(
        both, ("fp32", precision), strict=True))  # fmt: skip
    assert len(on_cpu) == len(on_gpu) == STEPS
    assert np.abs(on_gpu / on_cpu - 1).max() < BOUNDS[precision]


def test_scores_are_float32_though_tensorflow_would_take_tf32(both: Both) -> None:
    assert [found["score_error"] < SCORE_BOUND for found in both] == [True, True]


@pytest.mark.parametrize("blocks", ["metrics", "metrics in blocks"])
@pytest.mark.parametrize("name", METRICS)
def test_metrics_agree(both: Both, name: str, blocks: str) -> None:
    on_cpu, on_gpu = (found[blocks][name] for found in both)
    assert on_gpu == pytest.approx(on_cpu, abs=1e-4)


@pytest.mark.parametrize("name", NCF_METRICS)
def test_metrics_of_ncf_agree(both: Both, name: str) -> None:
    """Ranked by the compiled evaluation on the GPU, by TensorFlow's own operators on the CPU."""
    on_cpu, on_gpu = (found["ncf metrics"][name] for found in both)
    assert on_gpu == pytest.approx(on_cpu, abs=2e-3)  # a score may round to either side of another: 600 users


def test_an_export_of_the_cpu_gives_its_answers_on_the_gpu(both: Both) -> None:
    assert both[1]["export"] and all(both[1]["export"].values()), both[1]["export"]
