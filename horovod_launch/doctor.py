"""What this installation can do, and a proof on two ranks that gradients are really reduced."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Mapping

from horovod_launch import gpus
from horovod_launch.probe import cores

TIMEOUT_S = 180


def environment_of_ranks(base: Mapping[str, str], gpus_here: int) -> dict[str, str]:
    """Variables of the self-test: its two ranks compute on the CPU where there are no two GPUs."""
    return dict(base) if gpus_here > 1 else {**base, "CUDA_VISIBLE_DEVICES": ""}


def _self_test(gloo: bool, base: Mapping[str, str]) -> tuple[bool, str]:
    line = [sys.executable, "-m", "horovod_launch", "run", "-np", "2", *(["--gloo"] if gloo else [])]
    line += ["recsys_core.doctor", "--", "--self-test"]
    try:
        done = subprocess.run(line, env=base, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False, f"no answer in {TIMEOUT_S} s"
    good = done.returncode == 0 and "gradients are reduced" in done.stdout
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return good, "gradients are reduced" if good else f"FAILED (status {done.returncode}): {last}"


def main() -> int:
    """Print the report; status 1 if a self-test failed."""
    print(f"python        {platform.python_version()} in {sys.prefix}")
    print(f"cores         {cores()} of {os.cpu_count()}")
    gpus_here = gpus.here(os.environ)
    facts = subprocess.run([sys.executable, "-m", "recsys_core.doctor"], capture_output=True, text=True)
    print(facts.stdout, end="")
    if facts.returncode:
        print(f"TensorFlow could not be asked: {(facts.stderr.strip().splitlines() or ['?'])[-1]}; run: make setup")
        return 1
    good, base = True, environment_of_ranks(os.environ, gpus_here)
    where = " (on the CPU: the machine has one GPU)" if gpus_here == 1 else ""
    for name, gloo in (("MPI", False), ("Gloo", True)):
        passed, text = _self_test(gloo, base)
        good &= passed
        print(f"2 ranks, {name:4} {text}{where}")
    return 0 if good else 1
