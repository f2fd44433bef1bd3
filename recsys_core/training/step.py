"""One training step, and the inner loop of several of them in one graph. Knows no model: only a loss and variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.distributed import World
from recsys_core.errors import NonFiniteError
from recsys_core.training.embedding import summed_rows
from recsys_core.training.optimizer import Adam
from recsys_core.training.precision import LossScale

LossFunction = Callable[[Any, tf.Tensor], Mapping[str, tf.Tensor]]
"""(batch, fraction of the run) -> this rank's share of each term; "loss" is what is minimised.

Shares add up over ranks to the mean over the global batch."""


Gradient: TypeAlias = tf.Tensor | tf.IndexedSlices


def _values(gradient: Gradient) -> tf.Tensor:
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _divided(gradient: Gradient, scale: tf.Tensor) -> Gradient:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values / scale, gradient.indices, gradient.dense_shape)
    return gradient / scale


class TrainStep(tf.Module):
    """Forward, backward, exchange, update.

    Scaled gradients are summed over ranks before they are checked, so every rank sees the same verdict.
    """

    def __init__(
        self,
        loss_function: LossFunction,
        terms: Sequence[str],
        variables: Sequence[tf.Variable],
        optimizer: Adam,
        learning_rate: Callable[[tf.Tensor], tf.Tensor],
        *,
        total_steps: int,
        world: World,
        scaled: bool = False,
        by_rows: Sequence[tf.Variable] = (),
    ) -> None:
        """
        Args:
            by_rows: embedding tables whose gradients travel and are applied by row (see `embedding`).
            terms: names of the terms that `loss_function` returns, "loss" first.
            learning_rate: fraction of the run -> learning rate.
            scaled: whether the loss is scaled dynamically (fp16).
        """
        super().__init__(name="train_step")
        assert terms[0] == "loss"
        self._loss_function, self._terms, self._variables = loss_function, tuple(terms), list(variables)
        self._by_rows = {v.ref() for v in by_rows}
        self._learning_rate, self._total_steps, self._world = learning_rate, total_steps, world
        self.optimizer = optimizer
        self.loss_scale = LossScale(scaled)
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")

    def _gradients(self, batch: Any, fraction: tf.Tensor) -> tuple[list[Gradient], tf.Tensor]:
        """Gradients of the global batch, still scaled, and its loss terms [T]."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables)
            terms = self._loss_function(batch, fraction)
            target = terms["loss"] * self.loss_scale.value if self.loss_scale.enabled else terms["loss"]
        gradients = tape.gradient(target, self._variables)
        reduced = [
            summed_rows(g, self._world, f"gradient/{k}")
            if v.ref() in self._by_rows
            else self._world.sum_in_graph(tf.convert_to_tensor(g), name=f"gradient/{k}")
            for k, (v, g) in enumerate(zip(self._variables, gradients, strict=True))
        ]
        shares = tf.stack([tf.cast(terms[name], tf.float32) for name in self._terms])
        return reduced, self._world.sum_in_graph(shares, name="loss_terms")

    def _one(self, batch: Any) -> tf.Tensor:
        """Take one step; returns the loss terms [T] and the norm of each unscaled gradient [V], as one vector."""
        fraction = tf.cast(self.step, tf.float32) / self._total_steps
        gradients, terms = self._gradients(batch, fraction)
        penalty = tf.reshape(self.optimizer.penalty(), [1])
        norms = tf.stack([tf.sqrt(2.0 * tf.nn.l2_loss(_values(g))) for g in gradients]) / self.loss_scale.value
        rate = self._learning_rate(fraction)
        if self.loss_scale.enabled:
            finite = tf.reduce_all(tf.math.is_finite(norms))
            unscaled = [_divided(g, self.loss_scale.value) for g in gradients]
            tf.cond(finite, lambda: self._apply(unscaled, rate), lambda: tf.constant(False))
            self.loss_scale.update(finite)
        else:
            self._apply(gradients, rate)
        self.step.assign_add(1)
        return tf.concat([terms[:1] + penalty, terms[1:], norms], axis=0)

    def _apply(self, gradients: Sequence[Gradient], rate: tf.Tensor) -> tf.Tensor:
        self.optimizer.apply(gradients, self.step, rate)
        return tf.constant(True)

    @tf.function(reduce_retracing=True)
    def _several(self, batches: Any, count: tf.Tensor) -> tf.Tensor:
        width = len(self._terms) + len(self._variables)
        rows = tf.TensorArray(tf.float32, size=count, element_shape=[width])
        for k in tf.range(count):
            # One step at a time: an exchange must not start while another of the same name is still under way.
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            rows = rows.write(k, self._one(next(batches)))
        return rows.stack()

    def run(self, batches: Any, count: int) -> dict[str, npt.NDArray[np.float32]]:
        """Take `count` steps in one graph call.

        Args:
            batches: iterator of a `tf.data` pipeline.

        Returns:
            [count] values of each loss term, of "gradient_norm" (0 where loss scaling skipped the step), and with
            loss scaling of "skipped_steps" and "loss_scale".

        Raises:
            NonFiniteError: a term, or without loss scaling a gradient, is not finite; names step and quantity.
        """
        first = int(self.step)
        rows = self._several(batches, tf.constant(count)).numpy()
        terms, norms = rows[:, : len(self._terms)], rows[:, len(self._terms) :]
        self._check(first, terms, self._terms)
        if not self.loss_scale.enabled:
            self._check(first, norms, [f"gradient of {v.name}" for v in self._variables])
        result = {name: terms[:, k] for k, name in enumerate(self._terms)}
        norm = np.sqrt((norms.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)
        skipped = ~np.isfinite(norm)  # with loss scaling only: the step was not taken
        result["gradient_norm"] = np.where(skipped, 0, norm)
        if self.loss_scale.enabled:
            result["skipped_steps"] = skipped.astype(np.float32)
            result["loss_scale"] = np.full(count, float(self.loss_scale.value), np.float32)
        return result

    def _check(self, first: int, table: npt.NDArray[np.float32], names: Sequence[str]) -> None:
        bad = np.argwhere(~np.isfinite(table))
        if len(bad):
            row, column = bad[0]
            raise NonFiniteError(
                f"step {first + row}: {names[column]} is {table[row, column]}; lower --learning-rate, or use "
                "--precision fp32 if it was lower. The last checkpoint is intact."
            )
