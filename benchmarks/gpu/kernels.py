"""What a profile of TensorFlow (an XSpace of XPlanes) says of the GPU's time: kernels, matrix products, copies."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

PRODUCT = re.compile(r"gemm|cutlass|xmma|cublas|nvjet|wgmma|matmul|(?:^|_)dot(?:_|$|\.)", re.IGNORECASE)
"""Names of kernels that multiply matrices: cuBLAS's, CUTLASS's, and XLA's own."""
COPY = re.compile(r"^Mem(?:cpy|set)", re.IGNORECASE)
TO_HOST = re.compile(r"^MemcpyD(?:to|2)H", re.IGNORECASE)
"""A copy to the host: the compiled step has one a call, with the loss terms."""
GPU, HOST = "/device:GPU", "/host:CPU"
LONGEST = 20
"""Kernels in a record."""


def newest_profile(folder: Path) -> Path:
    """The profile that was written last below a folder.

    Raises:
        ValueError: there is none.
    """
    found = sorted(folder.rglob("*.xplane.pb"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ValueError(f"there is no *.xplane.pb below {folder}, expected TensorFlow's profile")
    return found[-1]


def read_space(path: Path) -> Any:
    """The XSpace of a profile."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    space.ParseFromString(path.read_bytes())
    return space


def kernel_times(space: Any, device: str = GPU) -> dict[str, tuple[float, int]]:
    """Name -> (milliseconds, times) of what ran on the planes of a device, over all its streams.

    Other lines of a GPU's plane repeat the kernels under the names of steps and operators.
    """
    times: dict[str, list[float]] = defaultdict(lambda: [0.0, 0])
    for plane in space.planes:
        if not plane.name.startswith(device):
            continue
        for line in plane.lines:
            if device == GPU and not line.name.startswith("Stream"):
                continue
            for event in line.events:
                entry = times[plane.event_metadata[event.metadata_id].name]
                entry[0] += event.duration_ps / 1e9
                entry[1] += 1
    return {name: (ms, int(count)) for name, (ms, count) in times.items()}


def summary(times: dict[str, tuple[float, int]], steps: int) -> dict[str, Any]:
    """Fields of a record: milliseconds of a step on the device, shares of products and copies, the longest kernels."""
    busy = sum(ms for ms, _ in times.values())

    def share(pattern: re.Pattern[str]) -> float:
        return sum(ms for name, (ms, _) in times.items() if pattern.search(name)) / busy if busy else 0.0

    def count(pattern: re.Pattern[str]) -> float:
        return sum(often for name, (_, often) in times.items() if pattern.search(name)) / steps

    longest = sorted(times.items(), key=lambda item: -item[1][0])[:LONGEST]
    return {
        "busy_ms": busy / steps,
        "product_share": share(PRODUCT),
        "copy_share": share(COPY),
        "copies_to_host": count(TO_HOST),
        "kernels": [{"name": name[:90], "ms": ms / steps, "times": count / steps} for name, (ms, count) in longest],
    }
