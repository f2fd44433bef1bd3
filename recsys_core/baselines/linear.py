"""Linear item-to-item models: the score of an item is the sum of the weights from the items of the history to it.

Shape legend: B users, I items, L longest history.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.baselines import gram
from recsys_core.baselines.base import Baseline
from recsys_core.input.batches import Histories, rows_of
from recsys_core.sparse_products import sparse_product


class LinearItemModel(Baseline):
    """Weights [I, I] in closed form; a model says by `penalty` how they are regularised."""

    is_linear = True

    def penalty(self, totals: npt.NDArray[np.float64]) -> gram.Penalty:
        """What is added to the diagonal of XᵀWX, from that diagonal [I]: the users of each item, or their weights."""
        raise NotImplementedError

    def allocate(self) -> None:
        with tf.device(gram.weights_device(self.n_items)):
            self.weights = tf.Variable(tf.zeros([self.n_items, self.n_items]), name="weights")

    def solve(self) -> None:
        """Compute the weights, on the GPU where there is one that holds the matrices.

        Raises:
            UserError: the matrices do not fit into the free memory of this machine.
        """
        train = self.data.train
        users = gram.user_weights(train, self._exponent)
        penalty = self.penalty(gram.item_totals(train, users))
        if gram.is_solved_on_gpu(self.n_items):
            weights = gram.device_weights(train, penalty, users)
        else:
            gram.require_memory(self.family, gram.solve_bytes(train), self.n_items)
            weights = gram.weights_of_gram(self._gram(), penalty)
        self.hold(weights)

    @property
    def _exponent(self) -> float:
        return float(self.settings["model"].user_weighting)

    def _gram(self) -> npt.NDArray[np.float32]:
        """XᵀWX to be overwritten; a copy of that which another model keeps."""
        kept = self.cache.get("gram")
        if kept is not None and kept[0] == self._exponent:
            return np.array(kept[1])
        return gram.gram_matrix(self.data.train, gram.user_weights(self.data.train, self._exponent))

    def take_over(self, other: Baseline) -> None:
        """Use the XᵀWX of another model with the same weights of users, so that only the factorisation is computed.

        It is a fourth matrix in memory.
        """
        if other.cache.get("gram", (None,))[0] != self._exponent:
            other.cache["gram"] = self._exponent, self._gram()
        self.cache["gram"] = other.cache["gram"]

    def hold(self, weights: npt.NDArray[np.float32] | tf.Tensor) -> None:
        """Take weights [I, I] as the parameters."""
        with tf.device(gram.weights_device(self.n_items)):
            self.weights = tf.Variable(weights, name="weights")

    def scores(self, histories: Histories) -> tf.Tensor:
        rows, values = rows_of(histories.row_splits), tf.ones([tf.size(histories.item_ids)])
        users = tf.size(histories.train_rows, tf.int64)
        return sparse_product(histories.item_ids, rows, values, users, self.weights)

    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        present = tf.cast(item_ids < self.n_items, tf.float32)
        rows = tf.gather(self.weights, tf.minimum(item_ids, self.n_items - 1))
        return tf.matmul(present[:, None, :], rows)[:, 0, :]

    def item_similarities(self, item: int) -> tf.Tensor:
        """[I] the weight by which the item adds to the score of every other."""
        return tf.gather(self.weights, item)  # an index would first copy the whole matrix to the GPU from the host
