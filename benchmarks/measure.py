"""Running a command as a whole process and reading what the operating system counted for it."""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One finished process."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    """Largest resident set of the process (its children are not added)."""
    output: str


def cost_of(command: Sequence[str], env: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end.

    Raises:
        RuntimeError: it failed; the message holds the end of what it printed.
    """
    with tempfile.TemporaryFile("w+") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, env=dict(os.environ, **(env or {})))
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        out.seek(0)
        output = out.read()
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed with status {process.returncode}:\n{output[-2000:]}")
    return Cost(wall_s=wall, cpu_s=usage.ru_utime + usage.ru_stime, peak_bytes=usage.ru_maxrss * 1024, output=output)


def result_of(words: Sequence[str], *, ranks: int = 1, threads: int | None = None) -> dict[str, Any]:
    """Run `python WORDS` as a process or as ranks, and read the line ``RESULT {json}`` that it prints.

    Args:
        threads: cores of each process, as many as there are if None.

    Raises:
        RuntimeError: it failed (the end of what it said).
    """
    start = ["horovodrun", "-np", str(ranks)] if ranks > 1 else []
    env = dict(os.environ) | ({"OMP_NUM_THREADS": str(threads)} if threads else {})
    done = subprocess.run([*start, sys.executable, *words], capture_output=True, text=True, env=env, check=False)
    for line in done.stdout.splitlines():
        _, mark, values = line.partition("RESULT ")
        if mark and not done.returncode:
            return json.JSONDecoder().raw_decode(values)[0]  # horovodrun may add marks behind
    raise RuntimeError(f"python {shlex.join(words)} failed:\n{(done.stdout + done.stderr)[-1500:]}")


def announce(text: str) -> None:
    """Say on one line of the terminal what goes on; "" clears it."""
    print(f"\r{text:<60}" if text else f"\r{'':60}\r", end="", file=sys.stderr, flush=True)


def ratios(above: Sequence[float], below: Sequence[float]) -> list[float]:
    """One figure over another, taken round by round: what slows a round slows both."""
    return [a / b for a, b in zip(above, below, strict=True)]


def spread(values: Sequence[float], form: str = ".1f") -> str:
    """median (least to most)."""
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    about = {key.strip(): value.strip() for key, mark, value in (line.partition(":") for line in lines) if mark}
    wide = {"avx2", "avx512f", "avx512_bf16", "amx_bf16"} & set(about.get("flags", "").split())
    return {
        "cpu": about.get("model name", platform.machine()),
        "cores": os.cpu_count(),
        "instructions": " ".join(sorted(wide)),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": gpus(),
    }


def gpus() -> list[str]:
    """Names of the NVIDIA GPUs, none where there is no nvidia-smi."""
    try:
        words = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]
    except (OSError, subprocess.CalledProcessError):
        return []


def versions() -> dict[str, str]:
    """Of what decides over speed, as far as it is installed."""
    found = {"python": platform.python_version()}
    for name in ("tensorflow", "tensorflow-cpu", "horovod", "openmpi", "numpy", "onnxruntime", "torch"):
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
