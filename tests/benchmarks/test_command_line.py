"""The command lines: help without slow imports, and one line for a command that has another name today."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks.__main__ import COMMAND_LINE, main
from load_study.__main__ import COMMAND_LINE as LOAD_STUDY
from tests.conftest import ROOT

SLOW = {"tensorflow", "keras", "pandas", "matplotlib", "scipy", "onnx", "onnxruntime", "torch", "horovod"}
MODULES = [f"{line.package}.{action}" for line in (COMMAND_LINE, LOAD_STUDY) for action in line.actions]


@pytest.mark.parametrize(
    ("action", "command"),
    [
        ("load", "is now `python -m load_study load`"),
        ("schedule", "is now `python -m load_study schedule`"),
        ("operators", "is now `python -m load_study operators`"),
        ("platforms", "is now `python -m load_study platforms`"),
        ("study", "is now `python -m load_study study`"),
        ("inference", "is now `python -m benchmarks serve`"),
        ("roofline", "is now part of `python -m benchmarks train` and `python -m benchmarks ncf`"),
        ("ncf-table", "is now `python -m benchmarks.reproduce.ncf_table`"),
    ],
)
def test_a_moved_command_names_the_one_of_today(action: str, command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([action, "--model", "wnd"]) == 2
    assert capsys.readouterr().err == f"error: `benchmarks {action}` {command}\n"


@pytest.mark.parametrize("package", ["benchmarks", "load_study"])
def test_help_lists_the_actions(package: str) -> None:
    line = COMMAND_LINE if package == "benchmarks" else LOAD_STUDY
    done = subprocess.run([sys.executable, "-m", package, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert all(f"    {action} " in done.stdout for action in line.actions)


def test_every_action_has_its_module() -> None:
    for name in MODULES:
        module = import_module(name)
        assert callable(module.add_arguments) and callable(module.main) and module.__doc__


def test_no_parser_needs_a_slow_package() -> None:
    code = f"import sys, json, {', '.join(MODULES)}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not SLOW & set(json.loads(done.stdout))


def test_records_of_earlier_commands_are_reported_and_compared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rates = {"gemm_gflops": [9.0], "memory_gb_per_second": [1.0], "limit_per_second": [8.0], "share_of_limit": [0.5]}
    step = {"operations": 10.0, "bytes": 4.0, "operations_per_byte": 2.5, "ridge": 1.0, "bound": "compute"}
    about = {"kind": "roofline", "model": "nvidia", "batch_size": 5, "precision": "fp32"}
    files = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for file, speed in zip(files, (1.0, 2.0), strict=True):
        rows = [about | rates | step | {"examples_per_second": [speed, 1.01 * speed, 0.99 * speed]}]
        rows.append({"kind": "inference", "engine": "onnx-fp32", "batch": 1, "p50_ms": 0.25})
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    page = tmp_path / "p.html"
    assert main(["report", "--results", str(files[0]), "--html", str(page)]) == 0
    text = page.read_text()
    assert "NeuMF training step" in text and "nvidia" in text and "onnx-fp32" in text and "0.25" in text
    assert main(["compare", *map(str, files)]) == 0
    assert "samples_per_second" in capsys.readouterr().out
