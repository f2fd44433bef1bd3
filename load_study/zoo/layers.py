"""What the models are made of: tables, hidden layers, DIN's attention, DIEN's recurrences; and their random weights.

Shape legend: B examples, T tables, N behaviours, L lookups, W width of an embedding, H hidden units.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from load_study.zoo.kinds import Table
from recsys_core.seeding import generator

Initializer = Callable[..., tf.Tensor]
SLOPE = 0.1
"""PReLU's first slope, as in the code of DIEN's authors."""


class Weights:
    """Random values as DeepRecSys draws them, each weight from a stream of its own."""

    def __init__(self, seed: int) -> None:
        self._seed = seed

    def _normal_initializer(self, name: str, stddev: Callable[[Sequence[int]], float]) -> Initializer:
        def draw(shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
            values = generator(self._seed, f"zoo/{name}").standard_normal(tuple(shape), np.float32)
            return tf.constant(np.float32(stddev(shape)) * values, dtype or tf.float32)

        return draw

    def kernel(self, name: str, blocks: int = 1) -> Initializer:
        """N(0, sqrt(2 / (m + n))) for m inputs and n outputs, of each of the blocks that lie side by side."""
        return self._normal_initializer(f"{name}/kernel", lambda shape: np.sqrt(2.0 / (shape[0] + shape[1] / blocks)))

    def bias(self, name: str, blocks: int = 1) -> Initializer:
        """N(0, sqrt(1 / n))."""
        return self._normal_initializer(f"{name}/bias", lambda shape: np.sqrt(blocks / shape[0]))

    def rows(self, name: str, tables: Sequence[Table]) -> Initializer:
        """U(-sqrt(1 / n), sqrt(1 / n)) for n rows; tables below each other."""

        def draw(shape: Sequence[int], dtype: Any = None) -> tf.Tensor:
            rng = generator(self._seed, f"zoo/{name}/rows")
            values = rng.random(tuple(shape), np.float32)
            for table, start in zip(tables, starts(tables), strict=True):
                block = values[start : start + table.rows]
                block -= np.float32(0.5)
                block *= np.float32(2.0 / np.sqrt(table.rows))
            return tf.constant(values, dtype or tf.float32)

        return draw


def starts(tables: Sequence[Table]) -> list[int]:
    """First row of each table when they lie below each other."""
    return [0, *itertools.accumulate(table.rows for table in tables[:-1])]


class Lookup(keras.layers.Layer):
    """Rows of one table; with several lookups their sum. ids int32 [B, ..., L], or [B, ...] for one -> [B, ..., W]."""

    def __init__(self, table: Table, weights: Weights) -> None:
        super().__init__(name=f"table_{table.name}")
        self._table, self._initial = table, weights.rows(table.name, [table])

    def build(self, *_: Any) -> None:
        self.rows = self.add_weight((self._table.rows, self._table.width), self._initial, name="rows")

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        rows = tf.convert_to_tensor(self.rows)
        if self._table.lookups == 1:
            return tf.gather(rows, ids)
        return tf.add_n([tf.gather(rows, part) for part in tf.unstack(ids, axis=-1)])


class Bags(keras.layers.Layer):
    """Sums of rows of tables that have one width, side by side. ids int32 [B, T, L], or [B, T] for one -> [B, T * W].

    The tables lie below each other in one variable: with one lookup each, all are read at once.
    """

    def __init__(self, tables: Sequence[Table], weights: Weights) -> None:
        super().__init__(name="tables")
        self._tables, self._starts = tables, starts(tables)
        self._initial = weights.rows("tables", tables)

    def build(self, *_: Any) -> None:
        shape = (sum(table.rows for table in self._tables), self._tables[0].width)
        self.rows = self.add_weight(shape, self._initial, name="rows")

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        rows = tf.convert_to_tensor(self.rows)
        if self._tables[0].lookups == 1:
            read = tf.gather(rows, ids + tf.constant(self._starts, tf.int32))
            return tf.reshape(read, [-1, len(self._tables) * rows.shape[1]])
        # One after the other: all at once would write B * T * L rows before the first is added (6 times slower).
        bags = [tf.reduce_sum(tf.gather(rows, ids[:, k] + start), axis=1) for k, start in enumerate(self._starts)]
        return tf.concat(bags, axis=1)


class Mlp(keras.layers.Layer):
    """Dense layers. x [B, H] -> [B, H]"""

    def __init__(self, name: str, widths: Sequence[int], weights: Weights, *, hidden: str = "relu", last: str) -> None:
        """
        Args:
            hidden: activation of all layers but the last, relu or prelu.
            last: activation of the last: relu, or linear.
        """
        super().__init__(name=name)
        self.dense = [
            keras.layers.Dense(
                width,
                name=f"{name}_{k}",
                activation=None if hidden == "prelu" else "relu" if k < len(widths) - 1 else last,
                kernel_initializer=weights.kernel(f"{name}_{k}"),
                bias_initializer=weights.bias(f"{name}_{k}"),
            )
            for k, width in enumerate(widths)
        ]
        initial = keras.initializers.Constant(SLOPE)
        slopes = len(widths) - 1 if hidden == "prelu" else 0
        self.slopes = [keras.layers.PReLU(initial, name=f"{name}_{k}_prelu") for k in range(slopes)]

    def build(self, shape: Sequence[int | None]) -> None:
        width = shape[-1]
        for k, dense in enumerate(self.dense):
            dense.build((None, width))
            width = dense.units
            if k < len(self.slopes):
                self.slopes[k].build((None, width))

    def call(self, x: tf.Tensor) -> tf.Tensor:
        for k, dense in enumerate(self.dense):
            x = dense(x)
            if k < len(self.slopes):
                x = self.slopes[k](x)
        return x


class Cross(keras.layers.Layer):
    """Wide weights of the cross-product of two features. ids int32 [B, T] -> [B, tasks]"""

    def __init__(self, table: Table, crossed: tuple[int, int], weights: Weights) -> None:
        super().__init__(name="wide")
        self._table, self._crossed = table, crossed
        self._initial = weights.rows(table.name, [table])

    def build(self, *_: Any) -> None:
        self.rows = self.add_weight((self._table.rows, self._table.width), self._initial, name="rows")

    def call(self, ids: tf.Tensor) -> tf.Tensor:
        first, second = (tf.cast(ids[:, k], tf.int64) for k in self._crossed)
        hashed = tf.math.floormod(first * 2_654_435_761 + second, self._table.rows)  # Knuth's multiplier
        return tf.gather(tf.convert_to_tensor(self.rows), hashed)


class LocalActivation(keras.layers.Layer):
    """Behaviours added up, each times a weight that depends on it and on the ad (Zhou et al. 2018, equation 3)."""

    def __init__(self, widths: Sequence[int], weights: Weights) -> None:
        super().__init__(name="activation")
        self.unit = Mlp("attention", widths, weights, hidden="prelu", last="linear")

    def build(self, behaviours_shape: Sequence[int], ad_shape: Sequence[int]) -> None:
        del behaviours_shape
        self.unit.build((None, 4 * ad_shape[-1]))

    def call(self, behaviours: tf.Tensor, ad: tf.Tensor) -> tf.Tensor:
        """[B, W] from behaviours [B, N, W] and the ad [B, W]."""
        count, width = behaviours.shape[1:]
        ad = ad[:, None, :]
        repeated_ad = tf.tile(ad, [1, count, 1])
        pairs = tf.concat([behaviours, repeated_ad, behaviours - ad, behaviours * ad], axis=2)
        weights = tf.reshape(self.unit(tf.reshape(pairs, [-1, 4 * width])), [-1, 1, count])
        return tf.squeeze(tf.matmul(weights, behaviours), axis=1)


class Relevance(keras.layers.Layer):
    """Attention of states to the ad: softmax of h W a over the states (Zhou et al. 2019)."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(name="relevance")
        self._initial = weights.kernel("relevance")

    def build(self, states_shape: Sequence[int], ad_shape: Sequence[int]) -> None:
        self.kernel = self.add_weight((ad_shape[-1], states_shape[-1]), self._initial, name="kernel")

    def call(self, states: tf.Tensor, ad: tf.Tensor) -> tf.Tensor:
        """[B, N] from states [B, N, H] and the ad [B, W]."""
        return tf.nn.softmax(tf.linalg.matvec(states, tf.matmul(ad, self.kernel)))


