"""The pack for a GPU machine without a package registry: its wheels, what is left out, and the script that unpacks."""

from __future__ import annotations

import ast
import os
import re
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from benchmarks.gpu import fat_binary, pack, wheels
from tests.conftest import ROOT
from tests.test_layers import imported

PTX, CODE = fat_binary.PTX, fat_binary.MACHINE_CODE


def fat(*entries: tuple[int, int, bytes]) -> bytes:
    """A fat binary of (kind, architecture, payload), each payload filled up to 64 bytes."""
    body = b""
    for kind, architecture, payload in entries:
        payload = payload.ljust(64, payload[:1])
        header = struct.pack("<HHIQ", kind, 1, 64, len(payload)).ljust(28, b"\0") + struct.pack("<I", architecture)
        body += header.ljust(64, b"\0") + payload
    return struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body


def test_code_of_other_gpus_is_zeroed(tmp_path: Path) -> None:
    library = tmp_path / "lib.so"
    chance = struct.pack("<I", 0xBA55ED50) + b"no header behind it, which is longer than one"
    library.write_bytes(
        b"before" + chance
        + fat((CODE, 80, b"a"), (CODE, 90, b"b"), (PTX, 90, b"c"))
        + fat((PTX, 70, b"d"), (PTX, 80, b"e"), (PTX, 100, b"f"), (CODE, 70, b"g"))
        + b"after"
    )  # fmt: skip
    before = library.read_bytes()
    found = fat_binary.prune(library, 90)
    after = library.read_bytes()
    assert (found.kept, found.zeroed) == (128, 320)
    kept = {letter: bytes([ord(letter)]) * 64 in after for letter in "abcdefg"}
    assert kept == {"a": False, "b": True, "c": False, "d": False, "e": True, "f": False, "g": False}
    assert len(after) == len(before) and after.startswith(b"before" + chance) and after.endswith(b"after")
    assert fat_binary.prune(library, 90).kept == 128


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("tensorflow/libtensorflow_cc.so.2", True),
        ("nvidia/cuda_nvcc/bin/ptxas", True),
        ("nvidia/cuda_nvcc/nvvm/libdevice/libdevice.10.bc", True),
        ("nvidia/cudnn/lib/libcudnn_ops_infer.so.8", True),
        ("nvidia/cudnn/lib/libcudnn.so.8", True),
        ("nvidia/cudnn/lib/libcudnn_cnn_infer.so.8", False),
        ("nvidia/cusolver/lib/libcusolver.so.11", True),
        ("nvidia/cusolver/lib/libcusolverMg.so.11", False),
        ("nvidia/cuda_nvcc/bin/nvcc", False),
        ("tensorflow/include/tensorflow/core/platform.h", False),
        ("numpy/core/tests/test_numeric.py", False),
        ("pytest/__init__.py", True),
    ],
)
def test_what_travels(name: str, expected: bool) -> None:
    assert wheels.travels(name) is expected


def test_a_wheel_is_unpacked_where_python_finds_it(tmp_path: Path) -> None:
    wheel = tmp_path / "a.whl"
    files = ("a/__init__.py", "a/a.h", "a-1.data/purelib/b.py", "a-1.data/scripts/run", "a-1.dist-info/METADATA")
    with zipfile.ZipFile(wheel, "w") as archive:
        for name in files:
            archive.writestr(name, name)
    site = tmp_path / "site"
    wheels.unpack([wheel], site)
    found = {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()}
    assert found == {"a/__init__.py", "b.py", "a-1.dist-info/METADATA"}
    assert not wheel.exists()


def test_versions_are_those_of_setup_cfg(tmp_path: Path) -> None:
    texts = wheels.requirements(ROOT / "setup.cfg")
    assert {"tensorflow==2.17.1", "keras==3.15.1", "numpy==1.26.4", "pyarrow==18.1.0", "pytest==8.3.4"} <= {*texts}
    names = [text.split("==")[0].split("<")[0].lower() for text in texts]
    assert len(names) == len({*names})
    assert not {"openmpi", "mpi4py", "horovod", "torch"} & {*names}
    (tmp_path / "setup.cfg").write_text("[options]\ninstall_requires =\n    numpy>=1\n[options.extras_require]\n")
    with pytest.raises(ValueError, match="pins no version of numpy, scipy"):
        wheels.requirements(tmp_path / "setup.cfg")


def test_every_library_that_the_tests_import_travels() -> None:
    folders = ["recsys_core", "vaecf", "ncf_tf", "data_prep", "tests/vaecf", "tests/ncf_tf", "tests/recsys_core"]
    files = [
        path
        for folder in (*folders, "tests/end_to_end", "tests/gpu", "benchmarks/gpu")
        for path in (ROOT / folder).rglob("*.py")
    ]
    names = {name.split(".")[0] for path in [*files, ROOT / "tests/conftest.py"] for name in imported(path)}
    ours = {path.name for path in ROOT.iterdir() if path.is_dir()}
    elsewhere = {"horovod", "mpi4py", "tensorflow_io"}  # of several ranks
    elsewhere |= {"torch"}  # of the other Python
    elsewhere |= {"mlflow", "tensorrt"}  # used where a machine has them
    elsewhere |= {"other_processes", "silence"}  # ours; `heartbeat` runs as a file, beside them
    elsewhere |= {"fsspec", "s3fs", "gcsfs", "aiohttp", "adbc_driver_postgresql"}  # extras that few sources need
    packages = {"yaml": "pyyaml", "hdrh": "hdrhistogram"}
    known = {
        text.split("==")[0].split("<")[0].lower().replace("-", "_") for text in wheels.requirements(ROOT / "setup.cfg")
    }
    wanted = {packages.get(name, name) for name in names - ours - set(sys.stdlib_module_names) - elsewhere}
    assert wanted <= known


