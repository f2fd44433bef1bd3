"""A gated VAE with two codes and a VampPrior: "H+Vamp (gated)" of Kim and Suh 2019, "Enhancing VAEs for Collaborative
Filtering", after Tomczak and Welling 2018. The likelihood is the multinomial one of Mult-VAE.

Codes z2 and z1: q(z2|x) q(z1|x,z2) in the encoder, p(z2) p(z1|z2) p(x|z1,z2) in the decoder. p(z2) is the mean of
q(z2|u) over pseudo-inputs u, which are learnt.

Shape legend: B users, I items, H hidden layer, L code, C pseudo-inputs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from recsys_core.axes import ITEMS, OTHER, Axes
from recsys_core.dataset import Dataset
from recsys_core.input import noise
from recsys_core.seeding import generator, key64
from recsys_core.training.schedules import linear_ramp
from vaecf.autoencoder import Autoencoder, TrainBatch
from vaecf.layers import Layer, dense, layer
from vaecf.losses import normal_log_density
from vaecf.run_config import FirstLayerConfig, StartConfig
from vaecf.vamp_config import PRESETS, VampConfig

PSEUDO_MEAN, PSEUDO_STDDEV = 0.05, 0.01
"""Initial values of the pseudo-inputs."""
SMALLEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE = -12.0, 4.0

Normal: TypeAlias = tuple[tf.Tensor, tf.Tensor]
"""Mean and log-variance, float32 [B, L] each."""


def _opened(x: tf.Tensor) -> tf.Tensor:
    """[B, H] tanh of the first half of [B, 2H], times the sigmoid of the second half: a gated layer's activation."""
    value, gate = tf.split(x, 2, axis=1)
    return tf.tanh(value) * tf.sigmoid(gate)


