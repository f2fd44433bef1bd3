"""Pre-training: a GMF and an MLP are trained first, and a NeuMF starts from both (He et al. 2017, section 3.4.1)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import tensorflow as tf

from ncf_tf.config import ModelConfig, PretrainingConfig

if TYPE_CHECKING:
    from ncf_tf.network import NeuMfNetwork
    from recsys_core.training.trainer import Trainer

TOWERS = ("gmf", "mlp")


def pretrain(model: NeuMfNetwork, trainer: Trainer) -> bool:
    """Train both towers, each a run of its own in a folder inside the main one's, and start the model from them.

    A tower that was trained before is loaded, if it was trained with the same settings.

    Returns:
        False when it was interrupted.

    Raises:
        SharedError: a tower in the folder was trained with other settings.
    """
    trained: dict[str, NeuMfNetwork] = {}
    for kind in TOWERS:
        tower, own = _tower(model, kind), _tower_trainer(model, trainer, kind)
        if trainer.world.run_on_rank0((own.run_dir / "result.json").is_file):
            own.restore_best(tower, model.data)
        else:
            trainer.say(f"\npre-training: {kind}")
            started = trainer.world.run_on_rank0(partial(_is_started, own.run_dir))
            if not own.fit(tower, model.data, resume=started).complete:
                return False
        trained[kind] = tower
    merge(model, **trained, alpha=model.settings["pretraining"].alpha)
    trainer.say("\nNeuMF from both")
    return True


def _is_started(folder: Path) -> bool:
    """Whether a folder holds a run of any format."""
    return any((folder / name).is_file() for name in ("run.json", "config.yaml"))


def _tower(model: NeuMfNetwork, kind: str) -> NeuMfNetwork:
    config: ModelConfig = model.settings["model"]
    return type(model)(
        model.data,
        preset=model.preset,
        seed=model.seed,
        model=replace(config, kind=kind, layers=config.tower),
        sampling=model.settings["sampling"],
        pretraining=PretrainingConfig(),
    )


def _tower_trainer(model: NeuMfNetwork, trainer: Trainer, kind: str) -> Trainer:
    settings, own = trainer.settings(model), model.settings["pretraining"]
    training = replace(
        settings.training,
        epochs=own.pretrain_epochs or settings.training.epochs,
        learning_rate=own.pretrain_learning_rate or settings.training.learning_rate,
    )
    return trainer.child(kind, replace(settings, training=training))


def merge(model: NeuMfNetwork, gmf: NeuMfNetwork, mlp: NeuMfNetwork, alpha: float) -> None:
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
