"""What the installation needs, removes and builds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from horovod_launch.horovod_build import (
    FROM_PACKAGES,
    Cuda,
    choose_compiler,
    complete,
    find_toolkit,
    horovod_flags,
    nccl_flags,
    needs_build,
    parse_nvcc,
    why_no_nccl,
)
from horovod_launch.install import SetupError, _fingerprint, check_system, to_uninstall

CUDA_12, CUDA_13 = Cuda(Path("/opt/cuda-12"), 12), Cuda(Path("/opt/cuda-13"), 13)


@pytest.mark.parametrize(
    ("version", "tools", "venv", "message"),
    [
        ((3, 13), {}, True, r"Python 3.13 found, 3.10, 3.11 or 3.12 needed.*apt-get install"),
        ((3, 11), {}, False, "apt-get install -y python3.11-venv"),
        ((3, 12), {"c++ compiler": None}, True, r"no c\+\+ compiler found.*apt-get install -y g\+\+"),
    ],
)
def test_a_missing_part_names_its_command(version: tuple, tools: dict, venv: bool, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        check_system(version, tools, venv)


@pytest.mark.parametrize(
    ("installed", "extras", "leaving"),
    [
        ({"numpy"}, ["cpu"], []),  # a new environment
        ({"numpy"}, ["gpu"], []),
        ({"tensorflow-cpu"}, ["cpu", "dev"], []),
        ({"tensorflow"}, ["gpu", "dev"], []),
        ({"tensorflow-cpu"}, ["gpu", "dev"], ["tensorflow-cpu"]),  # GPUs have appeared; both were installed then
        ({"tensorflow"}, ["cpu"], ["tensorflow"]),
        ({"tensorflow", "tensorflow-cpu"}, ["gpu"], ["tensorflow-cpu", "tensorflow"]),  # the removal damages the other
        ({"tensorflow", "tensorflow-cpu"}, ["cpu"], ["tensorflow-cpu", "tensorflow"]),
        ({"tensorflow"}, ["serving"], []),
    ],
)
def test_one_tensorflow_leaves_before_the_other_comes(installed: set, extras: list, leaving: list) -> None:
    assert to_uninstall(installed, extras) == leaving


def test_both_tensorflows_are_refused() -> None:
    with pytest.raises(SetupError, match="--extras cpu,gpu brings tensorflow-cpu and tensorflow, .*: take one"):
        to_uninstall(set(), ["cpu", "gpu"])


@pytest.mark.parametrize(
    ("has_nccl", "wants_nccl", "build"),
    [
        (None, False, True),  # not there, or it cannot be imported
        (None, True, True),
        (False, False, False),
        (False, True, True),  # GPUs have appeared: only the import was looked at
        (True, True, False),
        (True, False, False),  # computes on CPUs too
    ],
)
def test_when_horovod_is_built(has_nccl: bool | None, wants_nccl: bool, build: bool) -> None:
    assert needs_build(has_nccl, wants_nccl) is build


@pytest.mark.parametrize(
    ("own", "driver", "chosen"),
    [
        (CUDA_12, 12, CUDA_12),
        (CUDA_12, 13, CUDA_12),  # a driver runs the programs of older versions
        (CUDA_13, 13, CUDA_13),
        (CUDA_13, 12, None),  # and not those of newer ones
        (None, 12, None),
        (None, 13, FROM_PACKAGES),
        (CUDA_12, 0, None),
        (CUDA_13, None, CUDA_13),  # an image is built where there is no driver
        (None, None, FROM_PACKAGES),
    ],
)
def test_what_compiles_for_gpus(own: Cuda | None, driver: int | None, chosen: object) -> None:
    assert choose_compiler(own, driver) == chosen


def test_a_compiler_that_appears_is_noticed() -> None:
    """The installation was called complete, and Horovod stayed without NCCL, until a file was removed by hand."""
    prints = {_fingerprint("gpu", compiler) for compiler in (None, FROM_PACKAGES, CUDA_12, CUDA_13)}
    assert len(prints) == 4


@pytest.mark.parametrize(
    ("own", "driver", "words"),
    [
        (None, 12, "no nvcc found; gradients go through the CPU. For NCCL install the CUDA 12 toolkit, or a driver"),
        (CUDA_13, 12, "the CUDA 13 toolkit in /opt/cuda-13 is too new for the driver; .* the CUDA 12 toolkit, or"),
        (None, 0, "a driver from 525 on and the CUDA 12 toolkit, or a driver from 580 on"),
    ],
)
def test_no_nccl_is_said_in_one_line(own: Cuda | None, driver: int, words: str) -> None:
    text = why_no_nccl(own, driver)
    assert re.search(words, text) and "\n" not in text


def test_build_flags() -> None:
    with_nccl = horovod_flags(Path("/opt/cuda-12"), 4)
    assert (with_nccl["HOROVOD_GPU_OPERATIONS"], with_nccl["HOROVOD_CUDA_HOME"]) == ("NCCL", "/opt/cuda-12")
    without = horovod_flags(None, 4)
    assert not {"HOROVOD_GPU_OPERATIONS", "HOROVOD_CUDA_HOME"} & set(without)
    assert without["MAKEFLAGS"] == "-j4"


def test_nccl_is_found_by_the_linker_and_by_horovod(tmp_path: Path) -> None:
    """Horovod looks for libnccl.so.2 in the folder that it was linked from, which held libnccl.so only."""
    nccl, links = tmp_path / "site-packages" / "nvidia" / "nccl", tmp_path / "nccl"
    (nccl / "lib").mkdir(parents=True)
    (nccl / "lib" / "libnccl.so.2").write_text("the library")
    for _ in range(2):  # the second time over the links of the first
        flags = nccl_flags(nccl, links)
    assert flags == {"HOROVOD_NCCL_INCLUDE": str(nccl / "include"), "HOROVOD_NCCL_LIB": str(links)}
    assert [(links / name).read_text() for name in ("libnccl.so", "libnccl.so.2")] == ["the library"] * 2


def test_the_packages_of_the_compiler_are_completed(tmp_path: Path) -> None:
    """nvcc looks for libraries in lib64 and CMake for libcudart.so; NVIDIA's packages have neither."""
    lib = tmp_path / "nvidia" / "cu13" / "lib"
    lib.mkdir(parents=True)
    (lib / "libcudart.so.13").write_text("the runtime")
    home = complete(tmp_path)
    assert home == tmp_path / "nvidia" / "cu13" == complete(tmp_path)
    assert (home / "lib64" / "libcudart.so").read_text() == "the runtime"


