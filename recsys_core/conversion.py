"""Starting the conversion of an export from the training command: a process of its own, started by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

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
    done = subprocess.run(command, env=env, check=False, capture_output=not verbose)
    return done.returncode in (0, NOTHING_MADE)
