"""The batch size and the evaluation interval that are taken from the data."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from recsys_core.config import TrainingConfig
from recsys_core.training import sizes
from recsys_core.training.sizes import resolved
from vaecf.config import PRESETS


@dataclass
class Sized:
    """The part of a model that the sizes depend on."""

    examples_per_epoch: int
    unit: str = "users"
    is_closed_form: bool = False

    def steps_per_epoch(self, training: TrainingConfig) -> int:
        return -(-self.examples_per_epoch // training.batch_size)


@pytest.mark.parametrize(
    ("users", "batch", "evaluate_every"),
    [
        (116_677, 500, 1),  # ML-20M: the published batch, 234 steps
        (10_000, 500, 5),  # just large enough: 20 steps
        (9_999, 500, 5),
        (4_539, 227, 5),  # ML-1M: 20 steps
        (483, 25, 5),  # MovieLens latest-small: 20 steps
        (100, 8, 8),  # the smallest batch, 13 steps
        (5, 8, 50),  # one step an epoch, and never a longer interval than the run
    ],
)
def test_small_data_get_small_batches_and_fewer_evaluations(users: int, batch: int, evaluate_every: int) -> None:
    found = resolved(TrainingConfig(epochs=50), Sized(users))  # type: ignore[arg-type]
    assert (found.batch_size, found.evaluate_every) == (batch, evaluate_every)


def test_given_sizes_stay() -> None:
    given = TrainingConfig(epochs=50, batch_size=500, evaluate_every=3)
    assert resolved(given, Sized(483)) == given  # type: ignore[arg-type]


def test_a_recipe_for_large_batches_keeps_its_batch_where_it_was_published() -> None:
    large = PRESETS["nvidia"].config.training
    assert resolved(large, Sized(116_677)).batch_size == 24_576  # type: ignore[arg-type] - ML-20M
    assert resolved(large, Sized(40_000)).batch_size == 10_000  # type: ignore[arg-type]


def test_few_steps_are_pointed_out_with_what_to_change() -> None:
    note = sizes.few_steps(TrainingConfig(epochs=20, batch_size=500), Sized(483))  # type: ignore[arg-type]
    assert note == (
        "batches of 500 leave 1 step in an epoch of 483 users, 20 updates in all; leave the batch size out "
        "(--batch-size; 25 would be taken), or raise the number of epochs (--epochs)"
    )
    ten_steps = TrainingConfig(batch_size=50)
    assert sizes.few_steps(ten_steps, Sized(483)) is None  # type: ignore[arg-type]
    assert sizes.few_steps(TrainingConfig(), Sized(5)) is None  # type: ignore[arg-type] - chosen, not given


@pytest.mark.parametrize(("batch", "ranks", "noted"), [(25, 1, False), (25, 2, True), (64, 2, False), (64, 4, True)])
def test_ranks_with_few_examples_are_pointed_out(batch: int, ranks: int, noted: bool) -> None:
    note = sizes.small_shares(TrainingConfig(batch_size=batch), Sized(483), ranks)  # type: ignore[arg-type]
    assert (note is not None) is noted
    if noted:
        assert note is not None and note.startswith(f"each of the {ranks} processes gets {batch // ranks} users a step")
