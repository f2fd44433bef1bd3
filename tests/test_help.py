"""`--help` of every command answers at once: it imports nothing that takes long."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT, _environment

COMMANDS = (
    "data_prep",
    "vaecf.train",
    "vaecf.evaluate",
    "ncf_tf.train",
    "ncf_tf.evaluate",
    "serving",
    "horovod_launch",
    "benchmarks",
    "load_study",
)
SLOW = ("tensorflow", "horovod", "matplotlib", "onnx", "onnxruntime", "tritonclient")
PROGRAM = """
import runpy, sys
sys.argv = [{name!r}, "--help"]
try:
    runpy.run_module({name!r}, run_name="__main__")
except SystemExit as error:
    assert not error.code, error.code
print("IMPORTED", sorted(set(sys.modules) & set({slow!r})))
"""


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches_and_imports_nothing_slow(name: str) -> None:
    code = PROGRAM.format(name=name, slow=SLOW)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=_environment(None), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "IMPORTED []" in done.stdout
    assert f"python -m {name}" in done.stdout
