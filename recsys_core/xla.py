"""Functions that XLA compiles, and its start."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import tensorflow as tf


@contextlib.contextmanager
def _no_standard_error() -> Iterator[None]:
    """What is written to the process's standard error while the block runs is dropped, that of libraries too."""
    kept, nothing = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nothing, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nothing)


@cache
def start() -> None:
    """Start XLA, once in a process, without its lines.

    It says that it starts and that it compiles, past TensorFlow's log level, each once in the life of a process. An
    error is left to the first function that is needed. On a GPU the lines stay: where the assembler of CUDA is missing,
    XLA ends the process, and they say why.
    """
    quiet = contextlib.nullcontext() if tf.config.list_physical_devices("GPU") else _no_standard_error()
    with tf.init_scope(), quiet, contextlib.suppress(tf.errors.OpError):  # also while a graph is traced
        tf.function(lambda x: x + 1.0, jit_compile=True, autograph=False)(tf.zeros([1])).numpy()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function as one XLA program for each shape of its arguments."""
    start()
    return tf.function(function, jit_compile=True, autograph=False, reduce_retracing=True)
