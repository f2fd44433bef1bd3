"""One training step, and several of them in one graph. Knows no model: only a loss and variables.

Shape legend: T loss terms, V variables.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.errors import NonFiniteError
from recsys_core.training.exchange import summed
from recsys_core.training.optimizer import Adam
from recsys_core.training.precision import KNOWN, LossScale, Precision
from recsys_core.training.sparse_gradients import summed_rows
from recsys_core.world import World
from recsys_core.xla import compiled

LossFunction = Callable[[Any, tf.Tensor], Mapping[str, tf.Tensor]]
"""(batch, progress of the run) -> this rank's share of each term; "loss" is what is minimised.

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

    Scaled gradients are summed over ranks before they are checked, so that all ranks skip a step together. A skipped
    step uses its batch, but is no update: Adam's bias correction and the schedules do not advance.
    """

    def __init__(
        self,
        loss_function: LossFunction,
        loss_names: Sequence[str],
        variables: Sequence[tf.Variable],
        optimizer: Adam,
        learning_rate: Callable[[tf.Tensor], tf.Tensor],
        *,
        total_steps: int,
        world: World,
        precision: Precision = KNOWN["fp32"],
        sparse_tables: Sequence[tf.Variable] = (),
        compiled_parts: int = 0,
        exchange: str = "fp32",
        before: TrainStep | None = None,
    ) -> None:
        """
        Args:
            loss_names: names of the losses that `loss_function` returns, "loss" first.
            learning_rate: progress of the run -> learning rate.
            precision: whether the loss is scaled dynamically, and products are in TF32 while steps run.
            sparse_tables: embedding tables whose gradients are exchanged and applied by row (see `sparse_gradients`).
            compiled_parts: 0, or the number of parts in which a step that XLA compiles takes its batch. Every field of
                a batch then has an axis [parts] first, and the loss function gets one part.
            exchange: type in which ranks exchange gradients of whole variables (`exchange.summed`).
            before: the training step of another phase, with which this one shares its number of steps and its loss
                scale.
        """
        super().__init__(name="train_step")
        assert loss_names[0] == "loss"
        assert compiled_parts <= 1 or not sparse_tables, "gradients by row are not added up over parts"
        self._loss_function, self._loss_names, self._variables = loss_function, tuple(loss_names), list(variables)
        self._sparse_tables = {v.ref() for v in sparse_tables}
        self._learning_rate, self._total_steps, self._world = learning_rate, total_steps, world
        self._parts = compiled_parts
        self.optimizer = optimizer
        self._precision, self._exchange_type = precision, exchange
        self.loss_scale: LossScale = before.loss_scale if before else LossScale(precision.scaled)
        own = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        self.step: tf.Variable = before.step if before else own
        self._phase: int = before._phase + 1 if before else 0

    @property
    def updates(self) -> int:
        """Updates so far; a step that loss scaling skips is none."""
        return int(self.optimizer.updates)

    def _gradients(self, batch: Any, progress: tf.Tensor) -> tuple[list[Gradient], tf.Tensor]:
        """This rank's share of the gradients, still scaled, and of the loss terms [T]."""
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self._variables)
            losses = self._loss_function(batch, progress)
            target = losses["loss"] * self.loss_scale.value if self.loss_scale.enabled else losses["loss"]
        gradients = [
            # int64: int32 that leaves an XLA program has to be in host memory
            tf.IndexedSlices(g.values, tf.cast(g.indices, tf.int64))
            if v.ref() in self._sparse_tables
            else tf.convert_to_tensor(g)
            for v, g in zip(self._variables, tape.gradient(target, self._variables), strict=True)
        ]
        return gradients, tf.stack([tf.cast(losses[name], tf.float32) for name in self._loss_names])

    def _gradients_of_parts(self, batch: Any, progress: tf.Tensor) -> tuple[list[Gradient], tf.Tensor]:
        """`_gradients` of a batch in parts, one after another, so that the arrays of one part exist at a time."""

        def of_part(k: Any) -> tuple[list[Gradient], tf.Tensor]:
            return self._gradients(tf.nest.map_structure(lambda field: field[k], batch), progress)

        if self._parts == 1:
            return of_part(0)

        def one(k: tf.Tensor, *sums: tf.Tensor) -> tuple:
            gradients, shares = of_part(k)
            return k + 1, *(old + new for old, new in zip(sums, (*gradients, shares), strict=True))

        none = [tf.zeros(v.shape) for v in self._variables], tf.zeros([len(self._loss_names)])
        _, *sums = tf.while_loop(lambda k, *_: k < self._parts, one, (0, *none[0], none[1]))
        return sums[:-1], sums[-1]

    def _exchanged(self, gradients: Sequence[Gradient]) -> list[Gradient]:
        """The sums over ranks: gradients of the global batch."""
        return [
            summed_rows(g, self._world, f"{self._exchange}gradient/{k}")
            if isinstance(g, tf.IndexedSlices)
            else summed(g, self._world, f"{self._exchange}gradient/{k}", self._exchange_type)
            for k, g in enumerate(gradients)
        ]

    @property
    def _exchange(self) -> str:
        """First part of the names of exchanges: Horovod expects one shape of each name."""
        return f"phase/{self._phase}/" if self._phase else ""

    def _applied(self, gradients: Sequence[Gradient], shares: tf.Tensor, progress: tf.Tensor) -> tf.Tensor:
        """Update the variables; [T + 1 + V + 1] this rank's shares of the loss terms, what the optimizer adds to the
        loss, norms of the gradients, the loss scale before."""
        scale = tf.identity(self.loss_scale.value)
        penalty = tf.reshape(self.optimizer.penalty(), [1])
        norms = tf.stack([tf.sqrt(2.0 * tf.nn.l2_loss(_values(g))) for g in gradients]) / scale
        self._update(gradients, norms, progress)
        self.step.assign_add(1)
        return tf.concat([shares, penalty, norms, [scale]], axis=0)

    def _one_step(self) -> Callable[[Any], tf.Tensor]:
        """The step as a function of a batch. XLA cannot hold an exchange, nor rows whose number is found on the way."""
        gradients_of, applied = self._gradients, self._applied
        if self._parts:
            alone = self._world.size == 1 and not self._sparse_tables
            gradients_of = self._gradients_of_parts if alone else compiled(self._gradients_of_parts)
            applied = self._applied if alone or self._sparse_tables else compiled(self._applied)

        def one_step(batch: Any) -> tf.Tensor:
            progress = tf.minimum(1.0, tf.cast(self.optimizer.updates, tf.float32) / self._total_steps)
            gradients, shares = gradients_of(batch, progress)
            return applied(self._exchanged(gradients), shares, progress)

        return compiled(one_step) if self._parts and alone else one_step

    def _update(self, gradients: Sequence[Gradient], norms: tf.Tensor, progress: tf.Tensor) -> None:
        """Apply the scaled gradients, or skip the step where the norms [V] of the unscaled ones are not finite."""
        rate = self._learning_rate(progress)
        if not self.loss_scale.enabled:
            self.optimizer.apply(gradients, rate)
            return

        def apply() -> tf.Tensor:
            self.optimizer.apply([_divided(g, self.loss_scale.value) for g in gradients], rate)
            return tf.constant(True)

        finite = tf.reduce_all(tf.math.is_finite(norms))
        tf.cond(finite, apply, lambda: tf.constant(False))
        self.loss_scale.update(finite)

    @tf.function(reduce_retracing=True, autograph=False)  # converting the code would take longer than tracing it
    def _run_steps(self, batches: Any, count: tf.Tensor) -> tf.Tensor:
        """Take `count` steps; a row [T + V + 1] for each: loss terms, norms of gradients, the loss scale before it.

        The loss terms are only shown, so the ranks' shares of all steps are added up in one exchange at the end.
        """
        one_step = self._one_step()

        def one(k: tf.Tensor, rows: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            return k + 1, rows.write(k, one_step(next(batches)))

        terms = len(self._loss_names)
        width = terms + 1 + len(self._variables) + 1
        none = tf.TensorArray(tf.float32, size=count, element_shape=[width])
        # One step at a time: an exchange must not start while another of the same name is still under way.
        rows = tf.while_loop(lambda k, _: k < count, one, (0, none), parallel_iterations=1)[1].stack()
        losses = self._world.sum_in_graph(rows[:, :terms], name=f"{self._exchange}losses")
        whole = losses[:, :1] + rows[:, terms : terms + 1]
        return tf.concat([whole, losses[:, 1:], rows[:, terms + 1 :]], axis=1)

    def run(self, batches: Any, count: int) -> dict[str, npt.NDArray[np.float32]]:
        """Take `count` steps in one graph call.

        Args:
            batches: iterator of a `tf.data` pipeline.

        Returns:
            [count] values of each loss term, of "gradient_norm" (0 where loss scaling skipped the step), and with
            loss scaling of "skipped_steps" and "loss_scale".

        Raises:
            NonFiniteError: a term is not finite; or a gradient is not, without loss scaling or at its smallest scale.
                Names step and quantity.
        """
        first = int(self.step)
        with self._precision.in_steps():
            rows = self._run_steps(batches, tf.constant(count)).numpy()
        losses, norms, scales = np.split(rows, [len(self._loss_names), rows.shape[1] - 1], axis=1)
        self._check_finite(first, losses, self._loss_names)
        at_smallest = scales <= LossScale.SMALLEST  # no smaller scale is left: all further steps would be skipped
        where = " at the smallest loss scale" if self.loss_scale.enabled else ""
        names = [f"gradient of {v.name}{where}" for v in self._variables]
        self._check_finite(first, np.where(at_smallest, norms, 0), names)
        result = {name: losses[:, k] for k, name in enumerate(self._loss_names)}
        norm = np.sqrt((norms.astype(np.float64) ** 2).sum(axis=1)).astype(np.float32)
        skipped = ~np.isfinite(norm)  # with loss scaling only: the step was not taken
        result["gradient_norm"] = np.where(skipped, 0, norm)
        if self.loss_scale.enabled:
            result["skipped_steps"] = skipped.astype(np.float32)
            result["loss_scale"] = np.full(count, float(self.loss_scale.value), np.float32)
        return result

    def _check_finite(self, first: int, table: npt.NDArray[np.float32], names: Sequence[str]) -> None:
        bad = np.argwhere(~np.isfinite(table))
        if len(bad):
            row, column = bad[0]
            raise NonFiniteError(
                f"step {first + row}: {names[column]} is {table[row, column]}; lower --learning-rate, or use "
                "--precision fp32 if it was lower. The last checkpoint is intact."
            )
