"""Every model against an independent forward pass, and its parts: NCF's product, DIN's attention, the AUGRU."""

from __future__ import annotations

import dataclasses
import functools

import keras
import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from load_study.zoo.configurations import CONFIGURATIONS
from load_study.zoo.layers import LocalActivation, Recurrence, Relevance, Weights, starts
from load_study.zoo.models import ZooModel, build
from tests.load_study.zoo import reference

NAMES = list(CONFIGURATIONS)
MIB = 1 << 20


def shaken(zoo_model: ZooModel, seed: int = 0) -> ZooModel:
    """The model with other weights, such that every one of them shows in the scores."""
    rng = np.random.default_rng(seed)
    lookups = max(table.lookups for table in zoo_model.configuration.tables)
    for v in zoo_model.model.variables:
        kind, shape = v.path.split("/")[-1], tuple(v.shape)
        if kind == "rows":
            values = rng.uniform(-1, 1, shape) / np.sqrt(lookups)
        elif kind == "alpha":
            values = rng.uniform(0.05, 0.5, shape)
        elif kind == "bias":
            values = rng.normal(0, 0.3, shape)
        else:
            values = rng.normal(0, np.sqrt(1 / shape[0]), shape)
        v.assign(values.astype(np.float32))
    return zoo_model


def fresh(name: str) -> ZooModel:
    """A small model, for a test that changes it."""
    return shaken(build(name, table_bytes=2 * MIB))


@functools.cache
def small(name: str) -> ZooModel:
    """A small model that many tests share."""
    return fresh(name)


