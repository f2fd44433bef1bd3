"""`benchmarks serve` measures what has been converted and verified."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from serving.__main__ import main as serving
from tests.conftest import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("error::RuntimeWarning")]
SHORT = ("--batches", "1", "--seconds", "0.01", "--windows", "1")


def _measured(run: Path, *words: str) -> list[str]:
    """The engines that were measured, in their order."""
    results = run / "results.jsonl"
    results.unlink(missing_ok=True)
    assert main(["serve", "--export", str(run), *SHORT, "--results", str(results), *words]) == 0
    records = [json.loads(line) for line in results.read_text().splitlines()]
    return [record["engine"] for record in records if record["kind"] == "serve"]


def test_all_verified_conversions_are_measured(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    shutil.copytree(ROOT / "tests" / "format_1" / "vae", run)
    assert _measured(run) == ["tensorflow"]
    command = f"python -m serving convert --export {run}/export --precision fp32,fp16,int8"
    assert f"only the exported model is measured; convert it with:\n  {command}\n" in capsys.readouterr().err

    for target in ("onnx", "savedmodel"):
        assert serving(["convert", "--export", str(run), "--to", target, "--in-this-process"]) == 0
    assert _measured(run) == ["tensorflow", "onnx-fp32", "savedmodel-fp32"]
    assert _measured(run, "--variants", "savedmodel-fp32") == ["tensorflow", "savedmodel-fp32"]

    (run / "converted" / "savedmodel-fp32" / "verify.json").unlink()
    capsys.readouterr()
    assert _measured(run) == ["tensorflow", "onnx-fp32"]
    assert f"left out: {run}/converted/savedmodel-fp32 was not verified" in capsys.readouterr().err
    assert main(["serve", "--export", str(run), "--variants", "savedmodel-fp32"]) == 1
    assert "savedmodel-fp32 was not verified" in capsys.readouterr().err
