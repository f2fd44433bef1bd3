"""The gated VAE with a VampPrior against independent computations in NumPy and SciPy."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, logsumexp
from scipy.stats import norm

from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.input import noise
from recsys_core.input.batches import Batch, Histories
from recsys_core.seeding import key64
from vaecf.vamp import VampVae

ITEMS, HIDDEN, LATENT = 13, 5, 3


def model(**settings: Any) -> VampVae:
    made = VampVae(
        Dataset.empty(1, ITEMS), **{"hidden": HIDDEN, "latent": LATENT, "pseudo_inputs": 4, "dropout": 0.0} | settings
    )
    for k, variable in enumerate(made.parameters):
        variable.assign(np.random.default_rng(k).normal(0.1, 0.4, variable.shape).astype(np.float32))
    return made


class Equations:
    """The network, layer by layer."""

    def __init__(self, of: VampVae) -> None:
        self.layers = {name: (k.numpy().astype(np.float64), b.numpy()) for name, (k, b) in of.layers.items()}
        self.pseudo = np.clip(of.pseudo.numpy().astype(np.float64), 0, 1)

    def linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self.layers[name][0] + self.layers[name][1]

    @staticmethod
    def gate(x: np.ndarray) -> np.ndarray:
        half = x.shape[1] // 2
        return np.tanh(x[:, :half]) * expit(x[:, half:])

    def normal(self, x: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        both = self.linear(x, name)
        return both[:, :LATENT], np.exp(np.clip(both[:, LATENT:], -12, 4) / 2)

    def z2(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first = self.linear(x / np.sqrt((x**2).sum(axis=1, keepdims=True)), "x")[:, : 2 * HIDDEN]
        return self.normal(self.gate(self.linear(self.gate(first), "x/z2")), "z2")

    def z1(self, x: np.ndarray, z2: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        first = self.linear(x / np.sqrt((x**2).sum(axis=1, keepdims=True)), "x")[:, 2 * HIDDEN :]
        both = np.concatenate([self.gate(first), self.gate(self.linear(z2, "z2/z1"))], axis=1)
        return self.normal(self.gate(self.linear(both, "both/z1")), "z1")

    def logits(self, z1: np.ndarray, z2: np.ndarray) -> np.ndarray:
        both = [self.gate(self.linear(z, f"decoder/{name}")) for name, z in (("z1", z1), ("z2", z2))]
        return self.linear(self.gate(self.linear(np.concatenate(both, axis=1), "decoder/both")), "decoder")


def users() -> tuple[np.ndarray, tf.Tensor, tf.Tensor]:
    dense = (np.random.default_rng(3).random((4, ITEMS)) < 0.4).astype(np.float64)
    splits = np.concatenate([[0], np.cumsum(dense.sum(axis=1))]).astype(np.int64)
    return dense, tf.constant(np.nonzero(dense)[1], tf.int32), tf.constant(splits)


def test_scores_equal_the_dense_forward_pass() -> None:
    made, (dense, item_ids, splits) = model(), users()
    equations = Equations(made)
    z2, _ = equations.z2(dense)
    z1, _ = equations.z1(dense, z2)
    found = made.scores(Histories(item_ids, splits, splits[1:])).numpy()
    assert found == pytest.approx(equations.logits(z1, z2), abs=1e-5)


def test_the_loss_is_that_of_the_equations() -> None:
    made, (dense, item_ids, splits) = model(anneal_cap=0.5, anneal_fraction=1.0), users()
    equations, rows = Equations(made), tf.range(4, dtype=tf.int64)
    draws = {
        n: noise.normal(key64(0, f"code/{n}"), tf.constant(7, tf.int64), rows, LATENT).numpy() for n in ("z1", "z2")
    }
    of_z2 = equations.z2(dense)
    z2 = of_z2[0] + draws["z2"] * of_z2[1]
    of_z1 = equations.z1(dense, z2)
    z1 = of_z1[0] + draws["z1"] * of_z1[1]
    prior_z1 = equations.normal(
        equations.gate(equations.linear(equations.gate(equations.linear(z2, "prior/1")), "prior/2")), "prior"
    )
    pseudo = equations.z2(equations.pseudo)
    components = norm.logpdf(z2[:, None, :], pseudo[0][None], pseudo[1][None]).sum(axis=2)
    kl = (norm.logpdf(z1, *of_z1) - norm.logpdf(z1, *prior_z1) + norm.logpdf(z2, *of_z2)).sum(axis=1)
    kl -= logsumexp(components, axis=1) - np.log(4)
    logits = equations.logits(z1, z2)
    nll = -(dense * (logits - logsumexp(logits, axis=1, keepdims=True))).sum(axis=1)
    own = Batch(rows, item_ids, splits, tf.constant(7, tf.int64), tf.constant(4.0))
    terms = made.loss(own, tf.constant(0.5))
    assert float(terms["nll"]) == pytest.approx(nll.mean(), rel=1e-5)
    assert float(terms["kl"]) == pytest.approx(kl.mean(), rel=1e-4)
    assert float(terms["loss"]) == pytest.approx((nll + 0.25 * kl).mean(), rel=1e-5)


def test_every_parameter_is_trained() -> None:
    made, (_, item_ids, splits) = model(), users()
    own = Batch(tf.range(4, dtype=tf.int64), item_ids, splits, tf.constant(7, tf.int64), tf.constant(4.0))
    with tf.GradientTape() as tape:
        loss = made.loss(own, tf.constant(1.0))["loss"]
    gradients = tape.gradient(loss, made.parameters)
    assert all(np.abs(g.numpy()).max() > 0 for g in gradients)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"pseudo_inputs": 0}, "--pseudo-inputs is 0, expected a whole number from 1"),
        ({"anneal_cap": -0.1}, "--anneal-cap is -0.1"),
        ({"dropout": 1.5}, "--dropout is 1.5, expected a share from 0 to below 1"),
    ],
)
def test_settings_that_cannot_be_used(setting: dict, message: str) -> None:
    with pytest.raises(UserError, match="^" + re.escape(message)):
        model(**setting)
