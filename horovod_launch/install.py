"""Create the project's virtual environment: pinned packages from setup.cfg, and Horovod built against TensorFlow.

Lives here: what is installed and removed, and in which order. Not here: the pins (setup.cfg), and how Horovod is built
(`horovod_build`). Runs under the system's Python (standard library only), before anything is installed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
if __name__ == "__main__":  # `make setup` runs this file before the project is installed
    sys.path.insert(0, str(ROOT))

from horovod_launch import gpus, horovod_build  # noqa: E402
from horovod_launch.horovod_build import FROM_PACKAGES, HOROVOD, Compiler, Cuda  # noqa: E402

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
ALWAYS = ("serving", "triton", "load-study", "addresses", "sql", "stores", "baselines", "tune", "docs", "dev")
"""Extras that the two commands install besides TensorFlow's."""
SUPPORTED = ((3, 10), (3, 11), (3, 12))
TENSORFLOW = {"cpu": "tensorflow-cpu", "gpu": "tensorflow"}
"""Extra -> the package of TensorFlow that it brings. Both own the same files: only one may be installed."""
ONNXRUNTIME = ("onnxruntime", "onnxruntime-gpu")
"""The packages of ONNX Runtime for CPUs (of the extra serving) and for GPUs (of the extra gpu)."""


class SetupError(Exception):
    """Something this machine lacks; the message holds the command that brings it."""


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


def to_uninstall(installed: Collection[str], extras: Collection[str]) -> list[str]:
    """Packages of TensorFlow to remove before the extras are installed.

    The package that the extras do not bring must leave first: its removal takes the files of the other one with it.
    For the same reason both leave where both are installed; the wanted one is installed anew then.

    Raises:
        SetupError: the extras bring both.
    """
    wanted = [package for extra, package in TENSORFLOW.items() if extra in extras]
    if len(wanted) > 1:
        raise SetupError(
            f"--extras {','.join(extras)} brings {' and '.join(wanted)}, which own the same files: take one"
        )
    present = [package for package in TENSORFLOW.values() if package in installed]
    return present if wanted and set(present) - set(wanted) else []


def _fingerprint(extras: str, compiler: Compiler) -> str:
    sources = (ROOT / "setup.cfg", Path(__file__), Path(horovod_build.__file__))
    words = (extras, sys.version, str(compiler))
    return hashlib.sha256(b"\0".join([*(p.read_bytes() for p in sources), *(w.encode() for w in words)])).hexdigest()


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


def _asked(python: Path, env: Mapping[str, str], code: str) -> str | None:
    """What a line of Python prints last in the environment, None if it fails."""
    done = subprocess.run([python, "-c", code], env=dict(env), capture_output=True, text=True, check=False)
    lines = done.stdout.split()
    return lines[-1] if done.returncode == 0 and lines else None


def _installed(python: Path, env: Mapping[str, str]) -> set[str]:
    """Names of the packages in the environment."""
    code = "import importlib.metadata as m; print(','.join(str(d.metadata['Name']) for d in m.distributions()))"
    return {name.lower().replace("_", "-") for name in (_asked(python, env, code) or "").split(",")}


def _horovod_has_nccl(python: Path, env: Mapping[str, str]) -> bool | None:
    """Whether the environment's Horovod was built with NCCL, None if it cannot be imported."""
    answer = _asked(python, env, "import horovod.tensorflow as hvd; print(int(hvd.nccl_built()) > 0)")
    return None if answer is None else answer == "True"


def _compiler(extras: Collection[str]) -> Compiler:
    """What compiles Horovod's CUDA part (`horovod_build.choose_compiler`); None without the extra gpu."""
    if "gpu" not in extras:
        return None
    return horovod_build.choose_compiler(horovod_build.find_toolkit(os.environ), gpus.newest_cuda())


def _cuda_home(pip: Sequence[str | Path], env: Mapping[str, str], venv: Path, compiler: Compiler) -> Path | None:
    """Folder of the CUDA toolkit that Horovod is compiled with; those of PyPI are installed there first."""
    if compiler != FROM_PACKAGES:
        return compiler.home if isinstance(compiler, Cuda) else None
    into: list[str | Path] = ["--target", venv / "cuda", "--upgrade", *horovod_build.COMPILER]
    _run([*pip, *into], env, venv / "setup.log", "NVIDIA's CUDA compiler, for Horovod with NCCL")
    return horovod_build.complete(venv / "cuda")


