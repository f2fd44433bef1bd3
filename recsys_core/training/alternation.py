"""A training step that changes with the epoch: the phases of a model take turns.

An epoch has one phase. Which one, and whether it is just beginning, follows from the number of steps taken, so that a
run goes on after any checkpoint.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.phases import Phase
from recsys_core.training.optimizer import Adam
from recsys_core.training.precision import LossScale
from recsys_core.training.step import TrainStep


class Optimizers(tf.Module):
    """The optimizers of all phases, as one object of a checkpoint."""

    def __init__(self, optimizers: Sequence[Adam]) -> None:
        super().__init__(name="optimizers")
        self.of_phases = list(optimizers)


class Alternation(tf.Module):
    """The training steps of the phases, used as one `TrainStep`."""

    def __init__(self, phases: Sequence[Phase], steps: Sequence[TrainStep], steps_per_epoch: int) -> None:
        """
        Args:
            steps: a training step for each phase; they share `step` and `loss_scale`.
        """
        super().__init__(name="alternation")
        self._phases, self._steps, self._steps_per_epoch = list(phases), list(steps), steps_per_epoch
        self.optimizer = Optimizers([step.optimizer for step in steps])

    @property
    def step(self) -> tf.Variable:
        """[] int64 steps taken."""
        return self._steps[0].step

    @property
    def loss_scale(self) -> LossScale:
        return self._steps[0].loss_scale

    @property
    def updates(self) -> int:
        """Updates so far; a step that loss scaling skips is none."""
        return sum(step.updates for step in self._steps)

    def _phase_of(self, step: int) -> tuple[int, bool]:
        """Number of the phase that takes a step, and whether that is the first step of its epochs."""
        epoch, within = divmod(step, self._steps_per_epoch)
        left = epoch % sum(phase.epochs for phase in self._phases)
        for number, phase in enumerate(self._phases):
            if left < phase.epochs:
                return number, left == 0 and within == 0
            left -= phase.epochs
        raise AssertionError("the phases have no epochs")

    def run(self, batches: Any, count: int) -> dict[str, npt.NDArray[np.float32]]:
        """Take `count` steps, all of one epoch; see `TrainStep.run`."""
        first = int(self.step)
        number, is_first = self._phase_of(first)
        assert (first % self._steps_per_epoch) + count <= self._steps_per_epoch, "a call must not pass an epoch's end"
        begin = self._phases[number].begin
        if is_first and begin is not None:
            begin()
        return self._steps[number].run(batches, count)
