"""Mult-VAE and Mult-DAE (Liang et al. 2018): hidden layers, a narrow code, and their mirror image.

Shape legend: B users, H hidden layer, L code.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from recsys_core.dataset import Dataset
from recsys_core.input import noise
from recsys_core.seeding import key64
from recsys_core.training.schedules import linear_ramp
from vaecf.autoencoder import Autoencoder, TrainBatch
from vaecf.config import MULT_VAE, ModelConfig
from vaecf.layers import Layer, dense, layers
from vaecf.losses import kl_divergence
from vaecf.run_config import FirstLayerConfig, StartConfig


class MultVae(Autoencoder):
    """I - hidden - L - reversed(hidden) - I. `kind` "vae" samples its code, "dae" does not."""

    presets = MULT_VAE
    configs = {"model": ModelConfig, "first_layer": FirstLayerConfig, "start": StartConfig}

    def __init__(self, data: Dataset, *, preset: str | None = None, seed: int | None = None, **changes: Any) -> None:
        """See `Recommender`; the settings are those of `vaecf.config.ModelConfig`."""
        super().__init__(data, preset=preset, seed=seed, **changes)
        config: ModelConfig = self.settings["model"]
        self._config, self._is_variational = config, config.kind == "vae"
        self._activation = {"tanh": tf.tanh, "relu": tf.nn.relu}[config.activation]
        self._code_key = key64(self.seed, "code")
        encoder = (self.n_items, *config.hidden, 2 * config.latent if self._is_variational else config.latent)
        decoder = (config.latent, *reversed(config.hidden), self.n_items)
        self.encoder, self.decoder = layers(self.seed, "encoder", encoder), layers(self.seed, "decoder", decoder)

    @property
    def latent(self) -> int:
        """L"""
        return self._config.latent

    @property
    def first(self) -> Layer:
        return self.encoder[0]

    @property
    def last(self) -> Layer:
        return self.decoder[-1]

    @property
    def kernels(self) -> list[tf.Variable]:
        return [kernel for kernel, _ in (*self.encoder, *self.decoder)]

    @property
    def parameters(self) -> list[tf.Variable]:
        return [v for layer in (*self.encoder, *self.decoder) for v in layer]

    def _code(self, first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and log-variance of the code, float32 [B, L] each, from the first layer (DAE: variance unused)."""
        x = first
        for layer in self.encoder[1:]:
            x = dense(self._activation(x), layer)
        if self._is_variational:
            mean, log_variance = tf.split(tf.cast(x, tf.float32), 2, axis=1)
            return mean, log_variance
        mean = tf.cast(self._activation(x), tf.float32)
        return mean, tf.zeros_like(mean)

    def _decoded(self, code: tf.Tensor) -> tf.Tensor:
        """[B, H] what the last layer reads, in the compute type, from a code [B, L]."""
        x = tf.cast(code, self.compute)
        for layer in self.decoder[:-1]:
            x = self._activation(dense(x, layer))
        return x

    def _hidden(self, first: tf.Tensor) -> tf.Tensor:
        return self._decoded(self._code(first)[0])

    def loss(self, batch: TrainBatch, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """This rank's share of the terms of the evidence lower bound (Liang et al. 2018, equation 6).

        Args:
            progress: [] share of the run's updates that are done, for the annealing of the KL term.
        """
        mean, log_variance = self._code(self.first_layer(batch, self.first, self._config.dropout))
        code, kl, weight = mean, tf.constant(0.0), tf.constant(0.0)
        if self._is_variational:
            draws = noise.normal(self._code_key, batch.step, batch.users, self._config.latent)
            code = mean + draws * tf.exp(0.5 * log_variance)
            kl = self.mean_over_users(kl_divergence(mean, log_variance), batch)
            weight = self._config.anneal_cap * linear_ramp(progress, self._config.anneal_fraction)
        nll = self.likelihood(batch)(self._decoded(code)) / batch.global_users
        return {"loss": nll + weight * kl, "nll": nll, "kl": kl}