def _keep_gpu_onnxruntime(pip: Sequence[str | Path], env: Mapping[str, str], venv: Path) -> None:
    """Leave ONNX Runtime's GPU package alone, where the extra gpu brought it beside the CPU package.

    Both own the same files, and those of the CPU package win where both are installed.
    """
    python, log, installed = venv / "bin" / "python", venv / "setup.log", _installed(venv / "bin" / "python", env)
    if not set(ONNXRUNTIME) <= installed:
        return
    version = _asked(python, env, f"import importlib.metadata as m; print(m.version('{ONNXRUNTIME[1]}'))")
    _run([python, "-m", "pip", "uninstall", "--yes", *ONNXRUNTIME], env, log, "removing onnxruntime for CPUs")
    _run([*pip, "--no-deps", f"{ONNXRUNTIME[1]}=={version}"], env, log, "ONNX Runtime for GPUs")


def _build_horovod(pip: Sequence[str | Path], env: Mapping[str, str], venv: Path, compiler: Compiler) -> None:
    python, log, cuda = venv / "bin" / "python", venv / "setup.log", _cuda_home(pip, env, venv, compiler)
    flags = horovod_build.horovod_flags(cuda, os.cpu_count() or 1)
    if cuda is not None and (nccl := horovod_build.nccl_home(python)) is not None:
        flags |= horovod_build.nccl_flags(nccl, venv / "nccl")
    force = ["--force-reinstall", "--no-cache-dir", "--no-deps", "--no-build-isolation"]
    parts = "MPI and Gloo" if cuda is None else "MPI, Gloo and NCCL"
    _run([*pip, *force, HOROVOD], {**env, **flags}, log, f"building Horovod with {parts} (2 to 10 minutes)")
    shutil.rmtree(venv / "cuda", ignore_errors=True)
    if _horovod_has_nccl(python, env) is not (cuda is not None):
        _run([python, "-c", "import horovod.tensorflow"], env, log, "importing Horovod")
        raise SetupError(f"Horovod was built with {parts}, but says that it was not (whole log: {log})")


def install(venv: Path, extras: Sequence[str]) -> None:
    """Bring `venv` to what setup.cfg asks for; does nothing if it is there already.

    Raises:
        SetupError: a part of the system is missing, or a step failed.
    """
    compiler = _compiler(extras)
    stamp, wanted = venv / ".complete", _fingerprint(",".join(extras), compiler)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    check_system(sys.version_info[:2], {"c++ compiler": shutil.which("g++"), "make": shutil.which("make")}, _has_venv())
    env = environment(venv)
    python, log = venv / "bin" / "python", venv / "setup.log"
    if not python.exists():
        print(f"[setup] creating {venv} with Python {sys.version.split()[0]} ...", flush=True)
        subprocess.run([sys.executable, "-m", "venv", venv], check=True)
    pip: list[str | Path] = [python, "-m", "pip", "install", "--disable-pip-version-check", "--progress-bar", "off"]
    leaving = to_uninstall(_installed(python, env), extras)
    stamp.unlink(missing_ok=True)  # what follows may fail half-way
    _run([*pip, *BUILD_TOOLS], env, log, "build tools")
    if leaving:
        _run([python, "-m", "pip", "uninstall", "--yes", *leaving], env, log, f"removing {' and '.join(leaving)}")
    editable = f"{ROOT}[{','.join(extras)}]"
    _run([*pip, "--no-build-isolation", "-e", editable], env, log, f"pinned packages ({', '.join(extras)})")
    _keep_gpu_onnxruntime(pip, env, venv)
    if "gpu" in extras and compiler is None:
        own = horovod_build.find_toolkit(os.environ)
        print(f"[setup] {horovod_build.why_no_nccl(own, gpus.newest_cuda() or 0)}", flush=True)
    if horovod_build.needs_build(_horovod_has_nccl(python, env), compiler is not None):
        _build_horovod(pip, env, venv, compiler)
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
    extras = args.extras.split(",") if args.extras else ["gpu" if gpus.listed() else "cpu", *ALWAYS]
    try:
        install(args.venv.absolute(), extras)
    except (SetupError, ValueError) as error:
        print(f"[setup] error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    own_parser = argparse.ArgumentParser(description="Create .venv with every pinned package and build Horovod.")
    add_arguments(own_parser)
    sys.exit(main(own_parser.parse_args()))
