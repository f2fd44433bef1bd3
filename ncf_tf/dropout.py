"""Dropout whose masks belong to samples. Shape legend: P users, C items of each, H units."""

from __future__ import annotations

import tensorflow as tf

from recsys_core.input import noise


class Dropping:
    """Dropout masks of a training step: they belong to the sample, so every rank that holds it draws the same."""

    def __init__(self, step: tf.Tensor, samples: tf.Tensor) -> None:
        """
        Args:
            step: [] int64.
            samples: [P, C] int64 a number for each sample of the epoch.
        """
        self._step, self._samples = step, samples

    def of_samples(self, x: tf.Tensor, key: int, rate: float) -> tf.Tensor:
        """x [P * C, H] with units dropped and the others scaled up."""
        return self._dropped(x, tf.reshape(self._samples, [-1]), key, rate)

    def items_major(self) -> Dropping:
        """The same for samples in the order [C, P]."""
        return Dropping(self._step, tf.transpose(self._samples))

    def of_users(self, x: tf.Tensor, key: int, rate: float) -> tf.Tensor:
        """x [P, H], the same for all samples of a pair."""
        return self._dropped(x, self._samples[:, 0], key, rate)

    def _dropped(self, x: tf.Tensor, rows: tf.Tensor, key: int, rate: float) -> tf.Tensor:
        kept = noise.keep_units(key, self._step, rows, x.shape[-1], rate)
        return tf.where(kept, x / tf.cast(1.0 - rate, x.dtype), tf.zeros([], x.dtype))
