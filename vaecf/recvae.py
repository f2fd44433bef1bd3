"""RecVAE (Shenbin et al. 2020): a deeper encoder, a composite prior, a KL term by user, and turns of training.

Shape legend: B users, I items, H hidden layer, L code.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from recsys_core.axes import ITEMS, OTHER, Axes
from recsys_core.dataset import Dataset
from recsys_core.input import noise
from recsys_core.phases import Phase
from recsys_core.seeding import key64
from recsys_core.training.schedules import linear_ramp
from vaecf.autoencoder import Autoencoder, TrainBatch
from vaecf.layers import Layer, dense, layer, layers
from vaecf.losses import kl_divergence, normal_log_density
from vaecf.recvae_config import PRESETS, RecVaeConfig
from vaecf.run_config import FirstLayerConfig, StartConfig

NORM_EPSILON = 0.1
"""Added to the variance by layer normalisation."""
WIDE_LOG_VARIANCE = 10.0
"""Of the wide normal in the composite prior."""


class Encoder(tf.Module):
    """From the first layer's output to the mean and the log-variance of the code."""

    def __init__(self, config: RecVaeConfig, seed: int, n_items: int) -> None:
        super().__init__(name="encoder")
        self._is_dense = config.dense_encoder
        self.layers = layers(seed, "encoder", (n_items, *config.hidden))
        self.norms = [(tf.Variable(tf.ones([width])), tf.Variable(tf.zeros([width]))) for width in config.hidden]
        self.code = layer(seed, "encoder/code", config.hidden[-1], 2 * config.latent)
        self.all = [v for pair in (*self.layers, *self.norms, self.code) for v in pair]

    def __call__(self, first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and log-variance, float32 [B, L] each, from [B, H] in the compute type."""
        total, x = tf.zeros_like(first), first
        for k, norm in enumerate(self.norms):
            if k:
                x = dense(x, self.layers[k])
            x = _normalised(tf.nn.silu(x + total if self._is_dense else x), norm)
            total += x
        mean, log_variance = tf.split(tf.cast(dense(x, self.code), tf.float32), 2, axis=1)
        return mean, log_variance


def _normalised(x: tf.Tensor, norm: Layer) -> tf.Tensor:
    """[B, H] layer normalisation (Ba et al. 2016), computed in float32."""
    scale, offset = norm
    wide = tf.cast(x, tf.float32)
    mean, variance = tf.nn.moments(wide, axes=[1], keepdims=True)
    return tf.cast((wide - mean) * tf.math.rsqrt(variance + NORM_EPSILON) * scale + offset, x.dtype)


class RecVae(Autoencoder):
    """I - hidden layers - L - I; the decoder is one linear layer."""

    presets = PRESETS
    configs = {"model": RecVaeConfig, "first_layer": FirstLayerConfig, "start": StartConfig}

    def __init__(self, data: Dataset, *, preset: str | None = None, seed: int | None = None, **changes: Any) -> None:
        """See `Recommender`; the settings are those of `vaecf.recvae_config.RecVaeConfig`."""
        super().__init__(data, preset=preset, seed=seed, **changes)
        config: RecVaeConfig = self.settings["model"]
        self._config, self._code_key = config, key64(self.seed, "code")
        self.encoder = Encoder(config, self.seed, self.n_items)
        self.decoder = layer(self.seed, "decoder", config.latent, self.n_items)
        self.earlier = Encoder(config, self.seed, self.n_items)
        """The encoder as it was before its last turn, in the prior."""

    @property
    def first(self) -> Layer:
        return self.encoder.layers[0]

    @property
    def last(self) -> Layer:
        return self.decoder

    @property
    def axes(self) -> Sequence[Axes]:
        return [*super().axes, Axes(self.earlier.layers[0][0], (ITEMS, OTHER))]

    @property
    def kernels(self) -> list[tf.Variable]:
        return [kernel for kernel, _ in (*self.encoder.layers, self.encoder.code, self.decoder)]

    @property
    def parameters(self) -> list[tf.Variable]:
        return [*self.encoder.all, *self.decoder]

    @property
    def phases(self) -> Sequence[Phase]:
        if not self._config.encoder_epochs:
            return [Phase(parameters=self.parameters, loss=self.loss, begin=self._keep_encoder)]
        return [
            Phase(parameters=self.encoder.all, loss=self.loss, epochs=self._config.encoder_epochs),
            Phase(parameters=self.decoder, loss=self._decoder_loss, begin=self._keep_encoder),
        ]

    @tf.function(autograph=False)
    def _keep_encoder(self) -> None:
        for earlier, now in zip(self.earlier.all, self.encoder.all, strict=True):
            earlier.assign(now)

    def _start_items(self) -> None:
        super()._start_items()
        self._keep_encoder()

    def _hidden(self, first: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.encoder(first)[0], self.compute)

    def loss(self, batch: TrainBatch, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """This rank's share of the terms of the evidence lower bound (Shenbin et al. 2020, equation 6)."""
        return self._terms(batch, progress, self._config.dropout)

    def _decoder_loss(self, batch: TrainBatch, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """The same while the decoder is trained: on whole histories."""
        return self._terms(batch, progress, 0.0)

    def _terms(self, batch: TrainBatch, progress: tf.Tensor, dropout: float) -> Mapping[str, tf.Tensor]:
        config = self._config
        mean, log_variance = self.encoder(self.first_layer(batch, self.first, dropout))
        draws = noise.normal(self._code_key, batch.step, batch.users, config.latent)
        code = mean + draws * tf.exp(0.5 * log_variance)
        if config.prior == "composite":
            own = normal_log_density(code, mean, log_variance)
            divergence = tf.reduce_sum(own - self._prior(batch, code), axis=1)
        else:
            divergence = kl_divergence(mean, log_variance)
        weight = (
            config.gamma * self.item_counts(batch) if config.gamma else config.anneal_cap * linear_ramp(progress, 1.0)
        )
        nll = self.likelihood(batch)(tf.cast(code, self.compute)) / batch.global_users
        kl = self.mean_over_users(divergence, batch)
        return {"loss": nll + self.mean_over_users(weight * divergence, batch), "nll": nll, "kl": kl}

    def _prior(self, batch: TrainBatch, code: tf.Tensor) -> tf.Tensor:
        """[B, L] log-density of each number of the code: a mixture of three normals (equation 5)."""
        config = self._config
        before = self.earlier(self.first_layer(batch, self.earlier.layers[0], 0.0))
        nothing, wide = tf.zeros_like(code), tf.fill(tf.shape(code), WIDE_LOG_VARIANCE)
        of = [(config.standard_weight, nothing, nothing), (config.earlier_weight, *before)]
        of.append((1 - config.standard_weight - config.earlier_weight, nothing, wide))
        terms = [math.log(weight) + normal_log_density(code, mean, variance) for weight, mean, variance in of]
        return tf.reduce_logsumexp(tf.stack(terms), axis=0)
