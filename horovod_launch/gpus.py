"""NVIDIA GPUs of this machine, as the driver's own tool lists them.

Run as a program, it prints how many GPUs a process started here can use; the Makefile takes as many ranks.
Standard library only, and nothing of ours: it runs before anything is installed.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from importlib import metadata

TIMEOUT_S = 60
ON_GPUS = ("vaecf", "ncf_tf")
"""Packages whose commands give each rank a GPU; others, such as data_prep, run any number of ranks on one machine."""
CUDA_OF_DRIVER = ((580, 13), (525, 12))
"""(first driver, CUDA): the newest major version of CUDA whose programs a driver runs."""


def _ask_driver(*words: str) -> str:
    """What nvidia-smi prints; "" where it is absent, fails or does not answer."""
    try:
        done = subprocess.run(["nvidia-smi", *words], capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def listed() -> list[str]:
    """A line of `nvidia-smi -L` for each GPU."""
    return [line for line in _ask_driver("-L").splitlines() if line.startswith("GPU ")]


def count(lines: Iterable[str], visible: str | None) -> int:
    """GPUs that a process sees.

    Args:
        lines: a line of `nvidia-smi -L` for each GPU.
        visible: CUDA_VISIBLE_DEVICES, None where it is not set. CUDA ignores all entries from the first unknown one on.
    """
    gpus = list(lines)
    if visible is None:
        return len(gpus)
    found = 0
    for entry in (word.strip() for word in visible.split(",")):
        is_number = entry.isdigit() and int(entry) < len(gpus)
        is_name = entry.startswith("MIG-") or (entry.startswith("GPU-") and any(f"UUID: {entry}" in g for g in gpus))
        if not (is_number or is_name):
            break
        found += 1
    return found


def here(env: Mapping[str, str]) -> int:
    """GPUs that a process with this environment sees on this machine."""
    return count(listed(), env.get("CUDA_VISIBLE_DEVICES"))


def cuda_of_driver(version: str) -> int | None:
    """Newest major version of CUDA whose programs a driver runs: 0 for an old driver, None where there is none.

    Args:
        version: the driver's version, as "580.65.06"; one line a GPU.
    """
    found = re.match(r"\s*(\d+)\.", version)
    if found is None:
        return None
    return next((cuda for first, cuda in CUDA_OF_DRIVER if int(found[1]) >= first), 0)


def newest_cuda() -> int | None:
    """`cuda_of_driver` of this machine's driver."""
    return cuda_of_driver(_ask_driver("--query-gpu=driver_version", "--format=csv,noheader"))


def tensorflow_computes_there() -> bool:
    """Whether this environment holds TensorFlow for GPUs (the package tensorflow-cpu is for CPUs only)."""
    try:
        metadata.distribution("tensorflow")
    except metadata.PackageNotFoundError:
        return False
    return True


def taken(module: str, env: Mapping[str, str]) -> int:
    """GPUs of this machine that ranks of a module take, one each; 0 where they compute on CPUs."""
    on_gpus = module.partition(".")[0] in ON_GPUS and tensorflow_computes_there()
    return here(env) if on_gpus else 0


def refuse_sharing(ranks: int, gpus: int) -> None:
    """Raise ValueError where ranks of this machine would have to share a GPU; 0 GPUs means that ranks run on CPUs."""
    if 0 < gpus < ranks:
        these = "1 GPU" if gpus == 1 else f"{gpus} GPUs"
        raise ValueError(
            f"-np puts {ranks} ranks on this machine, which has {these}, and each rank needs a GPU of its own: "
            f"take -np {gpus}, or set CUDA_VISIBLE_DEVICES= (empty) to train on CPUs"
        )


if __name__ == "__main__":
    print(here(os.environ))
