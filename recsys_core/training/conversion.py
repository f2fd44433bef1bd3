"""Starting the conversion of an export from the training command: a process of its own, started by name."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FORMATS = ("savedmodel", "onnx", "tensorrt", "tf-trt")
"""What `python -m serving convert --to` knows."""
NOTHING_MADE = 3
"""Its exit status when this machine can make none of what was asked for."""
OF_RANKS = ("OMPI_", "PMIX_", "PMI_", "HOROVOD_")
"""Variables that would make the child believe it is a rank."""


def check(formats: str) -> None:
    """Raise ValueError for a format that is not known."""
    for name in formats.split(",") if formats else ():
        if name.strip() not in FORMATS:
            raise ValueError(f"unknown format {name!r} in --convert, known are: {', '.join(FORMATS)}")


def convert(export: Path, formats: str) -> bool:
    """Convert an export; says what became of it. False when something failed."""
    env = {name: value for name, value in os.environ.items() if not name.startswith(OF_RANKS)}
    command = [sys.executable, "-m", "serving", "convert", "--export", str(export), "--to", formats]
    print(f"\nconverting to {formats}", flush=True)
    return subprocess.run(command, env=env, check=False).returncode in (0, NOTHING_MADE)