VERSION = "nvcc: NVIDIA (R) Cuda compiler driver\nCuda compilation tools, release 12.4, V12.4.131\n"


def test_the_toolkit_of_an_nvcc() -> None:
    dry = "#$ _NVVM_BRANCH_=nvvm\n#$ _HERE_=/usr/local/cuda-12.4/bin\n#$ _THERE_=/usr/local/cuda-12.4/bin\n"
    assert parse_nvcc(dry, VERSION) == Cuda(Path("/usr/local/cuda-12.4"), 12)
    assert parse_nvcc("", VERSION) is None
    assert parse_nvcc(dry, "command not found") is None


def test_a_toolkit_is_found_behind_a_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CMake searched the CUDA runtime beside a script called nvcc that starts the real one."""
    script = tmp_path / "nvcc"
    script.write_text(
        "#!/bin/sh\ncase $1 in --version) echo 'Cuda compilation tools, release 12.4, V12.4.131';;"
        " *) echo '#$ _HERE_=/opt/cuda/bin' >&2;; esac\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    assert find_toolkit({}) == Cuda(Path("/opt/cuda"), 12)


def test_a_wrong_home_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"HOROVOD_CUDA_HOME is {tmp_path}, expected the folder of a CUDA toolkit"):
        find_toolkit({"HOROVOD_CUDA_HOME": str(tmp_path)})
