"""`infer` refuses in one line what a stored engine was not built for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from serving.infer.command import check_fits
from serving.targets import Artifact, Limits, artifact
from tests.conftest import ROOT

STORED = ROOT / "tests" / "format_1" / "vae"


def _stored(folder: Path, **note: object) -> Artifact:
    made = artifact(folder, "tensorrt-fp16")
    made.folder.mkdir(parents=True)
    (made.folder / "conversion.json").write_text(json.dumps(note))
    return made


def test_a_larger_batch_is_refused(tmp_path: Path) -> None:
    made = _stored(tmp_path, limits={"batch": 32, "history": 512, "k": 100}, options={"dla_core": -1})
    check_fits(made, 32, -1)
    with pytest.raises(ValueError, match=r"-b is 33, the engine in .* takes at most 32 requests; .* --max-batch 33"):
        check_fits(made, 33, -1)


def test_another_dla_core_is_refused(tmp_path: Path) -> None:
    made = _stored(tmp_path, limits={"batch": 32}, options={"dla_core": -1})
    with pytest.raises(ValueError, match=r"--useDLACore is 1, the engine in .* was built for the GPU; .* --dla-core 1"):
        check_fits(made, 1, 1)
    check_fits(_stored(tmp_path / "other", options={"dla_core": 1}), 1, 1)


def test_the_limits_of_an_earlier_engine_are_its_options(tmp_path: Path) -> None:
    options = {"max_batch": 16, "max_history": 64, "dla_core": -1}
    assert _stored(tmp_path, options=options).limits == Limits(batch=16, history=64)
    onnx = artifact(tmp_path, "onnx-fp32")
    assert onnx.limits == Limits() and onnx.largest_batch(7) == 7 and onnx.history_limit(None) is None
    onnx.folder.mkdir()
    (onnx.folder / "conversion.json").write_text(json.dumps({"options": options}))
    assert onnx.limits == Limits(), "ONNX models take any batch"


def test_a_dla_core_without_tensorrt_is_refused(python: Any) -> None:
    words = ("--export", STORED, "--format", "onnx", "--fp16", "--useDLACore", "0")
    done = python("serving", "infer", *words)
    assert done.returncode == 1 and done.stdout.splitlines()[-1] == "FAILED"
    assert "error: --useDLACore is 0, but the engine is onnx-fp16: it needs TensorRT\n" in done.stderr
    assert "Traceback" not in done.stderr