NEEDED_BY = {"libcusolver.so.11": r"\b(linalg|eigh|cholesky)\b", "libcufft.so.11": r"\btf\.signal\b|\bfft"}
"""Library of CUDA -> the words in a program whose operators call it on a GPU."""


@pytest.mark.parametrize("library", NEEDED_BY)
def test_a_library_that_the_programs_call_is_no_empty_one(library: str) -> None:
    """EASE on the device came to call cuSOLVER, which was empty in the pack: the process would have ended."""
    folders = ("recsys_core", "vaecf", "ncf_tf", "tests/vaecf", "tests/ncf_tf", "tests/recsys_core", "tests/gpu")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    is_called = any(re.search(NEEDED_BY[library], path.read_text()) for path in files)
    assert is_called != (library in wheels.EMPTY_LIBRARIES)


def test_the_start_up_file_hides_frameworks_and_needs_no_other_library() -> None:
    tree = ast.parse((pack.BARE / "sitecustomize.py").read_text())
    names = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert names == {"importlib.abc", "sys", "setuptools"}
    code = "import sitecustomize\ntry:\n    import jax.numpy\nexcept ModuleNotFoundError as error:\n    print(error)"
    env = os.environ | {"PYTHONPATH": str(pack.BARE)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "jax is hidden from TensorFlow\n"


FAKE_BENCHMARKS = """
import os, sys
names = ("PROJECT_COMMIT", "PYTHONPATH", "LD_LIBRARY_PATH", "XLA_FLAGS")
print(*(f"{name}={os.environ[name]}" for name in names), sep="\\n")
print("arguments", sys.argv[1:])
"""


@pytest.fixture
def packed(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """A pack of tiny parts with the real script, and an environment in which this Python counts as 3.12."""
    site, app, parts = tmp_path / "site", tmp_path / "app", tmp_path / "parts"
    (site / "nvidia" / "cublas" / "lib").mkdir(parents=True)
    (site / "blob").write_bytes(os.urandom(3 << 20))
    (app / "benchmarks").mkdir(parents=True)
    (app / "benchmarks" / "__init__.py").touch()
    (app / "benchmarks" / "__main__.py").write_text(FAKE_BENCHMARKS)
    (app / ".commit").write_text("c0ffee")
    parts.mkdir()
    pack.compress(site, parts, 1)
    subprocess.run(["tar", "-cJf", parts / pack.PROJECT, "-C", app, "."], check=True)
    (parts / pack.SCRIPT).write_text((pack.BARE / pack.SCRIPT).read_text())
    pack.write_sums(parts)
    version = tmp_path / "bin" / "python3"
    version.parent.mkdir()
    skip_check = '[ "$1" = -c ] && case "$2" in *version_info*) exit 0;; esac'
    version.write_text(f'#!/bin/sh\n{skip_check}\nexec {sys.executable} "$@"\n')
    version.chmod(0o755)
    env = {"PATH": f"{version.parent}:{os.environ['PATH']}", "UNPACK_TO": str(tmp_path / "to")}
    return parts, env


def start(parts: Path, env: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", str(parts / pack.SCRIPT), *words], env=env, capture_output=True, text=True)


def test_one_command_unpacks_and_runs(packed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    parts, env = packed
    assert len([*parts.glob("tensorflow-part-*")]) == 4
    done = start(parts, env, "--minutes", "5")
    to = tmp_path / "to"
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        "PROJECT_COMMIT=c0ffee",
        f"PYTHONPATH={to}/site:{to}/app",
        f"LD_LIBRARY_PATH={to}/site/nvidia/cublas/lib",
        f"XLA_FLAGS=--xla_gpu_cuda_data_dir={to}/site/nvidia/cuda_nvcc",
        f"arguments ['gpu', '--torch-python', '{tmp_path}/bin/python3', '--minutes', '5']",
    ]
    assert (to / "site" / "blob").read_bytes() == (tmp_path / "site" / "blob").read_bytes()
    assert "unpacking" in done.stderr and "unpacking" not in start(parts, env).stderr


def test_a_part_that_was_not_brought_is_told(packed: tuple[Path, dict[str, str]]) -> None:
    parts, env = packed
    (parts / "tensorflow-part-02").unlink()
    done = start(parts, env)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        f"error: a file in {parts} is missing or was damaged (see above): bring it again"
    )


def test_another_python_is_told(packed: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    parts, env = packed
    old = tmp_path / "old"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo Python 3.9.1 && exit 0\nexit 1\n')
    old.chmod(0o755)
    done = start(parts, env | {"PYTHON": str(old)})
    assert (done.returncode, done.stderr) == (
        2, f"error: {old} is Python 3.9.1, expected Python 3.12: give one with PYTHON=PATH\n"
    )  # fmt: skip


def test_the_projects_files_travel_without_pictures(tmp_path: Path) -> None:
    names = pack.project_files()
    assert {"setup.cfg", "tests/gpu/program.py", "benchmarks/gpu/torch_speed.py"} <= {*names}
    assert not [name for name in names if name.startswith("docs/img/")]
    assert pack.main([str(tmp_path / "none"), "--project-only"]) == 2