class Recurrence(keras.layers.Layer):
    """GRU as Zhou et al. 2019 write it, or their AUGRU if it is given attention: that scales the update gate.

    Three blocks of weights side by side: update u, reset r, candidate. The new state is (1 - u) h + u tanh(...).

    Unrolled over the behaviours: a loop costs more than the products of a step, and inference engines take a graph
    without one. What the inputs give to the gates is one product, outside the steps.
    """

    def __init__(self, name: str, hidden: int, weights: Weights, *, last_only: bool) -> None:
        super().__init__(name=name)
        self._hidden, self._weights, self._last_only = hidden, weights, last_only

    def build(self, inputs_shape: Sequence[int], *_: Any) -> None:
        gates, weights = 3 * self._hidden, self._weights
        self.kernel = self.add_weight((inputs_shape[-1], gates), weights.kernel(f"{self.name}/in", 3), name="kernel")
        self.recurrent = self.add_weight(
            (self._hidden, gates), weights.kernel(f"{self.name}/recurrent", 3), name="recurrent"
        )
        self.bias = self.add_weight((gates,), weights.bias(self.name, 3), name="bias")

    def call(self, inputs: tf.Tensor, attention: tf.Tensor | None = None) -> tf.Tensor:
        """[B, N, H] all states or [B, H] the last one, from inputs [B, N, W] and attention [B, N]."""
        count, width = inputs.shape[1:]
        flat = tf.reshape(tf.transpose(inputs, [1, 0, 2]), [-1, width])
        gates = tf.reshape(tf.nn.bias_add(tf.matmul(flat, self.kernel), self.bias), [count, -1, 3 * self._hidden])
        scales = [None] * count if attention is None else tf.split(attention, count, axis=1)
        state = tf.zeros_like(gates[0, :, : self._hidden])
        states = []
        for step, scale in zip(tf.unstack(gates), scales, strict=True):
            state = self._next_state(state, step, scale)
            states.append(state)
        return state if self._last_only else tf.stack(states, axis=1)

    def _next_state(self, state: tf.Tensor, step: tf.Tensor, scale: tf.Tensor | None) -> tf.Tensor:
        """[B, H] from the state [B, H], the inputs' share of the gates [B, 3 * H] and attention [B, 1]."""
        widths = [2 * self._hidden, self._hidden]
        gates, candidate = tf.split(step, widths, axis=1)
        for_gates, for_candidate = tf.split(tf.matmul(state, self.recurrent), widths, axis=1)
        update, reset = tf.split(tf.sigmoid(gates + for_gates), 2, axis=1)
        if scale is not None:
            update *= scale
        return state + update * (tf.tanh(candidate + reset * for_candidate) - state)
