"""The eight models in Keras: `build(name)`. What they are is in `configurations`, what they are made of in `layers`.

Shape legend: B examples, T tasks.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from load_study.zoo.configurations import named, scaled
from load_study.zoo.examples import drawn
from load_study.zoo.kinds import Configuration, Dien, Din, Dlrm, Ncf, WideAndDeep
from load_study.zoo.layers import Bags, Cross, LocalActivation, Lookup, Mlp, Recurrence, Relevance, Weights

Inputs = dict[str, keras.KerasTensor]
ops = keras.ops


@dataclass(frozen=True, kw_only=True)
class ZooModel:
    """A model with random weights, and what it costs."""

    name: str
    model: keras.Model
    """From a dict of inputs by name to scores float32 [B], or [B, T] with several tasks."""
    configuration: Configuration
    """The scaled one."""

    def inputs(self, batch: int, rng: np.random.Generator) -> dict[str, npt.NDArray]:
        """Random examples: int32 ids, uniform over the rows of their tables; float32 dense features in [0, 1)."""
        return drawn(self.configuration, batch, rng)

    @property
    def parameters(self) -> int:
        return self.configuration.parameters

    @property
    def table_bytes(self) -> int:
        return self.configuration.table_bytes

    @property
    def dense_bytes(self) -> int:
        return self.configuration.dense_bytes

    @property
    def operations(self) -> int:
        """Multiplications and additions of an example's products with matrices."""
        return self.configuration.operations


def _probability(logits: keras.KerasTensor) -> keras.KerasTensor:
    """[B] from logits [B, 1]."""
    return ops.reshape(ops.sigmoid(logits), [-1])


def _first_of_two(logits: keras.KerasTensor) -> keras.KerasTensor:
    """[B] from logits [B, 2]: the click is the first class, as in the code of DIN's and DIEN's authors."""
    return ops.softmax(logits)[:, 0]


def _dlrm(c: Dlrm, inputs: Inputs, weights: Weights) -> keras.KerasTensor:
    dense = Mlp("bottom", c.bottom, weights, last="relu")(inputs["dense"])
    bags = Bags(c.tables, weights)(inputs["ids"])
    return _probability(Mlp("top", c.top, weights, last="linear")(ops.concatenate([dense, bags], axis=1)))


def _ncf(c: Ncf, inputs: Inputs, weights: Weights) -> keras.KerasTensor:
    ids = [inputs["user"], inputs["item"]] * 2
    rows = [Lookup(table, weights)(of) for table, of in zip(c.tables, ids, strict=True)]
    hidden = Mlp("mlp", c.hidden, weights, last="relu")(ops.concatenate(rows[2:], axis=1))
    last = ops.concatenate([rows[0] * rows[1], hidden], axis=1)
    return _probability(Mlp("output", (1,), weights, last="linear")(last))


def _wide_and_deep(c: WideAndDeep, inputs: Inputs, weights: Weights) -> keras.KerasTensor:
    rows = Bags(c.tables[:-1], weights)(inputs["ids"])
    shared = Mlp("shared", c.shared, weights, last="relu")(ops.concatenate([inputs["dense"], rows], axis=1))
    deep = [Mlp(f"task{k}", c.tower, weights, last="linear")(shared) for k in range(c.tasks)]
    wide = Cross(c.tables[-1], c.crossed, weights)(inputs["ids"])
    scores = ops.sigmoid(wide + (ops.concatenate(deep, axis=1) if c.tasks > 1 else deep[0]))
    return scores if c.tasks > 1 else ops.reshape(scores, [-1])


def _din(c: Din, inputs: Inputs, weights: Weights) -> keras.KerasTensor:
    user, behaviours, ad, context = (Lookup(table, weights)(inputs[table.name]) for table in c.tables)
    interest = LocalActivation(c.attention, weights)(behaviours, ad)
    top = Mlp("top", c.top, weights, hidden="prelu", last="linear")
    return _first_of_two(top(ops.concatenate([user, interest, ad, context], axis=1)))


def _dien(c: Dien, inputs: Inputs, weights: Weights) -> keras.KerasTensor:
    user, behaviours, ad, context = (Lookup(table, weights)(inputs[table.name]) for table in c.tables)
    states = Recurrence("interest", c.hidden, weights, last_only=False)(behaviours)
    attention = Relevance(weights)(states, ad)
    last = Recurrence("evolution", c.hidden, weights, last_only=True)(states, attention)
    top = Mlp("top", c.top, weights, hidden="prelu", last="linear")
    return _first_of_two(top(ops.concatenate([user, last, ad, context], axis=1)))


_MAKERS: dict[type[Configuration], Callable[..., keras.KerasTensor]] = {
    Dlrm: _dlrm,
    Ncf: _ncf,
    WideAndDeep: _wide_and_deep,
    Din: _din,
    Dien: _dien,
}


def made(configuration: Configuration, *, seed: int = 0) -> ZooModel:
    """The model of a configuration as it is."""
    inputs = {
        feature.name: keras.Input(feature.shape, dtype=tf.int32 if feature.rows else tf.float32, name=feature.name)
        for feature in configuration.features()
    }
    scores = _MAKERS[type(configuration)](configuration, inputs, Weights(seed))
    model = keras.Model(inputs, scores, name=configuration.name)
    return ZooModel(name=configuration.name, model=model, configuration=configuration)


def build(name: str, *, table_bytes: int = 1 << 30, seed: int = 0) -> ZooModel:
    """A published model by its name in `CONFIGURATIONS`, its tables scaled down to at most `table_bytes`."""
    return made(scaled(named(name), table_bytes), seed=seed)
