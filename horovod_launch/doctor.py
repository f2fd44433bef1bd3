"""What this installation can do, and a proof on two ranks that gradients are really reduced."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

from horovod_launch.command import Launch, command, cores_here, environment

TIMEOUT_S = 180


def _self_test(gloo: bool) -> tuple[bool, str]:
    launch = Launch(ranks=2, module="recsys_core.doctor", arguments=("--self-test",), gloo=gloo)
    cores = cores_here()
    env = environment(launch, cores, os.environ)
    line = command(launch, cores, env, os.geteuid() == 0)
    try:
        done = subprocess.run(line, env=env, capture_output=True, text=True, timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return False, f"no answer in {TIMEOUT_S} s"
    except FileNotFoundError:
        return False, f"{line[0]} is not installed; run: make setup"
    good = done.returncode == 0 and "gradients are reduced" in done.stdout
    last = (done.stderr.strip().splitlines() or ["no output"])[-1]
    return good, "gradients are reduced" if good else f"FAILED (status {done.returncode}): {last}"


def main() -> int:
    """Print the report; status 1 if a self-test failed."""
    print(f"python        {platform.python_version()} in {sys.prefix}")
    print(f"cores         {cores_here()} of {os.cpu_count()}")
    facts = subprocess.run([sys.executable, "-m", "recsys_core.doctor"], capture_output=True, text=True)
    print(facts.stdout, end="")
    if facts.returncode:
        print(f"TensorFlow could not be asked: {(facts.stderr.strip().splitlines() or ['?'])[-1]}; run: make setup")
        return 1
    good = True
    for name, gloo in (("MPI", False), ("Gloo", True)):
        passed, text = _self_test(gloo)
        good &= passed
        print(f"2 ranks, {name:4} {text}")
    return 0 if good else 1
