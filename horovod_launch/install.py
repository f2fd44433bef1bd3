"""Create the project's virtual environment: pinned packages from setup.cfg, and Horovod built against TensorFlow.

Lives here: what is installed, in which order, with which build flags. Not here: the pins themselves (setup.cfg).
Runs under the system's Python (standard library only), before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOROVOD = "horovod==0.28.1"
# Horovod's setup.py needs these in the environment, because it must be built without isolation to see TensorFlow.
BUILD_TOOLS = (
    "setuptools<75",
    "wheel<0.46",
    "cmake<4",
    "packaging",
    "cloudpickle",
    "psutil==6.1.1",
    "pyyaml",
    "cffi",
)
ALWAYS = ("serving", "triton", "load-study", "docs", "dev")
"""Extras that the two commands install besides TensorFlow's."""
SUPPORTED = ((3, 10), (3, 11), (3, 12))


class SetupError(Exception):
    """Something this machine lacks; the message holds the command that brings it."""


def has_nvidia_gpu(which: object = shutil.which) -> bool:
    """True when the driver's own tool lists at least one GPU."""
    if not which("nvidia-smi"):  # type: ignore[operator]
        return False
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return listed.returncode == 0 and "GPU" in listed.stdout


def check_system(version: tuple[int, int], tools: Mapping[str, str | None], has_venv: bool) -> None:
    """Raise SetupError with the installing command for the first missing part.

    Args:
        version: (major, minor) of the Python that will own the environment.
        tools: name of each needed program -> its path or None.
        has_venv: whether that Python can create a virtual environment with pip in it.
    """
    if version not in SUPPORTED:
        found = ".".join(map(str, version))
        raise SetupError(
            f"Python {found} found, 3.10, 3.11 or 3.12 needed (TensorFlow 2.17): "
            "sudo apt-get install -y python3.11 python3.11-venv python3.11-dev, or make PYTHON=/path/to/python3.11"
        )
    if not has_venv:
        name = f"python{version[0]}.{version[1]}"
        raise SetupError(f"{name} cannot create virtual environments: sudo apt-get install -y {name}-venv")
    for tool, path in tools.items():
        if path is None:
            raise SetupError(f"no {tool} found, needed to build Horovod: sudo apt-get install -y g++ make")


def environment(venv: Path, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The process environment in which the environment's own programs (mpirun, mpicxx, horovodrun) work."""
    env = dict(os.environ if base is None else base)
    env["VIRTUAL_ENV"] = str(venv)
    env["PATH"] = f"{venv / 'bin'}{os.pathsep}{env.get('PATH', '')}"
    # Open MPI's wheel was compiled for another prefix; without this, processes outside mpirun abort.
    env["OPAL_PREFIX"] = str(venv)
    env.pop("PYTHONHOME", None)
    return env


def horovod_flags(gpu: bool, cpus: int) -> dict[str, str]:
    """Build switches of Horovod 0.28.1: TensorFlow only, MPI and Gloo, NCCL where there is a GPU."""
    flags = {
        "HOROVOD_WITH_TENSORFLOW": "1",
        "HOROVOD_WITH_MPI": "1",
        "HOROVOD_WITH_GLOO": "1",
        "HOROVOD_WITHOUT_PYTORCH": "1",
        "HOROVOD_WITHOUT_MXNET": "1",
        "MAKEFLAGS": f"-j{cpus}",
    }
    if gpu:
        flags["HOROVOD_GPU_OPERATIONS"] = "NCCL"
        flags["HOROVOD_NCCL_LINK"] = "SHARED"
    return flags


def nccl_flags(python: Path, venv: Path) -> dict[str, str]:
    """Where the NCCL of the GPU packages lies, for Horovod's build (empty if the packages are not there).

    The package holds libnccl.so.2 only, the linker asks for libnccl.so.
    """
    code = "import nvidia.nccl; print(list(nvidia.nccl.__path__)[0])"
    found = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    if found.returncode:
        return {}
    home, links = Path(found.stdout.strip()), venv / "nccl"
    links.mkdir(exist_ok=True)
    if not (links / "libnccl.so").exists():
        (links / "libnccl.so").symlink_to(home / "lib" / "libnccl.so.2")
    return {"HOROVOD_NCCL_INCLUDE": str(home / "include"), "HOROVOD_NCCL_LIB": str(links)}


def _fingerprint(extras: str) -> str:
    parts = [(ROOT / "setup.cfg").read_bytes(), Path(__file__).read_bytes(), extras.encode(), sys.version.encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def _run(command: Sequence[str | Path], env: Mapping[str, str], log: Path, what: str) -> None:
    """Run one step quietly; on failure show the end of its log and where the rest is."""
    print(f"[setup] {what} ...", flush=True)
    with log.open("ab") as out:
        done = subprocess.run([str(c) for c in command], env=dict(env), stdout=out, stderr=subprocess.STDOUT, cwd=ROOT)
    if done.returncode:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-25:])
        raise SetupError(f"{what} failed (whole log: {log})\n{tail}")


