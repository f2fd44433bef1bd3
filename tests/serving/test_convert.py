"""What becomes of a conversion: made, failed or skipped, each with its reason, and nothing half done left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from serving.export_folder import digest, open_export
from tests.conftest import ROOT

pytestmark = pytest.mark.slow


def _left(folder: Path) -> set[str]:
    """Names in a folder of converted models, without logs."""
    return {p.name for p in folder.iterdir() if p.suffix != ".log"} if folder.is_dir() else set()


@pytest.fixture
def copy(vae_export: Path, tmp_path: Path) -> Path:
    """A copy of the export, to be damaged."""
    return Path(shutil.copytree(vae_export, tmp_path / "export"))


def test_a_damaged_model_is_failed_and_leaves_nothing(copy: Path, python: Any, tmp_path: Path) -> None:
    damaged = copy / "saved_model" / "saved_model.pb"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    done = python("serving", "convert", "--export", copy, "--to", "onnx,savedmodel", "--models", tmp_path / "models")
    lines = done.stdout.splitlines()
    assert done.returncode == 1
    assert [line.split()[:2] for line in lines] == [["onnx-fp32", "FAILED"], ["savedmodel-fp32", "FAILED"]]
    assert all("ended with status" in line for line in lines)
    assert "Traceback" not in done.stdout + done.stderr
    assert _left(tmp_path / "models") == set()
    assert (tmp_path / "models" / "onnx-fp32.log").is_file(), "the whole story is kept"


def test_one_that_fails_takes_no_other_with_it(copy: Path, python: Any, tmp_path: Path) -> None:
    (copy / "calibration.npz").write_bytes(b"no archive")
    models = tmp_path / "models"
    done = python("serving", "convert", "--export", copy, "--precision", "int8,bf16,fp32", "--models", models)
    first, second, third = done.stdout.splitlines()[:3]
    assert done.returncode == 1
    assert first.split()[:2] == ["onnx-int8", "FAILED"]
    assert "calibration.npz is damaged" in first
    assert second.split()[:2] == ["onnx-bf16", "SKIPPED"]
    assert "onnx has fp32, fp16, int8, not bf16" in second
    assert third.split()[:2] == ["onnx-fp32", "OK"]
    assert _left(models) == {"onnx-fp32"}
    assert {p.name for p in (models / "onnx-fp32").iterdir()} == {
        *("model.onnx", "conversion.json", "reproduce.sh", "verify.json")
    }


def test_one_that_is_killed_is_failed_and_leaves_nothing(vae_export: Path, tmp_path: Path) -> None:
    """As by the kernel when memory runs out."""
    words = ["-m", "serving", "convert", "--export", vae_export, "--models", tmp_path / "models"]
    running = subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 120
        while not (found := list((tmp_path / "models").glob(".making-*"))):
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        os.kill(int(found[0].name.rpartition("-")[2]), signal.SIGKILL)
        out, _ = running.communicate(timeout=60)
    finally:
        running.kill()
        running.wait()
    assert running.returncode == 1
    assert "FAILED" in out and "signal 9" in out
    assert _left(tmp_path / "models") == set()


def test_a_failure_leaves_the_earlier_conversion(
    copy: Path, artifacts: dict[str, Path], python: Any, tmp_path: Path
) -> None:
    shutil.copytree(artifacts["vae"] / "onnx-fp32", tmp_path / "models" / "onnx-fp32")
    before = digest(tmp_path / "models" / "onnx-fp32")
    (copy / "saved_model" / "saved_model.pb").write_bytes(b"\0")
    done = python("serving", "convert", "--export", copy, "--models", tmp_path / "models")
    assert done.returncode == 1
    assert "verified" not in done.stdout, "that was the earlier one"
    assert _left(tmp_path / "models") == {"onnx-fp32"}
    assert digest(tmp_path / "models" / "onnx-fp32") == before


def test_status_3_where_all_is_skipped(vae_export: Path, python: Any, tmp_path: Path) -> None:
    words = ("serving", "convert", "--export", vae_export, "--models", tmp_path / "models")
    done = python(*words, "--to", "onnx,savedmodel,tf-trt", "--precision", "bf16")
    assert done.returncode == 3
    assert done.stdout.count("SKIPPED") == 3
    assert "tf-trt has fp32, fp16, int8, not bf16" in done.stdout
    assert _left(tmp_path / "models") == set()


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="this machine has a GPU")
def test_what_the_machine_lacks_is_skipped_with_the_reason(vae_export: Path, python: Any, tmp_path: Path) -> None:
    done = python("serving", "convert", "--export", vae_export, "--to", "tensorrt", "--models", tmp_path / "models")
    assert done.returncode == 3
    assert done.stdout.split(maxsplit=2)[:2] == ["tensorrt-fp32", "SKIPPED"]
    assert "package tensorrt is not installed" in done.stdout
    assert "no NVIDIA GPU" in done.stdout
    assert _left(tmp_path / "models") == set()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("--to", "onxx"), "onxx"),
        (("--to", ""), "unknown target"),
        (("--to", "onnx,"), "unknown target"),
        (("--precision", "fp8"), "fp8"),
        (("--precision", "../fp32"), "../fp32"),
        (("--max-batch", "0"), "--max-batch"),
        (("--optimal-batch", "2000"), "--optimal-batch"),
        (("--opset", "1"), "--opset"),
        (("--users", "0"), "--users"),
        (("--users", "-1"), "--users"),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    vae_export: Path, python: Any, tmp_path: Path, words: tuple[str, str], name: str
) -> None:
    done = python("serving", "convert", "--export", vae_export, "--models", tmp_path / "models", *words)
    assert (done.returncode, done.stdout) == (2, ""), done.stdout
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert name in done.stderr
    assert not (tmp_path / "models").exists()


def test_no_export_is_one_line_and_status_2(python: Any, tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text("{")
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "export.json").write_text('{"format_version": 1}')
    for folder, word in ((tmp_path / "none", "does not exist"), (tmp_path, "damaged"), (tmp_path / "old", "version 1")):
        done = python("serving", "convert", "--export", folder)
        assert done.returncode == 2
        assert word in done.stderr and done.stderr.count("\n") == 1, done.stderr


def _parts(model: Path) -> tuple[list[str], list[bytes]]:
    """Operators and constants; tf2onnx writes them in another order, under other names, every time."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(model)).graph
    constants = [numpy_helper.to_array(t) for t in graph.initializer]
    return sorted(n.op_type for n in graph.node), sorted({c.dtype.str.encode() + c.tobytes() for c in constants})


