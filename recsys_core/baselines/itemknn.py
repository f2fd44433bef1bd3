"""ItemKNN: the nearest neighbours of each item, found by the library `implicit`.

Shape legend: I items, K neighbours of an item, B users, L longest history, N interactions.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from recsys_core.baselines.base import Baseline
from recsys_core.baselines.library import implicit, writable
from recsys_core.input.batches import Histories, rows_of

SIMILARITIES = ("cosine", "tfidf", "bm25")


@dataclass(frozen=True, kw_only=True)
class ItemKnnConfig:
    """Settings of ItemKNN."""

    neighbours: int = 50
    """Neighbours of an item, itself included."""
    similarity: str = "tfidf"
    """cosine, tfidf or bm25: the last two give less weight to users who have much."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if self.neighbours < 2:
            raise ValueError(f"neighbours is {self.neighbours}, expected a whole number from 2")
        if self.similarity not in SIMILARITIES:
            raise ValueError(f"unknown similarity {self.similarity!r}, known are: {', '.join(SIMILARITIES)}")


class ItemKnn(Baseline):
    """ItemKNN: the score of an item is the sum of its similarities to those items of the history whose neighbour it is.

    The neighbours are kept as lists, so that the memory grows with the items, not with their square.
    """

    family = "itemknn"
    configs = {"model": ItemKnnConfig}
    is_linear = True
    grid = {"similarity": SIMILARITIES, "neighbours": (20, 50, 100, 200, 500)}

    def allocate(self) -> None:
        shape = [self.n_items, min(self.settings["model"].neighbours, self.n_items)]
        self.neighbours = tf.Variable(tf.fill(shape, self.n_items), trainable=True, name="neighbours")
        """int32 [I, K] padded with I."""
        self.similarities = tf.Variable(tf.zeros(shape), name="similarities")

    def solve(self) -> None:
        """Find the neighbours.

        Raises:
            UserError: the library is not installed.
        """
        settings = self.settings["model"]
        library = implicit("nearest_neighbours", self.family)
        kinds = {
            "cosine": library.CosineRecommender, "tfidf": library.TFIDFRecommender, "bm25": library.BM25Recommender,
        }  # fmt: skip
        self.allocate()
        k = self.neighbours.shape[1]
        knn = kinds[settings.similarity](K=k)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of a conversion of its own
            knn.fit(writable(self.data.train), show_progress=False)
        found = knn.similarity.tocsr()
        found.sort_indices()
        rows = np.repeat(np.arange(self.n_items), np.diff(found.indptr))
        places = np.arange(found.nnz) - np.repeat(found.indptr[:-1], np.diff(found.indptr))
        neighbours = np.full((self.n_items, k), self.n_items, np.int32)
        similarities = np.zeros((self.n_items, k), np.float32)
        neighbours[rows, places], similarities[rows, places] = found.indices, found.data
        self.neighbours.assign(neighbours)
        self.similarities.assign(similarities)

    def scores(self, histories: Histories) -> tf.Tensor:
        rows = tf.cast(rows_of(histories.row_splits), tf.int32)
        return self._summed(histories.item_ids, rows, tf.size(histories.train_rows))

    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        users = tf.shape(item_ids)[0]
        rows = tf.broadcast_to(tf.range(users)[:, None], tf.shape(item_ids))
        present = tf.reshape(tf.cast(item_ids < self.n_items, tf.float32), [-1])
        known = tf.reshape(tf.minimum(item_ids, self.n_items - 1), [-1])
        return self._summed(known, tf.reshape(rows, [-1]), users, present)

    def _summed(
        self, item_ids: tf.Tensor, rows: tf.Tensor, users: tf.Tensor, weights: tf.Tensor | None = None
    ) -> tf.Tensor:
        """[B, I] sums of the similarities from items [N] of rows [N] to all items."""
        neighbours = tf.gather(self.neighbours, item_ids)
        similarities = tf.gather(self.similarities, item_ids)
        if weights is not None:
            similarities *= weights[:, None]
        where = tf.stack([tf.broadcast_to(rows[:, None], tf.shape(neighbours)), neighbours], axis=2)
        wide = tf.tensor_scatter_nd_add(tf.zeros([users, self.n_items + 1]), where, similarities)
        return wide[:, : self.n_items]

    def item_similarities(self, item: int) -> tf.Tensor:
        """[I] the similarity of every item that is a neighbour, 0 for the others."""
        wide = tf.zeros([self.n_items + 1])
        return tf.tensor_scatter_nd_add(wide, self.neighbours[item][:, None], self.similarities[item])[: self.n_items]
