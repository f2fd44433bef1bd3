"""Small models for tests, and a model's loss as a training step uses it."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from ncf_tf.model import NeuMf
from recsys_core.config import TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.input.batches import Histories
from recsys_core.input.chunks import HistoryPart
from recsys_core.matrices import Csr
from recsys_core.world import World
from vaecf.model import MultVae


def vae(n_items: int, **settings: Any) -> MultVae:
    """A VAE-CF of so many items, the paper's but for the settings."""
    return MultVae(Dataset.empty(1, n_items), **settings)


def neumf(n_users: int, n_items: int, train: Csr | None = None, **settings: Any) -> NeuMf:
    """An NCF of so many users and items, He et al.'s but for the settings."""
    data = Dataset.empty(n_users, n_items) if train is None else Dataset.from_csr(train)
    return NeuMf(data, **settings)


def prepared(model: NeuMf, pairs: int = 1) -> NeuMf:
    """The model, ready for batches of so many positives (1: too few to put tables through the first layer whole)."""
    negatives = model.settings["sampling"].negatives
    model.prepare_training(TrainingConfig(batch_size=pairs * (1 + negatives)), World())
    return model


def histories(rows: list[list[int]]) -> Histories:
    """Histories of users that the model was not trained on."""
    splits = np.concatenate([[0], np.cumsum([len(r) for r in rows])])
    flat = [i for r in rows for i in r]
    return Histories(tf.constant(flat, tf.int32), tf.constant(splits, tf.int64), -tf.ones([len(rows)], tf.int64))


class Table:
    """Scores from a table [U, I] by training row; `calls` counts how often a graph was traced."""

    has_compiled_step, score_bytes = True, 1000

    def __init__(self, scores: Any) -> None:
        self.table, self.calls = tf.constant(scores, tf.float32), 0

    def scores(self, histories: Histories) -> tf.Tensor:
        self.calls += 1
        return tf.gather(self.table, histories.train_rows)

    def part_scores(self, part: HistoryPart) -> tf.Tensor:
        self.calls += 1
        return tf.gather(self.table, tf.maximum(part.train_rows, 0))

    def part_candidate_scores(self, part: HistoryPart, candidates: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.part_scores(part), candidates, batch_dims=1)

    def candidate_scores(self, histories: Histories, candidates: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.scores(histories), tf.maximum(candidates, 0), batch_dims=1)
