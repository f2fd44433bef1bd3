"""Pre-training: a GMF and an MLP are trained first, and a NeuMF starts from both (He et al. 2017, section 3.4.1)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import tensorflow as tf

from ncf_tf.config import Config, PretrainingConfig
from ncf_tf.model import NeuMf
from recsys_core import dataset as datasets
from recsys_core.distributed import World
from recsys_core.training import precision
from recsys_core.training.checkpoint import Checkpoints
from recsys_core.training.experiment import Outcome
from recsys_core.training.package import Package, train_and_evaluate

TOWERS = ("gmf", "mlp")


def tower_config(config: Config, kind: str) -> Config:
    """The run that trains one tower: a run like any other, in a folder of its own inside the main one's."""
    own, training = config.pretraining, config.training
    folder = config.run_dir / kind
    return replace(
        config,
        run_dir=folder,
        convert="",
        resume=config.resume and (folder / "config.yaml").is_file(),
        model=replace(config.model, kind=kind, layers=config.model.tower),
        pretraining=PretrainingConfig(),
        training=replace(
            training,
            epochs=own.pretrain_epochs or training.epochs,
            learning_rate=own.pretrain_learning_rate or training.learning_rate,
        ),
    )


def merge(model: NeuMf, gmf: NeuMf, mlp: NeuMf, alpha: float) -> None:
    """Start a NeuMF from two trained towers: their parameters, and their output layers weighted alpha and 1 - alpha."""
    assert model.gmf is not None and model.mlp is not None and gmf.gmf is not None and mlp.mlp is not None
    for ours, theirs in ((model.gmf, gmf.gmf), (model.mlp, mlp.mlp)):
        for variable, value in zip(ours.variables, theirs.variables, strict=True):
            variable.assign(value)
    model.output.assign(tf.concat([alpha * gmf.output, (1.0 - alpha) * mlp.output], axis=0))
    if model.is_dot_product:  # without weights of its own, its embeddings carry the factor
        for table in model.gmf.tables:
            table.assign(alpha**0.5 * table)
    model.bias.assign(alpha * gmf.bias + (1.0 - alpha) * mlp.bias)
    if model.biases is not None:
        assert gmf.biases is not None and mlp.biases is not None
        for ours, one, other in zip(model.biases.tables, gmf.biases.tables, mlp.biases.tables, strict=True):
            ours.assign(alpha * one + (1.0 - alpha) * other)


def _restored(
    package: Package, config: Config, data: datasets.Dataset, numbers: precision.Precision, world: World
) -> Any:
    model = package.build(config, data, numbers)
    Checkpoints(config.run_dir / "checkpoints", keep=1, world=world, model=model).restore_best()
    return model


def _is_complete(run_dir: Path, world: World) -> bool:
    return bool(world.broadcast((run_dir / "result.json").is_file()))


def conduct(package: Package, config: Config, world: World) -> Outcome:
    """Train what the configuration asks for: the towers first if it asks for pre-training, then the model."""
    if not config.pretraining.pretrain:
        return train_and_evaluate(package, config, world)

    def initialise(model: NeuMf, data: datasets.Dataset, numbers: precision.Precision) -> Outcome | None:
        """Train the towers and merge them; the outcome if that was interrupted."""
        if config.resume and Checkpoints(config.run_dir / "checkpoints", keep=1, world=world, model=model).any():
            return None  # the merged model has been trained on already
        trained: dict[str, NeuMf] = {}
        for kind in TOWERS:
            tower = tower_config(config, kind)
            if not _is_complete(tower.run_dir, world):
                if world.is_first:
                    print(f"\npre-training: {kind}", flush=True)
                outcome = train_and_evaluate(package, tower, world)
                if not outcome.complete:
                    return outcome
            trained[kind] = _restored(package, tower, data, numbers, world)
        merge(model, **trained, alpha=config.pretraining.alpha)
        if world.is_first:
            print("\nNeuMF from both", flush=True)
        return None

    return train_and_evaluate(package, config, world, initialise)
