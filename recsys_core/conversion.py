"""Starting the conversion of an export from the training command: a process of its own, started by name."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

from recsys_core.training import stop_signal

SECONDS_TO_END = 10.0
NOTHING_MADE = 3
"""Exit status of `python -m serving convert` where this machine cannot make any of the formats."""
OF_RANKS = ("OMPI_", "PMIX_", "PMI_", "HOROVOD_")
"""Variables that would make the child process join the ranks."""


def convert(export: Path, formats: str, *, verbose: bool = True) -> bool:
    """Convert an export and print the outcome of each format. False when a conversion failed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(OF_RANKS)}
    command = [sys.executable, "-m", "serving", "convert", "--export", str(export), "--to", formats]
    if verbose:
        print(f"\nconverting to {formats}", flush=True)
    output = None if verbose else subprocess.DEVNULL
    process = subprocess.Popen(command, env=env, stdout=output, stderr=output, start_new_session=True)
    if _ended(process):
        return process.returncode in (0, NOTHING_MADE)
    if verbose:
        line = f"python -m serving convert --export {export} --to {formats}"
        print(f"stopped during the conversion; the export is whole, convert it with: {line}", flush=True)
    return False


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Wait for a conversion; one that a stop signal of this process finds is ended, and False is returned.

    It has a session of its own: the signals of a terminal or of mpirun are for this process, which answers them.
    """
    try:
        while not stop_signal.has_come():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.2)
                return True
    finally:
        for number in (signal.SIGINT, signal.SIGKILL):  # on the first it removes what it has begun
            if process.poll() is None:
                with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                    os.killpg(process.pid, number)
                    process.wait(SECONDS_TO_END)
    return False
