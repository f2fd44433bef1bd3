"""The mean of the parameters over a run's evaluations, which ranks better than where the last steps happened to lead.

Steps go on from the parameters themselves. What is evaluated, kept and exported is the mean (Polyak and Juditsky 1992;
Izmailov et al. 2018 took it at the ends of epochs, as here), with weights that fall with age or are all the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import tensorflow as tf


class Averages(tf.Module):
    """Means beside parameters. Both are the same on every rank, so nothing is exchanged."""

    def __init__(self, parameters: Sequence[tf.Variable], decay: float) -> None:
        """
        Args:
            decay: weight of an evaluation relative to that of the one after it, above 0 and up to 1.
        """
        super().__init__(name="averages")
        self._parameters, self._decay = list(parameters), decay
        self.count = tf.Variable(0, dtype=tf.int64, trainable=False, name="averages/count")
        self.means = [
            tf.Variable(p, trainable=False, name=f"averages/{k}", dtype=p.dtype) for k, p in enumerate(self._parameters)
        ]

    def restart(self) -> None:
        """Forget all that was taken."""
        self.count.assign(0)

    @tf.function(autograph=False)
    def update(self) -> None:
        """Take the parameters into the means; the first time they become the means."""
        count = tf.cast(self.count.assign_add(1), tf.float64)
        faded = tf.constant(self._decay, tf.float64) ** count
        share = 1 / count if self._decay == 1 else (1 - self._decay) / (1 - faded)
        for mean, parameter in zip(self.means, self._parameters, strict=True):
            mean.assign_add((parameter - mean) * tf.cast(share, mean.dtype))

    @tf.function(autograph=False)
    def swap(self) -> None:
        """Exchange parameters and means."""
        for mean, parameter in zip(self.means, self._parameters, strict=True):
            kept = tf.identity(parameter)
            with tf.control_dependencies([kept]):
                parameter.assign(mean)
            mean.assign(kept)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The means stand in the parameters' place while the block runs."""
        self.swap()
        try:
            yield
        finally:
            self.swap()
