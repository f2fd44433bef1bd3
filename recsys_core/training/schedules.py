"""Schedules over the fraction of the run, so that they mean the same at any batch size and any number of ranks."""

from __future__ import annotations

import math

import tensorflow as tf

LEARNING_RATE = ("constant", "linear", "cosine")


def linear_ramp(fraction: tf.Tensor, end: float) -> tf.Tensor:
    """0 at the start of the run, 1 from the fraction `end` on (1 throughout if `end` is 0)."""
    return tf.minimum(1.0, fraction / end) if end > 0 else tf.ones_like(fraction)


def learning_rate(fraction: tf.Tensor, base: float, schedule: str, warmup: float) -> tf.Tensor:
    """The learning rate at a fraction of the run: a linear warm-up, then constant or falling to 0.

    Args:
        fraction: [] float32 in [0, 1).
        warmup: the fraction of the run over which it rises from 0.

    Raises:
        ValueError: an unknown schedule (the known ones are listed).
    """
    if schedule not in LEARNING_RATE:
        raise ValueError(f"unknown learning rate schedule {schedule!r}, known are: {', '.join(LEARNING_RATE)}")
    past = tf.maximum(0.0, (fraction - warmup) / max(1.0 - warmup, 1e-9))
    fall = {"constant": tf.ones_like(fraction), "linear": 1.0 - past, "cosine": 0.5 * (1.0 + tf.cos(math.pi * past))}
    return base * linear_ramp(fraction, warmup) * fall[schedule]
