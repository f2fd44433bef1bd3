"""The compiled step of very large sizes: it is cut to a budget of memory, and trains as the sparse step does."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from recsys_core.config import TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.matrices import Csr
from recsys_core.training.optimizer import Adam
from recsys_core.training.precision import resolve
from recsys_core.training.step import TrainStep
from recsys_core.world import World
from vaecf.model import MultVae

STEPS, EACH = 3, 10
BUDGET = 2.0**27
"""Bytes of the temporary arrays of a part; a whole batch [B, I] of float32 alone is 200 MB and more."""


def random_items(n_users: int, n_items: int) -> Dataset:
    """So many users of `EACH` different items."""
    rng = np.random.default_rng(0)
    starts = rng.integers(0, n_items, (n_users, 1), np.int64)
    items = np.sort((starts + np.arange(EACH) * (n_items // EACH)) % n_items, axis=1)
    indptr = np.arange(n_users + 1, dtype=np.int64) * EACH
    return Dataset.from_csr(Csr(indptr=indptr, indices=items.ravel().astype(np.int32), n_items=n_items))


def trained(data: Dataset, batch_size: int, budget: float) -> tuple[npt.NDArray[np.float32], int]:
    """The losses of the first steps, and the parts of a step. budget: 0 for the sparse step."""
    model = MultVae(data, preset="paper", hidden=(8,), latent=4, seed=0)
    training, world = TrainingConfig(batch_size=batch_size), World()
    model.prepare_training(training, world, step_bytes=budget)
    step = TrainStep(
        model.loss,
        model.loss_names,
        model.parameters,
        Adam(model.parameters),
        lambda progress: tf.constant(1e-3),
        total_steps=STEPS,
        world=world,
        precision=resolve("fp32", world),
        sparse_tables=model.sparse_tables,
        compiled_parts=model.parts_per_step if budget else 0,
    )
    losses = step.run(iter(model.batches(training, world, 0, STEPS)), STEPS)["loss"]
    return losses, model.parts_per_step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n_users", "n_items", "batch_size"), [(400, 1_000_000, 200), (100_000, 600, 100_000)], ids=["items", "users"]
)
def test_a_million_items_and_a_hundred_thousand_users_a_batch(n_users: int, n_items: int, batch_size: int) -> None:
    data = random_items(n_users, n_items)
    found, parts = trained(data, batch_size, BUDGET)
    assert parts > 1
    assert found == pytest.approx(trained(data, batch_size, 0.0)[0], rel=1e-4)
    assert len(set(found.tolist())) == STEPS