def _has_venv() -> bool:
    probe = subprocess.run([sys.executable, "-c", "import venv, ensurepip"], capture_output=True, check=False)
    return probe.returncode == 0


def install(venv: Path, extras: Sequence[str]) -> None:
    """Bring `venv` to what setup.cfg asks for; does nothing if it is there already.

    Raises:
        SetupError: a part of the system is missing, or a step failed.
    """
    stamp, wanted = venv / ".complete", _fingerprint(",".join(extras))
    if stamp.exists() and stamp.read_text() == wanted:
        return
    check_system(sys.version_info[:2], {"c++ compiler": shutil.which("g++"), "make": shutil.which("make")}, _has_venv())
    env = environment(venv)
    python, log = venv / "bin" / "python", venv / "setup.log"
    if not python.exists():
        print(f"[setup] creating {venv} with Python {sys.version.split()[0]} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip: list[str | Path] = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    _run([*pip, *BUILD_TOOLS], env, log, "build tools")
    editable = f"{ROOT}[{','.join(extras)}]"
    _run([*pip, "--no-build-isolation", "-e", editable], env, log, f"pinned packages ({', '.join(extras)})")
    probe = subprocess.run([python, "-c", "import horovod.tensorflow"], env=env, capture_output=True, check=False)
    if probe.returncode:
        gpu = "gpu" in extras
        if gpu and shutil.which("nvcc") is None:
            print(
                "[setup] no nvcc found: Horovod is built without NCCL, gradients go through the CPU. For NCCL: ", end=""
            )
            print("install the CUDA 12 toolkit, remove .venv/.complete, uninstall horovod and run again")
            gpu = False
        build_env = env | horovod_flags(gpu, os.cpu_count() or 1) | (nccl_flags(python, venv) if gpu else {})
        force = ["--force-reinstall", "--no-cache-dir", "--no-deps", "--no-build-isolation"]
        _run([*pip, *force, HOROVOD], build_env, log, "building Horovod with MPI and Gloo (2 to 5 minutes)")
        _run([python, "-c", "import horovod.tensorflow"], env, log, "importing Horovod")
    stamp.write_text(wanted)
    print(f"[setup] ready: {venv}", flush=True)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--venv", type=Path, default=ROOT / ".venv", help="where the environment is (default: .venv)")
    parser.add_argument(
        "--extras",
        default="",
        help=f"comma-separated extras of setup.cfg (default: gpu or cpu as found, and {','.join(ALWAYS)})",
    )


def main(args: argparse.Namespace) -> int:
    extras = args.extras.split(",") if args.extras else ["gpu" if has_nvidia_gpu() else "cpu", *ALWAYS]
    try:
        install(args.venv.absolute(), extras)
    except SetupError as error:
        print(f"[setup] error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    own_parser = argparse.ArgumentParser(description="Create .venv with every pinned package and build Horovod.")
    add_arguments(own_parser)
    sys.exit(main(own_parser.parse_args()))
