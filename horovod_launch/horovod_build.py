"""How Horovod is built: its switches, the CUDA compiler and NCCL, and when a build must be repeated.

The CUDA compiler is the machine's own, or NVIDIA's packages of it on PyPI (`COMPILER`), which are put into a folder of
their own below the virtual environment and removed after the build: Horovod links the CUDA runtime statically.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

HOROVOD = "horovod==0.28.1"
COMPILER = (
    "nvidia-cuda-nvcc==13.0.88",
    "nvidia-nvvm==13.0.88",
    "nvidia-cuda-crt==13.0.88",
    "nvidia-cuda-runtime==13.0.96",
    "nvidia-cuda-cccl==13.0.85",
)
"""NVIDIA's CUDA compiler on PyPI, with its headers and libraries. PyPI has no complete compiler of CUDA 12."""
COMPILER_CUDA = 13
FROM_PACKAGES = "packages"
"""The choice of `COMPILER` instead of a toolkit of the machine."""


@dataclass(frozen=True)
class Cuda:
    """A CUDA toolkit: the folder that holds bin/nvcc, and its version."""

    home: Path
    major: int


Compiler = Cuda | str | None
"""A toolkit of the machine, `FROM_PACKAGES`, or None to build Horovod without NCCL."""


def horovod_flags(cuda: Path | None, cpus: int) -> dict[str, str]:
    """Build switches of Horovod 0.28.1: TensorFlow only, MPI and Gloo, NCCL where there is a CUDA toolkit."""
    flags = {
        "HOROVOD_WITH_TENSORFLOW": "1",
        "HOROVOD_WITH_MPI": "1",
        "HOROVOD_WITH_GLOO": "1",
        "HOROVOD_WITHOUT_PYTORCH": "1",
        "HOROVOD_WITHOUT_MXNET": "1",
        "MAKEFLAGS": f"-j{cpus}",
    }
    if cuda is not None:
        flags["HOROVOD_GPU_OPERATIONS"] = "NCCL"
        flags["HOROVOD_NCCL_LINK"] = "SHARED"
        # Without it CMake searches beside the nvcc of the PATH, which may be a link or a script elsewhere.
        flags["HOROVOD_CUDA_HOME"] = str(cuda)
    return flags


def nccl_flags(nccl: Path, links: Path) -> dict[str, str]:
    """Where the NCCL of the GPU packages lies, for Horovod's build.

    The package holds libnccl.so.2 only. The linker asks for libnccl.so; Horovod, which remembers the folder that it was
    linked from, asks for libnccl.so.2.

    Args:
        nccl: folder of the package nvidia-nccl-cu12.
        links: folder for the links; made if it is not there.
    """
    links.mkdir(exist_ok=True)
    for name in ("libnccl.so", "libnccl.so.2"):
        link = links / name
        link.unlink(missing_ok=True)
        link.symlink_to(nccl / "lib" / "libnccl.so.2")
    return {"HOROVOD_NCCL_INCLUDE": str(nccl / "include"), "HOROVOD_NCCL_LIB": str(links)}


def nccl_home(python: Path) -> Path | None:
    """Folder of the package nvidia-nccl-cu12 in an environment, None where it is not there."""
    code = "import nvidia.nccl; print(list(nvidia.nccl.__path__)[0])"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return None if found.returncode else Path(found.stdout.strip())


def complete(toolkit: Path) -> Path:
    """Add the two links that NVIDIA's packages of CUDA lack and CMake and nvcc search, and return the toolkit's home.

    Args:
        toolkit: folder into which `COMPILER` was installed.
    """
    home = toolkit / "nvidia" / f"cu{COMPILER_CUDA}"
    for link, target in (("lib64", "lib"), ("lib/libcudart.so", f"libcudart.so.{COMPILER_CUDA}")):
        if not (home / link).exists():
            (home / link).symlink_to(target)
    return home


def parse_nvcc(dry_run: str, version: str) -> Cuda | None:
    """The toolkit of an nvcc, from what `nvcc --dryrun` and `nvcc --version` print; None if it is no real nvcc."""
    folder = re.search(r"^#\$ _HERE_=(.+)$", dry_run, re.MULTILINE)
    release = re.search(r"release (\d+)\.", version)
    return Cuda(Path(folder[1]).parent, int(release[1])) if folder and release else None


def find_toolkit(env: Mapping[str, str]) -> Cuda | None:
    """The machine's CUDA toolkit: that of HOROVOD_CUDA_HOME, else that of nvcc on the PATH, else /usr/local/cuda's.

    Raises:
        ValueError: HOROVOD_CUDA_HOME is set and holds no nvcc.
    """
    given = env.get("HOROVOD_CUDA_HOME")
    places = [f"{given}/bin/nvcc"] if given else [shutil.which("nvcc") or "", "/usr/local/cuda/bin/nvcc"]
    for nvcc in (place for place in places if Path(place).is_file()):
        said = [
            subprocess.run([nvcc, *words], capture_output=True, text=True, check=False)
            for words in (["--dryrun", "-x", "cu", "/dev/null"], ["--version"])
        ]
        if found := parse_nvcc(said[0].stdout + said[0].stderr, said[1].stdout):
            return found
    if given:
        raise ValueError(f"HOROVOD_CUDA_HOME is {given}, expected the folder of a CUDA toolkit with bin/nvcc in it")
    return None


def choose_compiler(own: Cuda | None, driver_cuda: int | None) -> Compiler:
    """The toolkit that compiles Horovod's CUDA part: the machine's own, `FROM_PACKAGES`, or None for neither.

    Args:
        own: the machine's toolkit, if it has one.
        driver_cuda: newest major version of CUDA whose programs the driver runs; None where there is no driver, as in
            the build of an image.
    """
    if own is not None and (driver_cuda is None or own.major <= driver_cuda):
        return own
    return FROM_PACKAGES if driver_cuda is None or driver_cuda >= COMPILER_CUDA else None


def why_no_nccl(own: Cuda | None, driver_cuda: int) -> str:
    """One line for a machine whose Horovod is built without NCCL although it has GPUs."""
    found = f"the CUDA {own.major} toolkit in {own.home} is too new for the driver" if own else "no nvcc found"
    wanted = f"the CUDA {driver_cuda} toolkit" if driver_cuda else "a driver from 525 on and the CUDA 12 toolkit"
    return (
        f"Horovod is built without NCCL: {found}; gradients go through the CPU. For NCCL install {wanted}, "
        "or a driver from 580 on (no toolkit is needed then), and run make setup again"
    )


def needs_build(has_nccl: bool | None, wants_nccl: bool) -> bool:
    """Whether Horovod must be built. One with NCCL that can be imported is kept: it computes on CPUs too.

    Args:
        has_nccl: what the installed Horovod was built with; None where it cannot be imported.
        wants_nccl: whether there is a GPU, and what compiles for it.
    """
    return has_nccl is None or (wants_nccl and not has_nccl)
