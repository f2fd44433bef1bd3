"""Parts of networks: initial values, and a dense layer in the compute type.

Shape legend: B users, H input width, K output width.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import tensorflow as tf

from recsys_core.seeding import generator

BIAS_STDDEV = 0.001

Layer: TypeAlias = tuple[tf.Variable, tf.Variable]
"""Kernel [H, K] and bias [K], float32."""


def kernel(seed: int, name: str, rows: int, columns: int) -> tf.Variable:
    """Xavier uniform (Glorot and Bengio 2010)."""
    limit = np.sqrt(6.0 / (rows + columns))
    values = generator(seed, f"init/{name}").uniform(-limit, limit, (rows, columns)).astype(np.float32)
    return tf.Variable(values, name=name)


def bias(seed: int, name: str, width: int) -> tf.Variable:
    """Normal with standard deviation 0.001; values beyond two standard deviations are drawn again."""
    rng = generator(seed, f"init/{name}")
    values = rng.standard_normal(width)
    while (far := np.abs(values) > 2).any():
        values[far] = rng.standard_normal(int(far.sum()))
    return tf.Variable((BIAS_STDDEV * values).astype(np.float32), name=name)


def layer(seed: int, name: str, rows: int, columns: int) -> Layer:
    """A fresh layer; its two variables are called NAME/kernel and NAME/bias."""
    return kernel(seed, f"{name}/kernel", rows, columns), bias(seed, f"{name}/bias", columns)


def layers(seed: int, part: str, widths: Sequence[int]) -> list[Layer]:
    """Fresh layers from each width to the next."""
    return [layer(seed, f"{part}/{k}", rows, columns) for k, (rows, columns) in enumerate(itertools.pairwise(widths))]


def dense(x: tf.Tensor, of: Layer) -> tf.Tensor:
    """[B, K] x [B, H] times the kernel, plus the bias, in the type of x."""
    return tf.matmul(x, tf.cast(of[0], x.dtype)) + tf.cast(of[1], x.dtype)