class VampVae(Autoencoder):
    """Two codes, gated layers, and a prior that is learnt."""

    presets = PRESETS
    reads_rows_only = False  # the pseudo-inputs have all items
    configs = {"model": VampConfig, "first_layer": FirstLayerConfig, "start": StartConfig}

    def __init__(self, data: Dataset, *, preset: str | None = None, seed: int | None = None, **changes: Any) -> None:
        """See `Recommender`; the settings are those of `vaecf.vamp_config.VampConfig`."""
        super().__init__(data, preset=preset, seed=seed, **changes)
        config: VampConfig = self.settings["model"]
        self._config, hidden, code = config, config.hidden, config.latent
        self._keys = {name: key64(self.seed, f"code/{name}") for name in ("z1", "z2")}
        widths = {
            "x": (self.n_items, 4 * hidden),  # one gated layer towards z2, and one towards z1
            "x/z2": (hidden, 2 * hidden),
            "z2": (hidden, 2 * code),
            "z2/z1": (code, 2 * hidden),
            "both/z1": (2 * hidden, 2 * hidden),
            "z1": (hidden, 2 * code),
            "prior/1": (code, 2 * hidden),
            "prior/2": (hidden, 2 * hidden),
            "prior": (hidden, 2 * code),
            "decoder/z1": (code, 2 * hidden),
            "decoder/z2": (code, 2 * hidden),
            "decoder/both": (2 * hidden, 2 * hidden),
            "decoder": (hidden, self.n_items),
        }
        self.layers = {name: layer(self.seed, name, *shape) for name, shape in widths.items()}
        draws = generator(self.seed, "init/pseudo").standard_normal((config.pseudo_inputs, self.n_items), np.float32)
        self.pseudo = tf.Variable(PSEUDO_MEAN + PSEUDO_STDDEV * draws, name="pseudo")
        """[C, I] histories; values are cut to the range from 0 to 1."""

    @property
    def first(self) -> Layer:
        return self.layers["x"]

    @property
    def last(self) -> Layer:
        return self.layers["decoder"]

    @property
    def axes(self) -> Sequence[Axes]:
        return [*super().axes, Axes(self.pseudo, (OTHER, ITEMS))]

    @property
    def kernels(self) -> list[tf.Variable]:
        return [kernel for kernel, _ in self.layers.values()]

    @property
    def parameters(self) -> list[tf.Variable]:
        return [*(v for pair in self.layers.values() for v in pair), self.pseudo]

    def _gated(self, x: tf.Tensor, name: str) -> tf.Tensor:
        return _opened(dense(x, self.layers[name]))

    def _normal(self, x: tf.Tensor, name: str) -> Normal:
        mean, log_variance = tf.split(tf.cast(dense(x, self.layers[name]), tf.float32), 2, axis=1)
        return mean, tf.clip_by_value(log_variance, SMALLEST_LOG_VARIANCE, LARGEST_LOG_VARIANCE)

    def _z2(self, towards_z2: tf.Tensor) -> Normal:
        """q(z2|x) from its half of the first layer [B, 2H]."""
        return self._normal(self._gated(_opened(towards_z2), "x/z2"), "z2")

    def _z1(self, towards_z1: tf.Tensor, z2: tf.Tensor) -> Normal:
        """q(z1|x,z2) from its half of the first layer [B, 2H] and z2 [B, L]."""
        of_code = self._gated(tf.cast(z2, self.compute), "z2/z1")
        return self._normal(self._gated(tf.concat([_opened(towards_z1), of_code], axis=1), "both/z1"), "z1")

    def _decoded(self, z1: tf.Tensor, z2: tf.Tensor) -> tf.Tensor:
        """[B, H] what the last layer reads."""
        of_codes = [self._gated(tf.cast(z, self.compute), f"decoder/{n}") for n, z in (("z1", z1), ("z2", z2))]
        return self._gated(tf.concat(of_codes, axis=1), "decoder/both")

    def _hidden(self, first: tf.Tensor) -> tf.Tensor:
        towards_z2, towards_z1 = tf.split(first, 2, axis=1)
        z2, _ = self._z2(towards_z2)
        return self._decoded(self._z1(towards_z1, z2)[0], z2)

    def loss(self, batch: TrainBatch, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """This rank's share of the terms of the evidence lower bound, with the KL term by one sample of the codes."""
        towards_z2, towards_z1 = tf.split(self.first_layer(batch, self.first, self._config.dropout), 2, axis=1)
        of_z2 = self._z2(towards_z2)
        z2 = self._sampled(batch, of_z2, "z2")
        of_z1 = self._z1(towards_z1, z2)
        z1 = self._sampled(batch, of_z1, "z1")
        of_prior = self._normal(self._gated(self._gated(tf.cast(z2, self.compute), "prior/1"), "prior/2"), "prior")
        divergence = normal_log_density(z1, *of_z1) - normal_log_density(z1, *of_prior) + normal_log_density(z2, *of_z2)
        kl = self.mean_over_users(tf.reduce_sum(divergence, axis=1) - self._log_prior(z2), batch)
        nll = self.likelihood(batch)(self._decoded(z1, z2)) / batch.global_users
        weight = self._config.anneal_cap * linear_ramp(progress, self._config.anneal_fraction)
        return {"loss": nll + weight * kl, "nll": nll, "kl": kl}

    def _sampled(self, batch: TrainBatch, of: Normal, name: str) -> tf.Tensor:
        draws = noise.normal(self._keys[name], batch.step, batch.users, self._config.latent)
        return of[0] + draws * tf.exp(0.5 * of[1])

    def _log_prior(self, z2: tf.Tensor) -> tf.Tensor:
        """[B] log-density of z2 [B, L] under the mean of q(z2|u) over the pseudo-inputs u.

        No array [B, C, L] is made.
        """
        kernel, bias = self.first
        half = kernel.shape[1] // 2
        inputs = tf.math.l2_normalize(tf.clip_by_value(self.pseudo, 0.0, 1.0), axis=1, epsilon=1e-12)
        product = tf.matmul(tf.cast(inputs, self.compute), tf.cast(kernel[:, :half], self.compute))
        mean, log_variance = self._z2(product + tf.cast(bias[:half], self.compute))
        precision = tf.exp(-log_variance)
        # (z - m)² / v, summed over L, is z² / v - 2 z m / v + m² / v: two products of matrices
        squares = tf.matmul(tf.square(z2), precision, transpose_b=True)
        squares += tf.reduce_sum(tf.square(mean) * precision, axis=1) - 2 * tf.matmul(
            z2, mean * precision, transpose_b=True
        )
        constant = tf.reduce_sum(log_variance, axis=1) + self._config.latent * math.log(2 * math.pi)
        return tf.reduce_logsumexp(-0.5 * (squares + constant), axis=1) - math.log(self._config.pseudo_inputs)
