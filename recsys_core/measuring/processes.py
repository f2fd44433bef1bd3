"""Running commands as processes: their cost as the operating system counts it, or the result that they print."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys_core.measuring.conditions import BUSY


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Cost of one finished process."""

    wall_s: float
    cpu_s: float
    peak_bytes: int
    """Largest resident set of the process (its children are not added)."""
    output: str


def cost_of(command: Sequence[str], env: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end and return its cost.

    Raises:
        RuntimeError: the command failed; the message holds the end of its output.
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


def result_of(
    words: Sequence[str], *, ranks: int = 1, threads: int | None = None, env: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run `python WORDS` as one process or as ranks, and return the object of the line ``RESULT {json}`` it prints.

    Args:
        threads: cores of each process; None for all cores.
        env: variables of the environment besides those of this process.

    Raises:
        RuntimeError: the command failed; the message holds the end of its output.
    """
    start = ["horovodrun", "-np", str(ranks)] if ranks > 1 else []
    all_env = {**os.environ, **(env or {}), **({"OMP_NUM_THREADS": str(threads)} if threads else {})}
    done = subprocess.run([*start, sys.executable, *words], capture_output=True, text=True, env=all_env, check=False)
    for line in done.stdout.splitlines():
        _, mark, values = line.partition("RESULT ")
        if mark and not done.returncode:
            return json.JSONDecoder().raw_decode(values)[0]  # horovodrun may add marks behind
    raise RuntimeError(f"python {shlex.join(words)} failed:\n{(done.stdout + done.stderr)[-1500:]}")


def print_result(values: Mapping[str, Any]) -> None:
    """Print the line that `result_of` reads."""
    print("RESULT " + json.dumps(values), flush=True)


def action_words(package: str, action: str, words: Sequence[str], results: Path) -> list[str]:
    """What follows `python` in the command of an action."""
    return ["-m", package, action, *words, "--results", str(results)]


def run_action(package: str, action: str, words: Sequence[str], results: Path) -> bool:
    """Run `python -m PACKAGE ACTION WORDS --results RESULTS`; returns whether it measured, on a busy machine too."""
    line = action_words(package, action, words, results)
    print(f"\n== python {' '.join(line)}", flush=True)
    return subprocess.run([sys.executable, *line], check=False).returncode in (0, BUSY)


def show_progress(text: str) -> None:
    """Replace the progress line of the terminal; "" clears it."""
    print(f"\r{text:<60}" if text else f"\r{'':60}\r", end="", file=sys.stderr, flush=True)
