"""Mult-VAE and Mult-DAE: a sparse first layer, a narrow code, and logits over all items.

Shape legend: B users, N interactions, I items, H widest hidden layer, L code.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import tensorflow as tf

from recsys_core.axes import ITEMS, OTHER, Axes
from recsys_core.config import TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.input import noise
from recsys_core.input.batches import Batch, Histories, rows_of
from recsys_core.input.chunks import (
    DATA_SHARE,
    WIDTH,
    ChunkPart,
    ChunkTable,
    HistoryPart,
    chunk_batches,
    chunk_table,
)
from recsys_core.model import Recommender, float32_scores
from recsys_core.seeding import generator, key64
from recsys_core.sparse_products import sparse_product
from recsys_core.training.schedules import linear_ramp
from recsys_core.world import World
from vaecf import dense
from vaecf.config import PRESETS, ModelConfig
from vaecf.losses import kl_divergence, multinomial_nll

BIAS_STDDEV = 0.001

Likelihood: TypeAlias = Callable[[tf.Tensor], tf.Tensor]
"""The last hidden layer [B, H] -> [] negative log-likelihood, summed over users."""


@dataclass(frozen=True, kw_only=True)
class CompiledInput:
    """What the compiled step needs besides the parameters."""

    plan: dense.DensePlan
    table: ChunkTable


def _kernel(seed: int, name: str, rows: int, columns: int) -> tf.Variable:
    """Xavier uniform (Glorot and Bengio 2010)."""
    limit = np.sqrt(6.0 / (rows + columns))
    values = generator(seed, f"init/{name}").uniform(-limit, limit, (rows, columns)).astype(np.float32)
    return tf.Variable(values, name=name)


def _bias(seed: int, name: str, width: int) -> tf.Variable:
    """Normal with standard deviation 0.001; values beyond two standard deviations are drawn again."""
    rng = generator(seed, f"init/{name}")
    values = rng.standard_normal(width)
    while (far := np.abs(values) > 2).any():
        values[far] = rng.standard_normal(int(far.sum()))
    return tf.Variable((BIAS_STDDEV * values).astype(np.float32), name=name)


class MultVae(Recommender):
    """I - hidden - L - reversed(hidden) - I. `kind` "vae" samples its code, "dae" does not."""

    family = "vaecf"
    presets = PRESETS
    configs = {"model": ModelConfig}
    loss_names = ("loss", "nll", "kl")
    has_compiled_step = True

    def __init__(self, data: Dataset, *, preset: str | None = None, seed: int | None = None, **changes: Any) -> None:
        """See `Recommender`; the settings are those of `vaecf.config.ModelConfig`."""
        super().__init__(data, preset=preset, seed=seed, **changes)
        config: ModelConfig = self.settings["model"]
        self.latent, self._is_variational = config.latent, config.kind == "vae"
        self._activation = {"tanh": tf.tanh, "relu": tf.nn.relu}[config.activation]
        self._dropout, self._anneal_cap, self._anneal_end = config.dropout, config.anneal_cap, config.anneal_fraction
        self._compiled: CompiledInput | None = None
        self._dropout_key, self._code_key = key64(self.seed, "dropout"), key64(self.seed, "code")
        encoder = (self.n_items, *config.hidden, 2 * config.latent if self._is_variational else config.latent)
        decoder = (config.latent, *reversed(config.hidden), self.n_items)
        self.encoder = self._layers(self.seed, "encoder", encoder)
        self.decoder = self._layers(self.seed, "decoder", decoder)

    @staticmethod
    def _layers(seed: int, part: str, widths: Sequence[int]) -> list[tuple[tf.Variable, tf.Variable]]:
        return [
            (_kernel(seed, f"{part}/{k}/kernel", rows, columns), _bias(seed, f"{part}/{k}/bias", columns))
            for k, (rows, columns) in enumerate(itertools.pairwise(widths))
        ]

    @property
    def kernels(self) -> list[tf.Variable]:
        return [kernel for kernel, _ in (*self.encoder, *self.decoder)]

    @property
    def parameters(self) -> list[tf.Variable]:
        return [v for layer in (*self.encoder, *self.decoder) for v in layer]

    @property
    def axes(self) -> Sequence[Axes]:
        """The first layer has a row for each item, the last one a column and a bias."""
        last, bias = self.decoder[-1]
        return (
            Axes(self.encoder[0][0], (ITEMS, OTHER)),
            Axes(last, (OTHER, ITEMS)),
            Axes(bias, (ITEMS,), is_bias=True),
        )

    def prepare_training(self, training: TrainingConfig, world: World, *, step_bytes: float = 0.0) -> None:
        self._compiled = None
        if step_bytes:
            table = chunk_table(self.data.train, DATA_SHARE * step_bytes)
            users = -(-min(training.batch_size, self.data.n_users) // world.size)
            looked_up = 4.0 * WIDTH * self.encoder[0][0].shape[1] * table.mean_chunks
            plan = dense.plan(self.n_items, users, self.compute.size, step_bytes, looked_up)
            self._compiled = CompiledInput(plan=plan, table=table)

    @property
    def parts_per_step(self) -> int:
        return self._compiled.plan.parts if self._compiled else 1

    def batches(self, training: TrainingConfig, world: World, start_step: int, total_steps: int) -> tf.data.Dataset:
        if self._compiled is None:
            return super().batches(training, world, start_step, total_steps)
        return chunk_batches(
            self.data.train,
            self._compiled.table,
            seed=self.seed,
            batch_size=training.batch_size,
            parts=self._compiled.plan.parts,
            world=world,
            start_step=start_step,
            total_steps=total_steps,
        )

    def item_vectors(self) -> tf.Tensor:
        """[I, H] the columns of the output layer."""
        return tf.transpose(self.decoder[-1][0])

    def _dense(self, x: tf.Tensor, layer: tuple[tf.Variable, tf.Variable]) -> tf.Tensor:
        kernel, bias = layer
        return tf.matmul(x, tf.cast(kernel, self.compute)) + tf.cast(bias, self.compute)

    def _first_layer(
        self, item_ids: tf.Tensor, rows: tf.Tensor, row_scale: tf.Tensor, kept: tf.Tensor | None
    ) -> tf.Tensor:
        """[B, H] sum of the kernel's rows of each user's items, times the user's scale, plus bias.

        Args:
            row_scale: [B] what the value 1 of an item becomes (normalisation and dropout's correction).
            kept: [N] bool, the entries that dropout leaves, None for all.
        """
        if kept is not None:
            item_ids, rows = tf.boolean_mask(item_ids, kept), tf.boolean_mask(rows, kept)
        kernel, bias = self.encoder[0]
        summed = sparse_product(item_ids, rows, tf.gather(row_scale, rows), tf.size(row_scale, tf.int64), kernel)
        return tf.cast(summed + bias, self.compute)

    def _code(self, first: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Mean and log-variance of the code, float32 [B, L] each, from the first layer (DAE: variance unused)."""
        x = first
        for layer in self.encoder[1:]:
            x = self._dense(self._activation(x), layer)
        if self._is_variational:
            mean, log_variance = tf.split(tf.cast(x, tf.float32), 2, axis=1)
            return mean, log_variance
        mean = tf.cast(self._activation(x), tf.float32)
        return mean, tf.zeros_like(mean)

    def _last_hidden(self, code: tf.Tensor) -> tf.Tensor:
        """[B, H] what the output layer reads, in the compute type."""
        x = tf.cast(code, self.compute)
        for layer in self.decoder[:-1]:
            x = self._activation(self._dense(x, layer))
        return x

    def _logits(self, first: tf.Tensor) -> tf.Tensor:
        """[B, I] float32 from the first layer [B, H]: no noise, the mean code. Called under `float32_scores`."""
        return self._dense(self._last_hidden(self._code(first)[0]), self.decoder[-1])

    @float32_scores
    def scores(self, histories: Histories) -> tf.Tensor:
        """[B, I] float32 logits; no dropout, the mean code."""
        splits = histories.row_splits
        counts = tf.cast(splits[1:] - splits[:-1], tf.float32)
        scale = tf.math.rsqrt(tf.maximum(counts, 1.0))
        first = self._first_layer(histories.item_ids, rows_of(splits), scale, None)
        return self._logits(first)

    @float32_scores
    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        """[B, I] `scores` of histories int32 [B, L] padded with I, in operators that inference engines take.

        The first layer is a gather and a batched product, which takes [B, L, H] numbers of memory.
        """
        present = tf.cast(item_ids < self.n_items, tf.float32)
        counts = tf.reduce_sum(present, axis=1, keepdims=True)
        weights = present * tf.math.rsqrt(tf.maximum(counts, 1.0))
        kernel, bias = self.encoder[0]
        looked_up = tf.gather(kernel, tf.minimum(item_ids, self.n_items - 1))
        first = tf.matmul(weights[:, None, :], looked_up)[:, 0, :] + bias
        return self._logits(first)

    @float32_scores
    def part_scores(self, part: HistoryPart) -> tf.Tensor:
        """[P, I] `scores`, by the first layer of the compiled step."""
        found = dense.entries(part.items, part.rows, tf.size(part.train_rows), self.n_items)
        kernel, bias = self.encoder[0]
        sums = dense.first_layer(kernel, found, None, self.compute)
        return self._logits(sums * tf.math.rsqrt(tf.maximum(part.counts, 1.0))[:, None] + bias)

    @float32_scores
    def compiled_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        """[B, I] `padded_scores`, whose first layer XLA computes in one pass that stores no [B, L, H]."""
        present = tf.cast(item_ids < self.n_items, tf.float32)
        weights = present * tf.math.rsqrt(tf.maximum(tf.reduce_sum(present, axis=1, keepdims=True), 1.0))
        kernel, bias = self.encoder[0]
        looked_up = tf.gather(kernel, tf.minimum(item_ids, self.n_items - 1))
        first = tf.reduce_sum(weights[:, :, None] * looked_up, axis=1) + bias
        return self._logits(first)

    def loss(self, batch: Batch | ChunkPart, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """This rank's share of the terms of the evidence lower bound (Liang et al. 2018, equation 6).

        Args:
            batch: for the sparse step a `Batch`, for the compiled one a `ChunkPart`.
            progress: [] share of the run's updates that are done, for the annealing of the KL term.
        """
        first, likelihood = self._compiled_ends(batch) if isinstance(batch, ChunkPart) else self._sparse_ends(batch)
        mean, log_variance = self._code(first)
        code, kl, weight = mean, tf.constant(0.0), tf.constant(0.0)
        if self._is_variational:
            draws = noise.normal(self._code_key, batch.step, batch.users, self.latent)
            code = mean + draws * tf.exp(0.5 * log_variance)
            divergence = tf.where(batch.users >= 0, kl_divergence(mean, log_variance), 0.0)
            kl = tf.reduce_sum(divergence) / batch.global_users
            weight = self._anneal_cap * linear_ramp(progress, self._anneal_end)
        nll = likelihood(self._last_hidden(code)) / batch.global_users
        return {"loss": nll + weight * kl, "nll": nll, "kl": kl}

    def _kept(self, step: tf.Tensor, users: tf.Tensor, item_ids: tf.Tensor) -> tf.Tensor | None:
        """Which entries dropout leaves, None for all; users and item_ids of any shape."""
        return noise.keep_mask(self._dropout_key, step, users, item_ids, self._dropout) if self._dropout else None

    def _row_scale(self, counts: tf.Tensor) -> tf.Tensor:
        """[B] the value of each item of a user in training: the normalised history, with dropout's correction."""
        return tf.math.rsqrt(tf.maximum(counts, 1.0)) / (1.0 - self._dropout)

    def _sparse_ends(self, batch: Batch) -> tuple[tf.Tensor, Likelihood]:
        """The first layer [B, H], and the function of the last hidden layer that gives the sum of the NLL."""
        counts = tf.cast(batch.row_splits[1:] - batch.row_splits[:-1], tf.float32)
        rows = rows_of(batch.row_splits)
        kept = self._kept(batch.step, tf.gather(batch.users, rows), batch.item_ids)
        first = self._first_layer(batch.item_ids, rows, self._row_scale(counts), kept)
        kernel, bias = self.decoder[-1]
        return first, lambda hidden: multinomial_nll(hidden, kernel, bias, batch.item_ids, batch.row_splits)

    def _compiled_ends(self, part: ChunkPart) -> tuple[tf.Tensor, Likelihood]:
        """`_sparse_ends` for XLA, on dense rows or on blocks of items."""
        assert self._compiled is not None, "prepare_training comes first"
        plan, table = self._compiled.plan, self._compiled.table
        rows = tf.cast(part.rows, tf.int32)
        found = dense.entries(table.items_of(part.chunks), rows, tf.size(part.users), self.n_items)
        users = tf.gather(part.users, tf.minimum(rows, found.n_rows - 1))
        kept = self._kept(part.step, users[:, None], found.items)
        kernel, bias = self.encoder[0]
        sums = dense.first_layer(kernel, found, kept, self.compute)
        first = tf.cast(sums * self._row_scale(part.counts)[:, None] + bias, self.compute)
        kernel, bias = self.decoder[-1]
        if plan.is_dense:
            return first, lambda hidden: dense.dense_nll(hidden, kernel, bias, found, part.counts)
        return first, lambda hidden: dense.blocked_nll(hidden, kernel, bias, found, part.counts, plan.block)
