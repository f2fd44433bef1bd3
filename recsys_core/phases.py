"""Parts of a training that take turns: each trains some of the parameters by a loss of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import tensorflow as tf


@dataclass(frozen=True, kw_only=True)
class Phase:
    """Some epochs in which some parameters are trained, while the others stay as they are.

    The phases of a model follow each other, again and again. Each has an optimizer of its own.
    """

    parameters: Sequence[tf.Variable]
    loss: Callable[[Any, tf.Tensor], Mapping[str, tf.Tensor]]
    """As `Recommender.loss`."""
    epochs: int = 1
    """Epochs until the next phase."""
    begin: Callable[[], None] | None = None
    """Called before the first step of these epochs, on every rank."""


def alternates(phases: Sequence[Phase]) -> bool:
    """Whether an epoch may have something to do that the one before it had not."""
    return len(phases) > 1 or any(phase.begin is not None for phase in phases)
