"""The limit of a step on this machine: the rates of its matrix products and memory, and the roofline that they draw.

Williams et al. 2009: a step takes at least as long as its operations at the rate of matrix products, and at least as
long as its bytes at the rate of memory.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from recsys_core.measuring.windows import ratios

Rate = Callable[[float], float]
"""Measures for so many seconds; returns what was done in a second."""


def product(rows: int, inner: int, columns: int, dtype: Any) -> Rate:
    """Operations/s of [rows, inner] x [inner, columns]."""
    import tensorflow as tf

    left = tf.cast(tf.random.normal([rows, inner]), dtype)
    right = tf.cast(tf.random.normal([inner, columns]), dtype)
    multiply = tf.function(lambda: tf.reduce_sum(tf.matmul(left, right)[0]))
    multiply().numpy()

    def rate(seconds: float) -> float:
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            multiply().numpy()
            count += 1
        return count * 2.0 * rows * inner * columns / (time.perf_counter() - start)

    return rate


def gemm_rate(rows: int, inner: int, columns: int, dtype: Any, seconds: float) -> float:
    """Operations/s of [rows, inner] x [inner, columns], measured for some seconds."""
    return product(rows, inner, columns, dtype)(seconds)


def memory_rate(seconds: float, mib: int = 256) -> float:
    """Bytes/s that the sum of two large vectors moves (two read, one written), measured for some seconds."""
    import tensorflow as tf

    size = mib << 18
    left, right = tf.Variable(tf.ones([size])), tf.ones([size])

    @tf.function
    def add() -> None:
        left.assign_add(right, read_value=False)

    add()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        add()
        count += 1
    left[0].numpy()
    return count * 12.0 * size / (time.perf_counter() - start)


def roofline(
    unit: str, operations: float, size: float, gemm: Sequence[float], memory: Sequence[float], rate: Sequence[float]
) -> dict[str, Any]:
    """Fields of a record: operations and bytes of an example, its limit, the bound, and the share reached.

    Args:
        unit: name of the examples in the fields, "users" or "samples".
        operations: of one example.
        size: bytes of one example that no program avoids.
        gemm: operations/s in each window.
        memory: bytes/s in each window.
        rate: examples/s reached in each window.
    """
    limits = [1 / max(operations / g, size / m) for g, m in zip(gemm, memory, strict=True)]
    ridge = statistics.median(g / m for g, m in zip(gemm, memory, strict=True))
    return {
        "operations": operations,
        "bytes": size,
        "operations_per_byte": operations / size,
        "ridge": ridge,
        "bound": "compute" if operations / size > ridge else "memory",
        "gemm_gflops": [g / 1e9 for g in gemm],
        "memory_gb_per_second": [m / 1e9 for m in memory],
        f"{unit}_per_second": list(rate),
        f"limit_{unit}_per_second": limits,
        "share_of_limit": ratios(rate, limits),
    }