def answers(zoo_model: ZooModel, inputs: dict[str, npt.NDArray]) -> npt.NDArray:
    return zoo_model.model({name: tf.constant(values) for name, values in inputs.items()}).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_those_of_the_paper(name: str) -> None:
    model = small(name)
    inputs = model.inputs(12, np.random.default_rng(1))
    expected, found = reference.scores(model, inputs), answers(model, inputs)
    assert found.dtype == np.float32
    assert found.shape == expected.shape == ((12, 4) if name == "mtwnd" else (12,))
    assert expected.std() > 0.02  # the examples differ, and the sigmoid hides nothing:
    assert np.all((expected > 1e-3) & (expected < 1 - 1e-3))
    np.testing.assert_allclose(found, expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("name", NAMES)
def test_the_configuration_counts_what_was_built(name: str) -> None:
    model = build(name, table_bytes=2 * MIB)
    variables = model.model.variables
    assert model.parameters == sum(int(np.prod(v.shape)) for v in variables)
    assert model.table_bytes == 4 * sum(int(np.prod(v.shape)) for v in variables if v.path.endswith("/rows"))
    assert model.table_bytes + model.dense_bytes == 4 * model.parameters
    assert model.table_bytes <= 2 * MIB


@pytest.mark.parametrize("name", NAMES)
def test_a_batch_is_its_examples(name: str) -> None:
    model = small(name)
    inputs = model.inputs(33, np.random.default_rng(2))
    whole = answers(model, inputs)
    for size in (1, 2, 7, 32):
        part = {feature: values[1 : 1 + size] for feature, values in inputs.items()}
        np.testing.assert_allclose(answers(model, part), whole[1 : 1 + size], rtol=0, atol=2e-6)


@pytest.mark.parametrize("name", NAMES)
def test_inputs_stay_within_their_tables(name: str) -> None:
    model = build(name, table_bytes=2 * MIB)
    inputs = model.inputs(400, np.random.default_rng(3))
    assert set(inputs) == {tensor.name for tensor in model.model.inputs}
    for feature in model.configuration.features():
        values = inputs[feature.name]
        assert values.shape == (400, *feature.shape)
        assert values.dtype == (np.int32 if feature.rows else np.float32)
        groups = np.moveaxis(values, 1, 0) if len(feature.rows) > 1 else [values]
        for group, limit in zip(groups, feature.rows or (1,), strict=True):
            assert group.min() >= 0
            assert group.max() < limit
            assert group.max() > 0.9 * (limit - 1)  # all of the table is asked for


def test_ids_of_a_large_table_reach_beyond_a_small_one() -> None:
    model = build("mtwnd", table_bytes=2 * MIB)
    ids = model.inputs(400, np.random.default_rng(0))["ids"]
    assert ids[:, 41:].min(axis=0).max() < ids[:, :41].max() < ids[:, 41:].max()


@pytest.mark.parametrize("name", ["rmc1", "ncf", "mtwnd", "din"])
def test_tables_start_as_published(name: str) -> None:
    model = build(name, table_bytes=2 * MIB)
    values = reference.weights_of(model)
    fused = [t for t in model.configuration.tables if f"table_{t.name}/rows" not in values and t.name != "cross"]
    parts = [values[f"table_{t.name}/rows"] for t in model.configuration.tables if t not in fused and t.name != "cross"]
    if fused:
        parts += [values["tables/rows"][s : s + t.rows] for s, t in zip(starts(fused), fused, strict=True)]
    for part in parts:
        limit = np.sqrt(1 / len(part))
        assert np.abs(part).max() <= limit * (1 + 1e-6)
        assert part.max() > 0.99 * limit
        assert part.min() < -0.99 * limit
        assert part.std() == pytest.approx(limit / np.sqrt(3), rel=0.05)


def test_layers_start_as_published() -> None:
    values = reference.weights_of(build("rmc3", table_bytes=2 * MIB))
    kernel, bias = values["bottom/bottom_0/kernel"], values["bottom/bottom_0/bias"]
    assert kernel.shape == (2_560, 1_024)
    assert kernel.std() == pytest.approx(np.sqrt(2 / 3_584), rel=0.01)
    assert abs(kernel.mean()) < 1e-4
    assert bias.std() == pytest.approx(np.sqrt(1 / 1_024), rel=0.1)
    recurrent = reference.weights_of(build("dien", table_bytes=2 * MIB))["interest/recurrent"]
    assert recurrent.std() == pytest.approx(np.sqrt(2 / 128), rel=0.05)  # three products of 64 with 64


def test_weights_follow_the_seed() -> None:
    first, again, other = (reference.weights_of(build("ncf", table_bytes=MIB, seed=s)) for s in (5, 5, 6))
    assert all(np.array_equal(first[path], again[path]) for path in first)
    assert not any(np.array_equal(first[path], other[path]) for path in first)
    assert not np.array_equal(first["table_gmf_user/rows"], first["table_mlp_user/rows"])


def test_ncf_multiplies() -> None:
    model = fresh("ncf")
    weights = {v.path: v for v in model.model.variables}
    weights["output/output_0/kernel"].assign(np.r_[np.ones(64), np.zeros(64)][:, None])
    weights["output/output_0/bias"].assign([0.0])
    users, items = (weights[f"table_gmf_{of}/rows"].numpy() for of in ("user", "item"))
    p = answers(model, {"user": np.int32([7, 3]), "item": np.int32([2, 9])}).astype(np.float64)
    dots = [float(np.dot(users[7], items[2])), float(np.dot(users[3], items[9]))]
    np.testing.assert_allclose(np.log(p / (1 - p)), dots, atol=2e-5)


def test_the_order_of_a_bag_does_not_matter_but_its_table_does() -> None:
    model = small("rmc1")
    inputs = model.inputs(4, np.random.default_rng(0))
    before = answers(model, inputs)
    np.testing.assert_allclose(answers(model, inputs | {"ids": inputs["ids"][:, :, ::-1]}), before, atol=2e-6)
    assert np.abs(answers(model, inputs | {"ids": inputs["ids"][:, ::-1]}) - before).min() > 1e-4


def test_the_wide_part_knows_the_cross_and_nothing_else() -> None:
    model = fresh("wnd")
    for v in model.model.variables:
        if v.path.startswith("task0") and v.path.endswith("kernel"):
            v.assign(np.zeros(v.shape))  # nothing of the deep part is left
    inputs = model.inputs(64, np.random.default_rng(0))
    before = answers(model, inputs)
    others = model.inputs(64, np.random.default_rng(1))
    others["ids"][:, :2] = inputs["ids"][:, :2]
    np.testing.assert_array_equal(answers(model, others), before)
    swapped = inputs["ids"].copy()
    swapped[:, :2] = swapped[:, 1::-1]
    assert np.mean(answers(model, inputs | {"ids": swapped}) != before) > 0.9


def _of(layer: keras.layers.Layer, rng: np.random.Generator) -> reference.Weights:
    """Random weights for a layer, and what they are."""
    for v in layer.variables:
        v.assign(rng.normal(0, 0.5, v.shape))
    return {v.path: v.numpy().astype(np.float64) for v in layer.variables}


def test_local_activation_weighs_without_a_softmax() -> None:
    rng = np.random.default_rng(0)
    behaviours, ad = rng.normal(0, 1, (3, 6, 4)), rng.normal(0, 1, (3, 4))
    layer = LocalActivation((5, 1), Weights(0))
    layer(np.float32(behaviours), np.float32(ad))
    w = _of(layer, rng)
    found = layer(np.float32(behaviours), np.float32(ad)).numpy()
    expected = [reference.activation(w, "activation/attention", b, a) for b, a in zip(behaviours, ad, strict=True)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    # Every behaviour twice makes the interest twice as strong; a softmax would keep it as it was.
    doubled = layer(np.float32(np.tile(behaviours, (1, 2, 1))), np.float32(ad)).numpy()
    np.testing.assert_allclose(doubled, 2 * found, rtol=1e-5, atol=1e-5)


def _recurrence(last_only: bool) -> tuple[Recurrence, reference.Weights, npt.NDArray, npt.NDArray]:
    rng = np.random.default_rng(0)
    inputs, attention = rng.normal(0, 1, (3, 9, 4)), rng.uniform(0, 1, (3, 9))
    layer = Recurrence("cell", 5, Weights(0), last_only=last_only)
    layer(np.float32(inputs))
    return layer, _of(layer, rng), inputs, attention


def test_the_augru_step_by_step() -> None:
    layer, w, inputs, attention = _recurrence(last_only=False)
    found = layer(np.float32(inputs), np.float32(attention)).numpy()
    plain = layer(np.float32(inputs)).numpy()
    for k in range(3):
        h = g = np.zeros(5)
        for step in range(9):
            h = reference.gru_step(w, "cell", h, inputs[k, step], attention[k, step])
            g = reference.gru_step(w, "cell", g, inputs[k, step])
            np.testing.assert_allclose(found[k, step], h, rtol=0, atol=1e-6)
            np.testing.assert_allclose(plain[k, step], g, rtol=0, atol=1e-6)


def test_attention_decides_what_moves_the_state() -> None:
    layer, _, inputs, attention = _recurrence(last_only=True)
    x = np.float32(inputs)
    plain = layer(x).numpy()
    np.testing.assert_allclose(layer(x, np.ones((3, 9), np.float32)).numpy(), plain, atol=1e-7)
    assert not layer(x, np.zeros((3, 9), np.float32)).numpy().any()
    # A behaviour without attention might as well not be there.
    attention[:, 4] = 0.0
    without = layer(np.delete(x, 4, axis=1), np.float32(np.delete(attention, 4, axis=1))).numpy()
    np.testing.assert_allclose(layer(x, np.float32(attention)).numpy(), without, atol=1e-6)


def test_the_gru_is_that_of_keras_with_its_update_gate_turned_round() -> None:
    layer, w, inputs, _ = _recurrence(last_only=False)
    gru = keras.layers.GRU(5, return_sequences=True)
    gru.build((None, 9, 4))
    turned = np.r_[-np.ones(5), np.ones(10)]  # Keras keeps with the gate what we replace with it
    biases = np.stack([w["cell/bias"] * turned, np.zeros(15)])
    gru.set_weights([w["cell/kernel"] * turned, w["cell/recurrent"] * turned, biases])
    np.testing.assert_allclose(layer(np.float32(inputs)).numpy(), gru(np.float32(inputs)).numpy(), atol=1e-6)


def test_relevance_is_a_softmax_over_the_states() -> None:
    rng = np.random.default_rng(0)
    states, ad = rng.normal(0, 1, (3, 7, 5)), rng.normal(0, 1, (3, 4))
    layer = Relevance(Weights(0))
    layer(np.float32(states), np.float32(ad))
    kernel = _of(layer, rng)["relevance/kernel"]
    energies = np.einsum("bnh,wh,bw->bn", states, kernel, ad)
    expected = np.exp(energies) / np.exp(energies).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(layer(np.float32(states), np.float32(ad)).numpy(), expected, atol=1e-6)


def test_the_zoo_knows_its_model_by_the_scaled_configuration() -> None:
    model = build("rmc1", table_bytes=2 * MIB)
    assert model.name == model.configuration.name == "rmc1"
    assert [t.rows for t in model.configuration.tables] == [2_048] * 8
    assert dataclasses.replace(model, name="other").operations == model.operations
