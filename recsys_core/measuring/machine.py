"""Description of this machine: its processor, memory, GPUs, and the versions of the installed packages."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = ("tensorflow", "tensorflow-cpu", "horovod", "openmpi", "numpy", "onnxruntime", "torch")
"""Packages whose versions affect speed."""


def machine() -> dict[str, Any]:
    """Processor, cores, vector instructions, memory in GiB and GPUs."""
    import psutil

    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    fields = {key.strip(): value.strip() for key, mark, value in (line.partition(":") for line in lines) if mark}
    wide = {"avx2", "avx512f", "avx512_bf16", "amx_bf16"} & set(fields.get("flags", "").split())
    return {
        "cpu": fields.get("model name", platform.machine()),
        "cores": os.cpu_count(),
        "instructions": " ".join(sorted(wide)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus(),
    }


def gpus() -> list[str]:
    """Names of the NVIDIA GPUs; empty where there is no nvidia-smi."""
    try:
        words = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    except (OSError, subprocess.CalledProcessError):
        return []


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the installed packages among `PACKAGES`."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def commit() -> str | None:
    """The commit of the code that runs, with "+changes" where files of it were changed; None outside a repository."""
    folder = Path(__file__).parent
    try:
        words = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
        return subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True).stdout.strip() or None
    except (OSError, subprocess.CalledProcessError):
        return None
