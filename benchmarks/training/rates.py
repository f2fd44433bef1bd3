"""What this machine can do at best: rates of matrix products and of memory, to be measured beside what uses them."""

from __future__ import annotations

import time
from typing import Any


def gemm_rate(rows: int, inner: int, columns: int, kind: Any, seconds: float) -> float:
    """Operations/s of [rows, inner] x [inner, columns]."""
    import tensorflow as tf

    left = tf.cast(tf.random.normal([rows, inner]), kind)
    right = tf.cast(tf.random.normal([inner, columns]), kind)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(left, right)[0]))
    product().numpy()
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds:
        product().numpy()
        count += 1
    return count * 2.0 * rows * inner * columns / (time.perf_counter() - start)


def memory_rate(seconds: float, mib: int = 256) -> float:
    """Bytes/s that a sum of two large vectors moves (two read, one written)."""
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
