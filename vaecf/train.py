"""Train VAE-CF: ``horovodrun -np 4 python -m vaecf.train --data DIR --run-dir DIR``, or without horovodrun."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recsys_core import cli, distributed
from recsys_core import dataset as datasets
from recsys_core.evaluation.evaluator import Scorer
from recsys_core.pipeline import steps_per_epoch, train_batches
from recsys_core.training import package, precision
from recsys_core.training.experiment import Experiment, Outcome
from recsys_core.training.package import Package
from vaecf.config import PRESETS, Config
from vaecf.export import VaeRecommender
from vaecf.model import TERMS, MultVae


def build_model(config: Config, data: datasets.Dataset, numbers: precision.Precision) -> MultVae:
    """The model of a configuration, with fresh parameters."""
    return MultVae(
        data.n_items,
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
        examples_per_epoch=data.train.n_users,
        unit="users",
        identity={
            "model": {**asdict(config.model), "hidden": list(config.model.hidden)},
            "precision": numbers.name,
        },
        export=lambda folder, result: _export(folder, config, data, model, result),
    )


def _export(folder: Path, config: Config, data: datasets.Dataset, model: MultVae, result: Mapping[str, Any]) -> None:
    from recsys_core.export import GOLDEN_REQUESTS, Signature, padded_requests, within, write_export

    recommender = VaeRecommender(model, config.top_k)
    requests = {"item_ids": padded_requests(data.valid, GOLDEN_REQUESTS)}
    limit = recommender.history_limit
    write_export(
        folder,
        recommender,
        data,
        signatures={
            "recommend": Signature(function=recommender.recommend, requests=requests),
            "serving": Signature(function=recommender.serving, requests=requests, reference=recommender.recommend),
            "serving_pool": Signature(
                function=recommender.serving_pool,
                requests=within(requests, data.n_items, limit),
                reference=recommender.recommend,
                history_limit=limit,
            ),
        },
        top_k=min(config.top_k, data.n_items),
        model={"package": "vaecf", **asdict(config.model)},
        result=result,
    )


def check(config: Config, data: datasets.Dataset, ranks: int) -> None:
    """Refuse what this model cannot work with.

    Raises:
        ValueError: a batch smaller than the ranks.
    """
    del data
    if config.training.batch_size < ranks:
        raise ValueError(
            f"--batch-size is {config.training.batch_size}, expected at least one user for each of the {ranks} ranks"
        )


PACKAGE = Package(
    name="vaecf",
    description="Train Mult-VAE or Mult-DAE on a prepared data set, on one process or on Horovod ranks.",
    presets=PRESETS,
    build=build_model,
    scorer=scorer,
    experiment=experiment,
    check=check,
)


def train_and_evaluate(config: Config, world: distributed.World) -> Outcome:
    """Run a configuration to its verdict; see `recsys_core.training.package.train_and_evaluate`."""
    return package.train_and_evaluate(PACKAGE, config, world)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input, 3 gate missed, 4 training diverged, 5 not converted as asked."""
    return cli.run(
        lambda: package.parse(PACKAGE, argv), lambda config, world: train_and_evaluate(config, world).exit_status
    )


if __name__ == "__main__":
    sys.exit(main())
