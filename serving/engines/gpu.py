"""Whether this machine has an NVIDIA GPU."""

from __future__ import annotations

import shutil
import subprocess


def missing_requirements() -> list[str]:
    """One line if the machine has no NVIDIA GPU."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return ["no NVIDIA GPU: nvidia-smi is not there"]
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, check=False)
    if listed.returncode or "GPU" not in listed.stdout:
        return [f"no NVIDIA GPU: nvidia-smi -L says: {(listed.stdout + listed.stderr).strip() or 'nothing'}"]
    return []
