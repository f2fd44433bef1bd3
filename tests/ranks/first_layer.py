"""A program for ranks: training steps of VAE-CF whose first layer is updated by rows, or whole.

python -m tests.ranks.first_layer
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.config import TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.matrices import Csr
from recsys_core.training.optimizer import Adam
from recsys_core.training.step import TrainStep
from recsys_core.world import World, session
from vaecf.autoencoder import Autoencoder
from vaecf.model import MultVae
from vaecf.recvae import RecVae

USERS, ITEMS, EACH, BATCH, STEPS = 40, 900, 4, 10, 3
MODELS: dict[type[Autoencoder], dict[str, Any]] = {
    MultVae: {"hidden": (8,), "latent": 3},
    RecVae: {"hidden": (6, 6), "latent": 3},
}


def random_data(items: int = ITEMS) -> Dataset:
    rng = np.random.default_rng(5)
    indices = np.concatenate([np.sort(rng.choice(items, EACH, replace=False)) for _ in range(USERS)]).astype(np.int32)
    return Dataset(train=Csr(indptr=np.arange(0, USERS * EACH + 1, EACH), indices=indices, n_items=items))


def prepared(kind: type[Autoencoder], choice: str, world: World, data: Dataset | None = None) -> Autoencoder:
    model = kind(data or random_data(), seed=3, embedding_gradients=choice, **MODELS[kind])
    model.prepare_training(TrainingConfig(batch_size=BATCH), world)
    return model


def trained(
    kind: type[Autoencoder], choice: str, world: World, steps: int = STEPS
) -> tuple[npt.NDArray[np.float32], Autoencoder]:
    """Losses [steps] of the first phase, and the model after it."""
    model = prepared(kind, choice, world)
    phase = model.phases[0]
    step = TrainStep(
        phase.loss,
        model.loss_names,
        phase.parameters,
        Adam(phase.parameters, decayed=model.kernels),
        lambda progress: tf.constant(0.01),
        total_steps=100,
        world=world,
        sparse_tables=model.sparse_tables,
    )
    batches = iter(model.batches(TrainingConfig(batch_size=BATCH), world, 0, 100))
    return step.run(batches, steps)["loss"], model


def summary(world: World) -> dict[str, list[float]]:
    """Model -> losses, and sums of squares of the parameters."""
    found = {}
    for kind in MODELS:
        losses, model = trained(kind, "rows", world)
        found[kind.__name__] = [*losses.tolist(), *(float(tf.nn.l2_loss(v)) for v in model.parameters)]
    return found


if __name__ == "__main__":
    with session() as ranks:
        text = json.dumps(summary(ranks))
        if ranks.is_rank0:
            print(text, flush=True)
