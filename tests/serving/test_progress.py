"""Commands name each long step on stderr when it begins."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from serving.progress import step
from tests.conftest import ROOT


def test_a_step_is_a_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    step("loading")
    assert capsys.readouterr() == ("", "loading ...\n")


@pytest.mark.slow
def test_convert_and_infer_name_their_steps(python: Any, tmp_path: Path) -> None:
    """The steps of a conversion happen in a child process."""
    run = tmp_path / "run"
    shutil.copytree(ROOT / "tests" / "format_1" / "vae", run)
    done = python("serving", "convert", "--export", run)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.splitlines() == [
        "onnx-fp32: starting a process ...",
        "onnx-fp32: loading TensorFlow and converting the exported model ...",
        "onnx-fp32: loading the converted model ...",
        "onnx-fp32: verifying with the golden requests ...",
        "onnx-fp32: verifying with 10 test users ...",
    ]
    use = f"use it with: python -m serving recommend --export {run} --model onnx-fp32"
    assert done.stdout.splitlines()[-1] == use
    done = python("serving", "infer", "--export", run, "-b", "4", "-p", "2", "--repeat", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.splitlines() == ["loading onnx-fp32 ...", "running 4 requests 2 times in 2 processes ..."]
