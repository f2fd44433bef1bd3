"""XLA is told where the CUDA compiler of TensorFlow's own packages lies."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PRINT = "import os, recsys_core; print(os.environ.get('XLA_FLAGS', 'none'))"


def flags_with(path: Path, given: str | None) -> str:
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
    env |= {"PYTHONPATH": f"{path}{os.pathsep}{Path.cwd()}"} | ({} if given is None else {"XLA_FLAGS": given})
    return subprocess.run(
        [sys.executable, "-c", PRINT], env=env, capture_output=True, text=True, check=True
    ).stdout.strip()


@pytest.mark.parametrize(
    ("has_compiler", "given", "expected"),
    [
        (False, None, "none"),
        (False, "--xla_dump_to=x", "--xla_dump_to=x"),
        (True, None, "--xla_gpu_cuda_data_dir={}"),
        (True, "--xla_dump_to=x", "--xla_dump_to=x --xla_gpu_cuda_data_dir={}"),
        (True, "--xla_gpu_cuda_data_dir=/cuda", "--xla_gpu_cuda_data_dir=/cuda"),
    ],
)
def test_the_compiler_of_the_packages_is_named(
    has_compiler: bool, given: str | None, expected: str, tmp_path: Path
) -> None:
    compiler = tmp_path / "nvidia" / "cuda_nvcc"
    if has_compiler:
        compiler.mkdir(parents=True)
        (compiler / "__init__.py").touch()
    else:
        (tmp_path / "nvidia").mkdir()
    assert flags_with(tmp_path, given) == expected.format(compiler)
