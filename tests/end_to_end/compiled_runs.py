"""Fifty steps of several trainings, by the sparse or the compiled step: in the process of the tests, or on ranks.

On ranks: horovodrun -np N python -m tests.end_to_end.compiled_runs FOLDER USERS PAIRS CASE ...
writes FOLDER/ranks-N.npz with the losses of the compiled steps. USERS and PAIRS are the two prepared data sets.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

from ncf_tf.model import NeuMf
from recsys_core import devices
from recsys_core.dataset import Dataset
from recsys_core.training.task import TrainTask, check_task
from recsys_core.training.trainer import Trainer
from recsys_core.world import World, session
from vaecf import dense
from vaecf.config import SPEC as VAECF

STEPS = 50
FEW_USERS, FEW_PAIRS = 80_000 / 2**30, 2_000_000 / 2**30
"""GiB that a dozen users fill, and some 500 pairs."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A training: model, settings, and how the compiled step is made to work."""

    preset: str
    memory: float = 0.0
    """GiB for the compiled step (0: all at once)."""
    is_blocked: bool = False
    """Whether the step looks the first layer's rows up, and takes the likelihood in blocks of items."""
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_vae(self) -> bool:
        return self.preset != "he2017"


NARROW = {"hidden": (24,), "latent": 8}
TURNS = {"hidden": (16, 16), "latent": 6, "encoder_epochs": 1}
ROWS = {"embedding_dropout": 0.1, "biases": True, "embedding_l2": 1e-3}
HARD = {**ROWS, "layers": (16, 8, 4), "dropout": 0.25}
CASES = {
    "paper in parts": Case(preset="paper", settings=NARROW, memory=FEW_USERS),
    "paper in blocks": Case(preset="paper", settings=NARROW, is_blocked=True),
    "shallow": Case(preset="shallow", settings={"latent": 8}),
    "shallow in both": Case(preset="shallow", settings={"latent": 8}, memory=FEW_USERS, is_blocked=True),
    "recvae in parts": Case(preset="recvae", settings=TURNS, memory=FEW_USERS),
    "recvae in blocks": Case(preset="recvae", settings=TURNS, is_blocked=True),
    "vamp in parts": Case(preset="vamp", settings={"hidden": 16, "latent": 6, "pseudo_inputs": 9}, memory=FEW_USERS),
    "he2017": Case(preset="he2017"),
    "he2017 in parts": Case(preset="he2017", memory=FEW_PAIRS, settings=HARD),
    "he2017 by rows": Case(preset="he2017", settings={**ROWS, "kind": "gmf", "embedding_gradients": "rows"}),
}
ON_RANKS = {
    2: ("paper in parts", "shallow in both", "recvae in parts", "he2017 in parts"),
    4: ("paper in blocks", "shallow", "vamp in parts", "he2017 by rows"),
}


def leaves_a_few(examples: int, near: int) -> int:
    """The first batch from `near` on whose last one of an epoch has one to three examples: four ranks share them."""
    return next(size for size in range(near, examples) if 1 <= examples % size <= 3)


def losses(
    case: Case, data: Mapping[bool, Dataset], folder: Path, *, step: str, world: World | None = None, **changes: Any
) -> npt.NDArray[np.float32]:
    """[STEPS] the loss of each step.

    Args:
        data: for VAE-CF (True) and NCF (False).
        folder: of the run; nothing is written to it.
        changes: settings of the trainer.
    """
    world, own = world or World(), data[case.is_vae]
    model = (VAECF.model_class(case.preset) if case.is_vae else NeuMf)(own, preset=case.preset, **case.settings)
    n_pairs = len(own.train.indices)
    batch = leaves_a_few(own.n_users, 48) if case.is_vae else 5 * leaves_a_few(n_pairs, n_pairs // 25)
    trainer = Trainer(
        folder, world=world, epochs=9, batch_size=batch, step=step, device_memory=case.memory, learning_rate=5e-3,
        **changes,
    )  # fmt: skip
    settings = trainer.settings(model)
    items, block = (40, 128) if case.is_blocked else (dense.DENSE_ITEMS, dense.BLOCK_ITEMS)
    with mock.patch.multiple(dense, DENSE_ITEMS=items, BLOCK_ITEMS=block):
        task = TrainTask(model, own, folder, settings, check_task(model, own, settings, world.size), world)
    assert (step == "compiled") == (task.step_bytes > 0)
    assert (step == "compiled" and case.memory > 0) == (model.parts_per_step > 1)
    assert task.plan.total_steps >= STEPS > task.plan.steps_per_epoch  # short last batches among them
    assert model.initialise(trainer)  # rank 0 computes what RecVAE's item matrices start from
    task.start_fresh()
    batches, found, step_now = task.batches(0), [], 0
    while step_now < STEPS:
        stop = min(task.plan.next_stop(step_now), STEPS)
        found.append(task.train_step.run(batches, stop - step_now)["loss"])
        step_now = stop
    return np.concatenate(found)


def opened(users: Path | str, pairs: Path | str) -> dict[bool, Dataset]:
    """The data sets for `losses`."""
    return {True: Dataset.open(Path(users)), False: Dataset.open(Path(pairs))}


def main(folder: str, users: str, pairs: str, *names: str) -> None:
    with session() as world:
        devices.configure(world)
        data = opened(users, pairs)
        found = {
            name: losses(CASES[name], data, Path(folder) / name, step="compiled", world=world, precision="fp32")
            for name in names
        }
        if world.is_rank0:
            np.savez(Path(folder) / f"ranks-{world.size}.npz", **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
