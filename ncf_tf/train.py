"""Train NCF: ``horovodrun -np 4 python -m ncf_tf.train --data DIR --run-dir DIR``, or without horovodrun."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tensorflow as tf

from ncf_tf import pretraining
from ncf_tf.config import PRESETS, Config
from ncf_tf.export import NcfRecommender
from ncf_tf.lookups import tables_by_rows, tables_projected
from ncf_tf.losses import TERMS, SampledLoss
from ncf_tf.model import NeuMf
from ncf_tf.negatives import NegativeSampler
from recsys_core import cli, distributed
from recsys_core import dataset as datasets
from recsys_core.evaluation.evaluator import Scorer
from recsys_core.pipeline import EvaluationBatch, pair_batches, steps_per_epoch
from recsys_core.training import package, precision
from recsys_core.training.experiment import Experiment, Outcome
from recsys_core.training.package import Package


class PairScorer:
    """The model as the evaluator wants it: whole catalogues in blocks of items, candidates alone where they suffice."""

    def __init__(self, model: NeuMf) -> None:
        self._model = model

    def __call__(self, batch: EvaluationBatch) -> tf.Tensor:
        """[B, I]"""
        return self._model.catalogue(tf.cast(batch.train_rows, tf.int32))

    def candidates(self, batch: EvaluationBatch) -> tf.Tensor:
        """[B, C]"""
        return self._model.scores(tf.cast(batch.train_rows, tf.int32), tf.maximum(batch.candidates, 0))


def build_model(config: Config, data: datasets.Dataset, numbers: precision.Precision) -> NeuMf:
    """The model of a configuration, with fresh parameters."""
    model = config.model
    return NeuMf(
        data.n_users,
        data.n_items,
        kind=model.kind,
        factors=model.factors,
        tower=model.tower,
        dot_product=model.dot_product,
        biases=model.biases,
        members=model.members,
        dropout=model.dropout,
        embedding_dropout=model.embedding_dropout,
        embedding_deviation=model.embedding_deviation,
        seed=config.training.seed,
        compute=numbers.compute,
        xla=config.hardware.xla,
    )


def scorer(model: NeuMf) -> Scorer:
    """The model as the evaluator wants it."""
    return PairScorer(model)


def experiment(
    config: Config, data: datasets.Dataset, model: NeuMf, numbers: precision.Precision, world: distributed.World
) -> Experiment:
    """What the shared training needs to know of this model."""
    seed, sampling, pairs = config.training.seed, config.sampling, config.pairs_per_step
    sampler = NegativeSampler(data.train, sampling.negatives, seed=seed, verified=sampling.verify_negatives)
    n_pairs, embedding_l2 = len(data.train.indices), config.model.embedding_l2
    by_rows = tables_by_rows(model, pairs, sampling.negatives, sampling.embedding_gradients)
    projected = tables_projected(model, pairs // world.size, sampling.negatives, by_rows, embedding_l2)
    return Experiment(
        model=model,
        keep_last=config.training.final_fit and not config.training.choose_on_test,
        loss=SampledLoss(model, sampler, sampling.negatives, embedding_l2, projected),
        terms=TERMS,
        parameters=model.parameters,
        kernels=model.kernels,
        by_rows=by_rows,
        scorer=scorer(model),
        batches=lambda start, total: pair_batches(
            data.train, seed=seed, pairs=pairs, world=world, start_step=start, total_steps=total
        ),
        steps_per_epoch=steps_per_epoch(n_pairs, pairs),
        examples_per_epoch=n_pairs * (1 + sampling.negatives),
        unit="samples",
        identity={
            "model": {**asdict(config.model), "layers": list(config.model.tower)},
            "sampling": asdict(sampling),
            "pretraining": asdict(config.pretraining),
            "precision": numbers.name,
        },
        export=lambda folder, result: _export(folder, config, data, model, result),
    )


def _export(folder: Path, config: Config, data: datasets.Dataset, model: NeuMf, result: Mapping[str, Any]) -> None:
    from recsys_core.export import GOLDEN_REQUESTS, Signature, padded_requests, within, write_export

    assert data.valid.train_rows is not None and data.valid.candidates is not None
    recommender = NcfRecommender(model, data.train, config.top_k)
    users, candidates = (part[:GOLDEN_REQUESTS] for part in (data.valid.train_rows, data.valid.candidates))
    requests = {"user_ids": users, "item_ids": padded_requests(data.valid, GOLDEN_REQUESTS)}
    limit = recommender.history_limit

    def reference(user_ids: tf.Tensor, item_ids: tf.Tensor) -> Mapping[str, tf.Tensor]:
        del item_ids  # the training items of these users, which `recommend` knows
        return recommender.recommend(user_ids)

    write_export(
        folder,
        recommender,
        data,
        signatures={
            "recommend": Signature(function=recommender.recommend, requests={"user_ids": users}),
            "serving": Signature(function=recommender.serving, requests=requests, reference=reference),
            "serving_pool": Signature(
                function=recommender.serving_pool,
                requests=within(requests, data.n_items, limit),
                reference=reference,
                history_limit=limit,
            ),
            "rank": Signature(function=recommender.rank, requests={"user_ids": users, "candidate_items": candidates}),
        },
        top_k=min(config.top_k, data.n_items),
        model={"package": "ncf_tf", **asdict(config.model), "layers": list(config.model.tower)},
        result=result,
    )


def check(config: Config, data: datasets.Dataset, ranks: int) -> None:
    """Refuse what this model cannot work with.

    Raises:
        ValueError: users held out instead of items, a batch smaller than the ranks, a user without a training row, or
            one with nothing left to draw negatives from.
    """
    if not data.is_leave_one_out:
        raise ValueError(
            f"--data {data.folder} holds out users, and NCF knows only users that it trained on; prepare it with "
            "--protocol leave-one-out"
        )
    if config.pairs_per_step < ranks:
        raise ValueError(
            f"--batch-size is {config.training.batch_size} samples, {config.pairs_per_step} positives with "
            f"{config.sampling.negatives} negatives each, expected at least one positive for each of the {ranks} ranks"
        )
    datasets.check_held_out(data)


PACKAGE = Package(
    name="ncf_tf",
    description="Train GMF, MLP or NeuMF on a prepared data set, on one process or on Horovod ranks.",
    presets=PRESETS,
    build=build_model,
    scorer=scorer,
    experiment=experiment,
    check=check,
    view=lambda config, data: datasets.for_final_fit(data) if config.training.final_fit else data,
)


def train_and_evaluate(config: Config, world: distributed.World) -> Outcome:
    """Run a configuration to its verdict, its pre-training included.

    Raises:
        UserError: anything wrong with the configuration, the data set or the disk.
        NonFiniteError: the loss or a gradient is not finite.
    """
    if config.training.final_fit and world.is_first:
        print("final fit: validation items are trained on; what is called validation below is the test", flush=True)
        if config.training.choose_on_test:
            print("the epoch is chosen on test items, as He et al. did: compare with such figures only", flush=True)
    return pretraining.conduct(PACKAGE, config, world)


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input, 3 gate missed, 4 training diverged, 5 not converted as asked."""
    return cli.run(
        lambda: package.parse(PACKAGE, argv), lambda config, world: train_and_evaluate(config, world).exit_status
    )


if __name__ == "__main__":
    sys.exit(main())
