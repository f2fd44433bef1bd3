"""Schedules over the progress of the run, so that they mean the same at any batch size and any number of ranks."""

from __future__ import annotations

import math

import tensorflow as tf

from recsys_core.config import LEARNING_RATE_SCHEDULES


def linear_ramp(progress: tf.Tensor, end: float) -> tf.Tensor:
    """0 at the start of the run, 1 from `end` on (1 throughout if `end` is 0)."""
    return tf.minimum(1.0, progress / end) if end > 0 else tf.ones_like(progress)


def learning_rate(progress: tf.Tensor, base: float, schedule: str, warmup: float) -> tf.Tensor:
    """The learning rate at some progress of the run: a linear warm-up, then constant or falling to 0.

    Args:
        progress: [] float32 in [0, 1), the share of the run that is done.
        warmup: the share of the run over which it rises from 0.

    Raises:
        ValueError: an unknown schedule (the known ones are listed).
    """
    if schedule not in LEARNING_RATE_SCHEDULES:
        raise ValueError(
            f"unknown learning rate schedule {schedule!r}, known are: {', '.join(LEARNING_RATE_SCHEDULES)}"
        )
    past = tf.maximum(0.0, (progress - warmup) / max(1.0 - warmup, 1e-9))
    fall = {"constant": tf.ones_like(progress), "linear": 1.0 - past, "cosine": 0.5 * (1.0 + tf.cos(math.pi * past))}
    return base * linear_ramp(progress, warmup) * fall[schedule]
