"""The parts of NeuMF that hold parameters: GMF, MLP, biases."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from recsys_core.seeding import generator


def _normal(seed: int, name: str, rows: int, width: int, stddev: float) -> np.ndarray:
    return stddev * generator(seed, f"init/{name}").standard_normal((rows, width), np.float32)


def uniform(seed: int, name: str, rows: int, columns: int, limit: float) -> tf.Variable:
    values = generator(seed, f"init/{name}").uniform(-limit, limit, (rows, columns)).astype(np.float32)
    return tf.Variable(values, name=name)


def _glorot(seed: int, name: str, rows: int, columns: int) -> tf.Variable:
    """Glorot and Bengio 2010."""
    return uniform(seed, name, rows, columns, float(np.sqrt(6.0 / (rows + columns))))


class Gmf(tf.Module):
    """The product of two embeddings, to be weighted by the output layer."""

    def __init__(
        self, n_users: int, n_items: int, factors: int, seed: int, stddev: float, ensemble_size: int = 1
    ) -> None:
        """
        Args:
            ensemble_size: embeddings side by side in a row; the first have the initial values of a model with one.
        """
        super().__init__(name="gmf")

        def table(name: str, rows: int) -> tf.Variable:
            names = [name, *(f"{name}/{m}" for m in range(1, ensemble_size))]
            parts = [_normal(seed, n, rows, factors, stddev) for n in names]
            return tf.Variable(np.concatenate(parts, axis=1), name=name)

        self.users, self.items = table("gmf/users", n_users), table("gmf/items", n_items)
        self.width = factors

    @property
    def tables(self) -> list[tf.Variable]:
        return [self.users, self.items]


class Mlp(tf.Module):
    """Hidden layers over two embeddings. The first layer is kept as a user half and an item half."""

    def __init__(self, n_users: int, n_items: int, tower: Sequence[int], seed: int, stddev: float) -> None:
        """
        Args:
            tower: twice the width of the embeddings, then the hidden layers.
        """
        super().__init__(name="mlp")
        self.users, self.items = (
            tf.Variable(_normal(seed, f"mlp/{name}", rows, tower[0] // 2, stddev), name=f"mlp/{name}")
            for name, rows in (("users", n_users), ("items", n_items))
        )
        self.kernels = [
            _glorot(seed, f"mlp/{k}/kernel", rows, columns)
            for k, (rows, columns) in enumerate(itertools.pairwise(tower))
        ]
        self.biases = [tf.Variable(tf.zeros([width]), name=f"mlp/{k}/bias") for k, width in enumerate(tower[1:])]
        self.width = tower[-1]
        self.widest = max(tower[1:])

    @property
    def tables(self) -> list[tf.Variable]:
        return [self.users, self.items]


class Biases(tf.Module):
    """A number for every user and every item, and every member."""

    def __init__(self, n_users: int, n_items: int, ensemble_size: int = 1) -> None:
        super().__init__(name="biases")
        self.users = tf.Variable(tf.zeros([n_users, ensemble_size]), name="biases/users")
        self.items = tf.Variable(tf.zeros([n_items, ensemble_size]), name="biases/items")

    @property
    def tables(self) -> list[tf.Variable]:
        return [self.users, self.items]
