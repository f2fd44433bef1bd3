"""Settings of TensorFlow that decide the bits of a result. They hold for the whole process.

TF32: TensorFlow multiplies float32 matrices on GPUs of compute capability 8.0 and later with 10 bits of fraction
instead of 23, unless it is told not to. Its operators read the setting when they run. XLA reads it when it compiles a
function, and the program keeps it.

Deterministic operators: on GPUs some of TensorFlow's operators add numbers in an order that changes from run to run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf
from tensorflow.python.framework import config as _framework_config


def use_float32_products() -> None:
    """Multiply float32 matrices in float32 from now on. Models, rankings and trainings call it; it is cheap."""
    tf.config.experimental.enable_tensor_float_32_execution(False)


@contextmanager
def tf32_products(wanted: bool) -> Iterator[None]:
    """Multiply float32 matrices in TF32 while the block runs, if `wanted`, and in float32 after it, errors included.

    What other threads multiply meanwhile is computed in TF32 too.
    """
    tf.config.experimental.enable_tensor_float_32_execution(wanted)
    try:
        yield
    finally:
        use_float32_products()


def use_deterministic_operators() -> None:
    """Use operators that give the same bits each time, to the end of the process. Call before graphs are built.

    Random operators without a seed then raise RuntimeError. An operator that has no deterministic form raises
    tf.errors.UnimplementedError where it would run on a GPU.
    """
    tf.config.experimental.enable_op_determinism()


def are_operators_deterministic() -> bool:
    """Whether `use_deterministic_operators`, or the caller's program in its own way, asked for that."""
    return bool(_framework_config.is_op_determinism_enabled())
