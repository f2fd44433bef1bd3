"""What a conversion for GPUs needs of the machine."""

from __future__ import annotations

import shutil
import subprocess


def missing() -> list[str]:
    """One line for each part of the machine that is not there."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ["no NVIDIA GPU: nvidia-smi is not there"]
    listed = subprocess.run([tool, "-L"], capture_output=True, text=True, check=False)
    if listed.returncode or "GPU" not in listed.stdout:
        return [f"no NVIDIA GPU: nvidia-smi -L says: {(listed.stdout + listed.stderr).strip() or 'nothing'}"]
    return []
