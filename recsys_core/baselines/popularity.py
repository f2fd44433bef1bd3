"""Popularity: every user is recommended the items that most training users have."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from recsys_core.baselines.base import Baseline
from recsys_core.input.batches import Histories


class Popularity(Baseline):
    """Recommends to every user the items that most training users have."""

    family = "popularity"

    def allocate(self) -> None:
        self.counts = tf.Variable(tf.zeros([self.n_items]), name="counts")

    def solve(self) -> None:
        self.allocate()
        self.counts.assign(self.data.train.item_counts().astype(np.float32))

    def scores(self, histories: Histories) -> tf.Tensor:
        return tf.broadcast_to(self.counts, [tf.size(histories.train_rows), self.n_items])

    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        return tf.zeros([tf.shape(item_ids)[0], 1]) + self.counts
