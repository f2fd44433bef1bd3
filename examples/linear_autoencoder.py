"""A third model in one file: a low-rank linear auto-encoder, scores = (x E) D for a history x.

It trains, resumes, is evaluated, exported and served like the models of the project, from Python and by a command:

    python -m data_prep ml-100k --download --out data/ml-100k
    python -m examples.linear_autoencoder --data data/ml-100k --run-dir runs/linear

Takes about 25 seconds on 2 CPU cores. Expect test NDCG@100 of about 0.45, popularity 0.26, EASE 0.45 (`--baselines
ease`); with 93 test users the standard error is 0.02.

Shape legend: B users, I items, N interactions, R rank.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
import tyro

from recsys_core import Dataset, Recommender, cli
from recsys_core.axes import ITEMS, OTHER, Axes
from recsys_core.config import ModelSpec, Preset, RunConfig, TrainingConfig
from recsys_core.input.batches import Batch, Histories, rows_of
from recsys_core.seeding import generator
from recsys_core.sparse_products import sparse_product
from vaecf.losses import multinomial_nll


@dataclass(frozen=True, kw_only=True)
class LinearConfig:
    """The size of the model."""

    rank: int = 64
    """Width between the items and the items."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if self.rank < 1:
            raise ValueError(f"--rank is {self.rank}, expected a whole number from 1")


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Everything a run depends on."""

    preset: str = "default"
    """Named configuration to start from."""
    model: LinearConfig = field(default_factory=LinearConfig)


def _preset() -> Any:
    training = TrainingConfig(epochs=40, published_batch_size=100, learning_rate=3e-3, l2=1e-4)
    return Config(data=tyro.MISSING, run_dir=tyro.MISSING, training=training)


PRESETS = {"default": Preset(config=_preset(), about="a first look.")}


class LinearAutoencoder(Recommender):
    """Two matrices, learnt by the multinomial likelihood."""

    family = "examples.linear_autoencoder"
    presets = PRESETS
    configs = {"model": LinearConfig}

    def __init__(self, data: Dataset, *, preset: str | None = None, seed: int | None = None, **changes: Any) -> None:
        super().__init__(data, preset=preset, seed=seed, **changes)
        shape = (self.n_items, self.settings["model"].rank)
        scale = 1 / np.sqrt(shape[1])
        self.encoder, self.decoder = (
            tf.Variable(scale * generator(self.seed, f"init/{name}").standard_normal(shape, np.float32), name=name)
            for name in ("encoder", "decoder")
        )

    @property
    def kernels(self) -> list[tf.Variable]:
        return [self.encoder, self.decoder]

    @property
    def axes(self) -> list[Axes]:
        return [Axes(self.encoder, (ITEMS, OTHER)), Axes(self.decoder, (ITEMS, OTHER))]

    def _code(self, item_ids: tf.Tensor, row_splits: tf.Tensor) -> tf.Tensor:
        """[B, R] sum of the encoder's rows of each user's items, divided by the root of their number."""
        counts = tf.cast(row_splits[1:] - row_splits[:-1], tf.float32)
        rows, scale = rows_of(row_splits), tf.math.rsqrt(tf.maximum(counts, 1.0))
        return sparse_product(item_ids, rows, tf.gather(scale, rows), tf.size(counts, tf.int64), self.encoder)

    def scores(self, histories: Histories) -> tf.Tensor:
        return tf.matmul(self._code(histories.item_ids, histories.row_splits), self.decoder, transpose_b=True)

    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        present = tf.cast(item_ids < self.n_items, tf.float32)
        weights = present * tf.math.rsqrt(tf.maximum(tf.reduce_sum(present, axis=1, keepdims=True), 1.0))
        rows = tf.gather(self.encoder, tf.minimum(item_ids, self.n_items - 1))
        return tf.matmul(tf.matmul(weights[:, None, :], rows)[:, 0, :], self.decoder, transpose_b=True)

    def loss(self, batch: Batch, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        del progress
        code, kernel = self._code(batch.item_ids, batch.row_splits), tf.transpose(self.decoder)
        nll = multinomial_nll(code, kernel, tf.zeros([self.n_items]), batch.item_ids, batch.row_splits)
        return {"loss": nll / batch.global_users}

    def item_vectors(self) -> tf.Tensor:
        return self.decoder


SPEC = ModelSpec(
    family="examples.linear_autoencoder",
    model="examples.linear_autoencoder:LinearAutoencoder",
    description="Train a low-rank linear auto-encoder on a prepared data set.",
    presets=PRESETS,
)

if __name__ == "__main__":
    from examples import linear_autoencoder  # by the name that SPEC gives; the classes of __main__ are others

    sys.exit(cli.train(linear_autoencoder.SPEC, sys.argv[1:]))
