"""Batch size and evaluation interval where the settings leave them to the data."""

from __future__ import annotations

import math
from dataclasses import replace

from recsys_core.config import TrainingConfig
from recsys_core.model import Recommender

SMALLEST_BATCH = 8
"""Examples in the smallest batch that is chosen; smaller ones give noisy gradients and cannot be shared by ranks."""
STEPS_BETWEEN_EVALUATIONS = 100
FEW_EXAMPLES = 32
"""A rank with fewer examples a step spends more time on exchanging gradients than it saves."""
FEW_STEPS = 10
"""An epoch of fewer steps is pointed out: a run of the usual number of epochs then makes few updates."""


def resolved(training: TrainingConfig, model: Recommender) -> TrainingConfig:
    """The settings with a number in place of 0 for the batch size and the evaluation interval.

    The batch is the published one where the data fill `min_steps_per_epoch` of them, else smaller by that much.
    """
    if model.is_closed_form:
        return replace(training, batch_size=training.batch_size or 1, evaluate_every=training.evaluate_every or 1)
    if not training.batch_size:
        fitting = math.ceil(model.examples_per_epoch / training.min_steps_per_epoch)
        batch = min(training.published_batch_size, max(fitting, SMALLEST_BATCH))
        training = replace(training, batch_size=batch)
    if not training.evaluate_every:
        epochs = math.ceil(STEPS_BETWEEN_EVALUATIONS / max(model.steps_per_epoch(training), 1))
        training = replace(training, evaluate_every=min(epochs, training.epochs))
    return training


def few_steps(given: TrainingConfig, model: Recommender) -> str | None:
    """A sentence for the user where a batch that was given leaves few steps in an epoch; None where it does not."""
    if not given.batch_size or model.is_closed_form:
        return None
    steps = model.steps_per_epoch(given)
    if steps >= FEW_STEPS:
        return None
    chosen = resolved(replace(given, batch_size=0), model).batch_size
    return (
        f"batches of {given.batch_size:,} leave {steps} step{'s'[: steps > 1]} in an epoch of "
        f"{model.examples_per_epoch:,} {model.unit}, {steps * given.epochs:,} updates in all; leave the batch size out "
        f"(--batch-size; {chosen:,} would be taken), or raise the number of epochs (--epochs)"
    )


def small_shares(resolved_training: TrainingConfig, model: Recommender, ranks: int) -> str | None:
    """A sentence for the user where ranks get so few examples that one process is likely faster; else None."""
    share = resolved_training.batch_size // ranks
    if ranks == 1 or share >= FEW_EXAMPLES or model.is_closed_form:
        return None
    return (
        f"each of the {ranks} processes gets {share} {model.unit} a step, and the exchange of gradients takes longer "
        "than that: on data of this size one process is likely faster, with the same result"
    )
