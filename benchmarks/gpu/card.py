"""The GPU of this machine: whether there is one, what nvidia-smi says of it, and what TensorFlow does.

Run as a process, it prints TensorFlow's view: ``python -m benchmarks.gpu.card``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from recsys_core.measuring.processes import print_result

FIELDS = {
    "name": "card",
    "driver_version": "driver",
    "compute_cap": "compute_capability",
    "memory.total": "gpu_memory",
    "power.limit": "power_limit",
}
"""Field of nvidia-smi -> field of a record."""
NOT_FOUND = (
    "no NVIDIA GPU here (looked for: nvidia-smi, {folder}/nvidia0); run this on a machine with one, "
    "or try every part at small sizes on the CPU with --cpu"
)


def parse(text: str) -> dict[str, str]:
    """The first line of nvidia-smi's CSV as fields of a record; empty without a line."""
    lines = text.strip().splitlines()
    if not lines:
        return {}
    return dict(zip(FIELDS.values(), (value.strip() for value in lines[0].split(",")), strict=False))


def found() -> dict[str, str]:
    """Fields of the first GPU that nvidia-smi lists; empty without nvidia-smi or a GPU."""
    words = ["nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader"]
    try:
        return parse(subprocess.run(words, capture_output=True, text=True, check=True, timeout=30).stdout)
    except (OSError, subprocess.SubprocessError):
        return {}


def missing(folder: Path = Path("/dev")) -> str:
    """Why there is no GPU, in one line; "" where there may be one."""
    if found() or (folder / "nvidia0").exists():
        return ""
    return NOT_FOUND.format(folder=folder)


def without_tensorflow(fields: dict[str, str], seen: int, version: str) -> str:
    """Why TensorFlow has no GPU though the machine does, in one line; "" where it has."""
    if seen:
        return ""
    return (
        f"the machine has a GPU ({fields.get('card', 'unknown to nvidia-smi')}), but TensorFlow {version} finds none: "
        "it needs the build for GPUs (`make setup` where nvidia-smi lists the GPU, or pip install -e '.[gpu]') and a "
        "driver for CUDA 12; or try every part on the CPU with --cpu"
    )


def main() -> int:
    import tensorflow as tf

    from recsys_core import devices
    from recsys_core.world import World

    build = tf.sysconfig.get_build_info()
    print_result(
        {
            "gpus": len(tf.config.list_physical_devices("GPU")),
            "tensorflow": tf.__version__,
            "cuda": str(build.get("cuda_version", "")),
            "cudnn": str(build.get("cudnn_version", "")),
            "environment": devices.describe(World()),
        }
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