def test_the_same_again_by_its_script(vae_export: Path, python: Any, command: Any, tmp_path: Path) -> None:
    models = tmp_path / "models with a space"
    assert python("serving", "convert", "--export", vae_export, "--models", models).returncode == 0
    folder = models / "onnx-fp32"
    note, before = json.loads((folder / "conversion.json").read_text()), _parts(folder / "model.onnx")
    assert (note["status"], note["why"], note["signature"]) == ("OK", None, "serving")
    assert note["export"] == open_export(vae_export).identity
    assert note["versions"]["python"] == sys.version.split()[0]
    for package in ("tf2onnx", "onnx", "onnxruntime", "numpy"):
        assert note["versions"][package] == version(package)
    assert {"tensorflow", "tensorflow-cpu"} & set(note["versions"])
    script = shutil.move(folder / "reproduce.sh", tmp_path / "reproduce.sh")
    shutil.rmtree(folder)
    done = command(["sh", script])
    assert done.returncode == 0, done.stderr
    assert _parts(folder / "model.onnx") == before
    assert json.loads((folder / "verify.json").read_text())["passed"]


def test_its_status_is_as_true_without_a_child(vae_export: Path, python: Any, tmp_path: Path) -> None:
    """A reproduce.sh ends so."""
    words = ("--export", vae_export, "--models", tmp_path, "--precision", "bf16")
    assert python("serving", "convert", "--in-this-process", *words).returncode == 3
