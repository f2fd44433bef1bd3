"""Train VAE-CF: ``horovodrun -np 4 python -m vaecf.train --data DIR --run-dir DIR``, or without horovodrun."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from recsys_core import cli, devices, distributed, run_folder
from recsys_core import config as configuration
from recsys_core import dataset as datasets
from recsys_core.evaluation.criteria import criteria
from recsys_core.evaluation.evaluator import Scorer
from recsys_core.pipeline import steps_per_epoch, train_batches
from recsys_core.training import precision
from recsys_core.training.experiment import Experiment, Outcome, Run, conduct
from vaecf.config import PRESETS, Config
from vaecf.export import VaeRecommender
from vaecf.model import TERMS, MultVae

DESCRIPTION = "Train Mult-VAE or Mult-DAE on a prepared data set, on one process or on Horovod ranks."


def build_model(config: Config, n_items: int, numbers: precision.Precision) -> MultVae:
    """The model of a configuration, with fresh parameters."""
    return MultVae(
        n_items,
        **asdict(config.model),
        seed=config.training.seed,
        compute=numbers.compute,
        xla=config.hardware.xla,
    )


def scorer(model: MultVae) -> Scorer:
    """The model as the evaluator wants it."""
    return lambda batch: model.scores(batch.item_ids, batch.row_splits)


def experiment(
    config: Config, data: datasets.Dataset, model: MultVae, numbers: precision.Precision, world: distributed.World
) -> Experiment:
    """What the shared training needs to know of this model."""
    training = config.training
    return Experiment(
        model=model,
        loss=model.loss,
        terms=TERMS,
        parameters=model.parameters,
        kernels=model.kernels,
        scorer=scorer(model),
        batches=lambda start, total: train_batches(
            data.train,
            seed=training.seed,
            batch_size=training.batch_size,
            world=world,
            start_step=start,
            total_steps=total,
        ),
        steps_per_epoch=steps_per_epoch(data.train.n_users, training.batch_size),
        users_per_epoch=data.train.n_users,
        identity={
            "model": {**asdict(config.model), "hidden": list(config.model.hidden)},
            "precision": numbers.name,
        },
        export=lambda folder, result: _export(folder, config, data, model, result),
    )


def _export(folder: Path, config: Config, data: datasets.Dataset, model: MultVae, result: Mapping[str, Any]) -> None:
    from recsys_core.export import write_export

    recommender = VaeRecommender(model, config.top_k)
    top_k = min(config.top_k, data.n_items)
    about = {"package": "vaecf", **asdict(config.model)}
    write_export(folder, recommender, data, top_k=top_k, model=about, result=result)


def check(config: Config, ranks: int) -> None:
    """Refuse what cannot work before anything is written.

    Raises:
        ValueError: an unknown name, a batch smaller than the ranks, or a damaged data set.
    """
    configuration.check(config)
    criteria(config.evaluation)
    precision.known(config.hardware.precision)
    if config.training.batch_size < ranks:
        raise ValueError(
            f"--batch-size is {config.training.batch_size}, expected at least one user for each of the {ranks} ranks"
        )
    datasets.verify(config.data)


def train_and_evaluate(config: Config, world: distributed.World) -> Outcome:
    """Run a configuration to its verdict.

    Raises:
        UserError: anything wrong with the configuration, the data set or the disk.
        NonFiniteError: the loss or a gradient is not finite.
    """
    devices.configure(world)  # before the first exchange, which starts TensorFlow
    world.on_first(lambda: check(config, world.size))
    numbers = precision.resolve(config.hardware.precision, config.hardware.amp, world)
    data = datasets.open_dataset(config.data)
    model = build_model(config, data.n_items, numbers)
    parts = experiment(config, data, model, numbers, world)
    run_folder.create(config.run_dir, configuration.to_yaml(config), resume=config.resume, world=world)
    run = Run(parts, data, config.run_dir, config.training, config.evaluation, scaled=numbers.scaled, world=world)
    return conduct(run, resume=config.resume)


def parse(argv: Sequence[str] | None) -> Config:
    """The configuration of the command line, which works from any folder."""
    config: Config = configuration.parse("vaecf.train", DESCRIPTION, PRESETS, argv)
    return replace(config, data=config.data.absolute())


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input, 3 gate missed, 4 training diverged."""
    return cli.run(lambda: parse(argv), lambda config, world: train_and_evaluate(config, world).exit_status)


if __name__ == "__main__":
    sys.exit(main())
