"""The loss that XLA compiles, on batches of fixed shape: terms and gradients of the sparse step's loss."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from ncf_tf.losses import binary_cross_entropy
from ncf_tf.model import NeuMf
from recsys_core.config import TrainingConfig
from recsys_core.input.batches import PairBatch
from recsys_core.input.pair_parts import PairPart
from recsys_core.world import World
from tests.models import neumf
from tests.ncf_tf.test_losses import ITEMS, NEGATIVES, USERS, batch, train

POSITIONS = np.array([0, 3, 4, 11, 12, 7, 9])
MEMORY = float(2**30)


def model(step_bytes: float, **options: Any) -> NeuMf:
    """Prepared for batches of eight positives, so that tables pass the first layer whole where that is possible."""
    settings = {"factors": 4, "layers": (8, 6, 3), "negatives": NEGATIVES, "seed": 1}
    made = neumf(USERS, ITEMS, train(), **settings | options)
    training = TrainingConfig(batch_size=8 * (1 + NEGATIVES))
    made.prepare_training(training, World(), step_bytes=step_bytes)
    rng = np.random.default_rng(1)
    for variable in made.parameters:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return made


def padded(own: PairBatch, empty: int) -> PairPart:
    """The batch with places that hold no pair, before and behind those that do."""
    padding = tf.fill([empty], -1 - own.positions[0])
    positions = tf.concat([padding, own.positions, padding], axis=0)
    return PairPart(positions, tf.zeros([positions.shape[0], 0], tf.int64), own.step, own.epoch, own.global_pairs)


def differentiated(made: NeuMf, own: Any, is_compiled: bool) -> tuple[dict[str, float], list[np.ndarray]]:
    def compute(own: Any) -> tuple[dict[str, tf.Tensor], list[tf.Tensor]]:
        with tf.GradientTape() as tape:
            terms = made.loss(own, tf.constant(0.0))
        gradients = tape.gradient(terms["loss"], made.parameters)
        return dict(terms), [tf.convert_to_tensor(g) for g in gradients]

    terms, gradients = tf.function(compute, jit_compile=True)(own) if is_compiled else compute(own)
    return {name: float(value) for name, value in terms.items()}, [g.numpy() for g in gradients]


@pytest.mark.parametrize("empty", [0, 2])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kind": "gmf", "biases": True},
        {"kind": "mlp", "verify_negatives": True},
        {"dropout": 0.3, "embedding_dropout": 0.2, "biases": True, "embedding_l2": 0.02, "verify_negatives": True},
        {"kind": "gmf", "dot_product": True, "biases": True, "ensemble_size": 2, "embedding_l2": 0.02},
        {"embedding_gradients": "rows", "verify_negatives": True},
    ],
    ids=["neumf", "gmf", "mlp", "all", "ensemble", "rows"],
)
def test_terms_and_gradients_are_those_of_the_sparse_loss(options: dict[str, Any], empty: int) -> None:
    own = batch(train(), POSITIONS, 8)
    terms, gradients = differentiated(model(0.0, **options), own, is_compiled=False)
    compiled = model(MEMORY, **options)
    others, found = differentiated(compiled, padded(own, empty), is_compiled=True)
    assert others.keys() == terms.keys()
    for name, value in terms.items():
        assert others[name] == pytest.approx(value, rel=1e-5, abs=1e-7), name
    for variable, left, right in zip(compiled.parameters, gradients, found, strict=True):
        assert right == pytest.approx(left, rel=1e-4, abs=1e-6), variable.name


def test_a_part_without_a_pair_adds_nothing() -> None:
    own = batch(train(), POSITIONS, 8)
    nothing = padded(own._replace(positions=own.positions[:1]), 2)
    nothing = nothing._replace(positions=tf.fill([5], -1 - own.positions[0]))
    terms, gradients = differentiated(model(MEMORY, embedding_l2=0.1, dropout=0.3), nothing, is_compiled=True)
    assert set(terms.values()) == {0.0}
    assert not any(gradient.any() for gradient in gradients)


def test_weights_by_hand() -> None:
    logits = tf.constant([[0.0, 0.0], [np.log(3.0), 0.0]])
    got = binary_cross_entropy(logits, tf.constant([0.0, 1.0]))
    assert float(got) == pytest.approx(np.log(4 / 3) + np.log(2))
    members = tf.stack([logits, logits], axis=2)
    assert float(binary_cross_entropy(members, tf.constant([0.0, 1.0]))) == pytest.approx(2 * float(got))


@pytest.mark.parametrize(
    ("gradients", "memory", "parts"),
    [("dense", MEMORY, 1), ("dense", 1.0, 8), ("rows", 1.0, 1), ("dense", 3 * 12 * 4 * (8 + 6 + 3 + 4 + 1), 3)],
)
def test_parts_within_the_memory(gradients: str, memory: float, parts: int) -> None:
    """Eight pairs; tables by rows are not cut, because rows are not added up over parts."""
    assert model(memory, embedding_gradients=gradients).parts_per_step == parts
