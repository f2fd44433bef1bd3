"""GMF, MLP and NeuMF (He et al. 2017): logits for (user, item) pairs.

Shape legend: P users, C items of each, U users, I items, F factors, M members of the ensemble, E width of the MLP
embeddings, H hidden units.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf

from ncf_tf.config import PRESETS, RENAMED, ModelConfig, PretrainingConfig, SamplingConfig
from ncf_tf.dropout import Dropping
from ncf_tf.lookup import AS_EMBEDDINGS, EmbeddingLookup, Projected, rows_of
from ncf_tf.towers import Biases, Gmf, Mlp, uniform
from recsys_core.axes import ITEMS, OTHER, USERS, Axes
from recsys_core.dataset import Dataset
from recsys_core.model import Recommender, float32_scores
from recsys_core.seeding import key64

SCORED_NUMBERS = 1 << 25
"""Hidden units that exist at one time while whole catalogues are scored (128 MiB in float32)."""


class NeuMfNetwork(Recommender):
    """One tower or both, and an output layer over their last layers."""

    family = "ncf_tf"
    presets = PRESETS
    renamed = RENAMED
    configs = {"model": ModelConfig, "sampling": SamplingConfig, "pretraining": PretrainingConfig}

    def __init__(self, data: Dataset, *, preset: str | None = None, seed: int | None = None, **changes: Any) -> None:
        """See `Recommender`; the settings are those of the three configurations in `configs`."""
        super().__init__(data, preset=preset, seed=seed, **changes)
        config: ModelConfig = self.settings["model"]
        users, items, seed, stddev = data.n_users, data.n_items, self.seed, config.embedding_stddev
        self.ensemble_size = config.ensemble_size
        has_gmf, has_mlp = config.kind != "mlp", config.kind != "gmf"
        self.gmf = Gmf(users, items, config.factors, seed, stddev, self.ensemble_size) if has_gmf else None
        self.mlp = Mlp(users, items, config.tower, seed, stddev) if has_mlp else None
        self.biases = Biases(users, items, self.ensemble_size) if config.biases else None
        self.is_dot_product = config.dot_product
        self._factors = self.gmf.width if self.gmf is not None and not self.is_dot_product else 0
        """Learnt output weights of the GMF."""
        width = self._factors + (self.mlp.width if self.mlp is not None else 0)
        self.output = uniform(seed, "output/kernel", width, 1, float(np.sqrt(3.0 / max(width, 1))))  # LeCun
        self.bias = tf.Variable(tf.zeros([self.ensemble_size]), name="output/bias")
        self._dropout, self.embedding_dropout = config.dropout, config.embedding_dropout
        self._keys = [key64(seed, f"dropout/{k}") for k in range(len(config.tower) + 4)]

    @property
    def resolved_settings(self) -> Mapping[str, Any]:
        config = self.settings["model"]
        return {**self.settings, "model": replace(config, layers=config.tower)}

    @property
    def tables(self) -> list[tf.Variable]:
        """Every embedding table; users and items in turn."""
        return [table for part in (self.gmf, self.mlp, self.biases) if part is not None for table in part.tables]

    @property
    def axes(self) -> Sequence[Axes]:
        """Every embedding table has a row for each user or each item."""
        parts = [part for part in (self.gmf, self.mlp, self.biases) if part is not None]
        tables = [(part.users, USERS, part) for part in parts] + [(part.items, ITEMS, part) for part in parts]
        return [Axes(table, (name, OTHER), is_bias=part is self.biases) for table, name, part in tables]

    @property
    def kernels(self) -> list[tf.Variable]:
        output = [self.output] if self.output.shape[0] else []  # a dot product alone has none
        return [*(self.mlp.kernels if self.mlp is not None else []), *output]

    @property
    def parameters(self) -> list[tf.Variable]:
        return [*self.tables, *self.kernels, *(self.mlp.biases if self.mlp is not None else []), self.bias]

    def _looked_up(self, table: tf.Variable, ids: tf.Tensor) -> tf.Tensor:
        return tf.cast(tf.gather(table, ids), self.compute)

    def _output_parts(self) -> tuple[tf.Tensor, tf.Tensor]:
        """The output layer: weights [F] for the GMF (a number for dot products), [H, 1] for the MLP (may be empty)."""
        for_gmf = self.output[: self._factors, 0] if self._factors else tf.constant(1.0 / self.ensemble_size)
        return for_gmf, self.output[self._factors :]

    def _hidden_layers(self, first: tf.Tensor, dropping: Dropping | None) -> tf.Tensor:
        """[P * C, H] last hidden layer from the first one's sums [P * C, H], its bias included."""
        assert self.mlp is not None
        x = first
        for k, bias in enumerate(self.mlp.biases):
            if k:
                x = tf.matmul(x, tf.cast(self.mlp.kernels[k], self.compute))
                x = tf.nn.bias_add(x, tf.cast(bias, self.compute))
            x = tf.nn.relu(x)
            if dropping is not None and self._dropout:
                x = dropping.of_samples(x, self._keys[k], self._dropout)
        return x

    def _first_kernels(self) -> tuple[tf.Tensor, tf.Tensor]:
        """[E, H] each: the halves of the first kernel for users and for items."""
        assert self.mlp is not None
        return tuple(tf.split(tf.cast(self.mlp.kernels[0], self.compute), 2, axis=0))

    def look_up(self, users: tf.Tensor, items: tf.Tensor, projected: Projected = AS_EMBEDDINGS) -> EmbeddingLookup:
        """The embeddings of int32 users [P] and items [P, C].

        Args:
            projected: MLP tables to put through the first layer before the lookup.
        """
        gmf = None if self.gmf is None else (tf.gather(self.gmf.users, users), tf.gather(self.gmf.items, items))
        own = self.biases
        biases = None if own is None else (tf.gather(own.users, users), tf.gather(own.items, items))
        mlp = None
        if self.mlp is not None:
            halves = zip(self.mlp.tables, self._first_kernels(), projected, strict=True)
            ordered = tf.transpose(items) if self._items_major else items
            mlp = tuple(
                rows_of(self._projection(table, half), ids) if whole else tf.gather(table, ids)
                for ids, (table, half, whole) in zip((users, ordered), halves, strict=True)
            )
        return EmbeddingLookup(
            candidates=tf.shape(items)[1],
            gmf=gmf,
            mlp=mlp,
            biases=biases,
            projected=projected,
            items_major=self._items_major,
        )

    def _projection(self, embeddings: tf.Tensor, half: tf.Tensor) -> tf.Tensor:
        """[..., H] sums of a half [E, H] of the first layer; float32, so that gradients of many lookups add up well."""
        flat = tf.reshape(tf.cast(embeddings, self.compute), [-1, half.shape[0]])
        shape = tf.concat([tf.shape(embeddings)[:-1], half.shape[1:]], axis=0)
        return tf.cast(tf.reshape(tf.matmul(flat, half), shape), tf.float32)

    def logits(self, rows: EmbeddingLookup, dropping: Dropping | None = None) -> tf.Tensor:
        """[P, C] float32 from looked-up embeddings. What depends on the user alone is computed once for its C items."""
        if dropping is not None and self.embedding_dropout:
            rows = self._dropped_rows(rows, dropping)
        total = tf.reduce_mean(self.bias)
        for_gmf, for_mlp = self._output_parts()
        if rows.biases is not None:
            total += tf.reduce_mean(rows.biases[0], axis=1, keepdims=True) + tf.reduce_mean(rows.biases[1], axis=2)
        if rows.gmf is not None:
            user, item = rows.gmf
            # A batched product: multiplying and then summing would write [P, C, F] three times (4 times slower here).
            # In float32 always: its time is that of reading the rows, which are float32.
            total += tf.linalg.matvec(item, user * for_gmf)
        if rows.mlp is not None:
            total += self._mlp_logits(rows, for_mlp, dropping)
        return total

    def ensemble_logits(self, rows: EmbeddingLookup, dropping: Dropping | None = None) -> tf.Tensor:
        """[P, C, M] float32, of which `logits` is the mean."""
        if self.ensemble_size == 1:
            return self.logits(rows, dropping)[:, :, None]
        if dropping is not None and self.embedding_dropout:
            rows = self._dropped_rows(rows, dropping)
        assert self.gmf is not None and rows.gmf is not None
        user, item = rows.gmf
        shape = tf.concat([tf.shape(item)[:2], [self.ensemble_size, self.ensemble_size]], axis=0)
        one_a_row = (tf.reshape(x, [tf.shape(user)[0], -1, self.gmf.width]) for x in (item, user))
        # Each member's items by every member's user, of which its own counts: for few members that costs little beside
        # reading the rows.
        products = tf.reshape(tf.matmul(*one_a_row, transpose_b=True), shape)
        total = tf.linalg.diag_part(products) + self.bias
        return total if rows.biases is None else total + rows.biases[0][:, None, :] + rows.biases[1]

    @property
    def _items_major(self) -> bool:
        """In float32. Gradients of kernels add up the rows in their order, and CPUs without instructions for the
        narrow types do part of that in them: there each positive must stay among its negatives, or sums grow large."""
        return self.compute == tf.float32

    def _mlp_logits(self, rows: EmbeddingLookup, weights: tf.Tensor, dropping: Dropping | None) -> tf.Tensor:
        """[P, C] float32: what the MLP adds."""
        assert self.mlp is not None and rows.mlp is not None
        halves = zip(rows.mlp, self._first_kernels(), rows.projected, strict=True)
        user, item = (x if done else self._projection(x, half) for x, half, done in halves)
        user = tf.nn.bias_add(user, self.mlp.biases[0])
        sums = (user if rows.items_major else user[:, None, :]) + item
        first = tf.reshape(tf.cast(sums, self.compute), [-1, item.shape[2]])
        if dropping is not None and rows.items_major:
            dropping = dropping.items_major()
        last = tf.cast(self._hidden_layers(first, dropping), tf.float32)
        scores = tf.reshape(tf.matmul(last, weights), tf.shape(item)[:2])
        return tf.transpose(scores) if rows.items_major else scores

    def _dropped_rows(self, rows: EmbeddingLookup, dropping: Dropping) -> EmbeddingLookup:
        """Embeddings with units dropped."""
        rate, keys = self.embedding_dropout, iter(self._keys[-4:])

        def dropped(
            part: tuple[tf.Tensor, tf.Tensor] | None, of_items: Callable[[tf.Tensor, int, float], tf.Tensor]
        ) -> tuple[tf.Tensor, tf.Tensor] | None:
            key_user, key_item = next(keys), next(keys)
            if part is None:
                return None
            user, item = part
            flat = of_items(tf.reshape(item, [-1, item.shape[2]]), key_item, rate)
            return dropping.of_users(user, key_user, rate), tf.reshape(flat, tf.shape(item))

        assert not any(rows.projected), "dropout acts on the embeddings themselves"
        of_mlp = dropping.items_major() if rows.items_major else dropping
        return rows._replace(gmf=dropped(rows.gmf, dropping.of_samples), mlp=dropped(rows.mlp, of_mlp.of_samples))

    @float32_scores
    def pair_scores(self, users: tf.Tensor, items: tf.Tensor) -> tf.Tensor:
        """[P, C] float32 logits of int32 users [P] and items [P, C], for ranking."""
        return self.logits(self.look_up(users, items))

    @float32_scores
    def catalogue(self, users: tf.Tensor) -> tf.Tensor:
        """[P, I] float32 logits of every item for int32 users [P], a block of items at a time."""
        gmf, mlp = self._parts_of_users(users)
        widest = self.mlp.widest if self.mlp is not None else 1
        length = tf.maximum(1, SCORED_NUMBERS // (tf.maximum(1, tf.size(users)) * widest))
        count = (self.n_items + length - 1) // length
        none = tf.TensorArray(tf.float32, count, infer_shape=False, element_shape=[None, None])

        def one(k: tf.Tensor, blocks: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
            items = tf.range(k * length, tf.minimum((k + 1) * length, self.n_items))
            return k + 1, blocks.write(k, tf.transpose(self._block(gmf, mlp, items)))

        blocks = tf.while_loop(lambda k, _: k < count, one, (0, none), parallel_iterations=1)[1]
        return self._with_biases(tf.ensure_shape(tf.transpose(blocks.concat()), [None, self.n_items]), users)

    @float32_scores
    def catalogue_at_once(self, users: tf.Tensor) -> tf.Tensor:
        """`catalogue` without a loop, as inference engines want it; an MLP takes [P, I, H] numbers for it."""
        gmf, mlp = self._parts_of_users(users)
        scores = self._block(gmf, mlp, tf.range(self.n_items))
        scores.set_shape([None, self.n_items])  # no operator, as ensure_shape would be
        return self._with_biases(scores, users)

    def _parts_of_users(self, users: tf.Tensor) -> tuple[tf.Tensor | None, tf.Tensor | None]:
        """What depends on the user alone: weighted factors [P, F]; the first layer's half and bias [P, H]."""
        gmf = mlp = None
        if self.gmf is not None:
            gmf = self._looked_up(self.gmf.users, users) * tf.cast(self._output_parts()[0], self.compute)
        if self.mlp is not None:
            sums = tf.matmul(self._looked_up(self.mlp.users, users), self._first_kernels()[0])
            mlp = tf.nn.bias_add(sums, tf.cast(self.mlp.biases[0], self.compute))
        return gmf, mlp

    def _with_biases(self, scores: tf.Tensor, users: tf.Tensor) -> tf.Tensor:
        """scores [P, I] and the biases of users and items, if the model has them."""
        if self.biases is None:
            return scores
        of_users = tf.reduce_mean(tf.gather(self.biases.users, users), axis=1, keepdims=True)
        return scores + of_users + tf.reduce_mean(self.biases.items, axis=1)

    def _block(self, gmf: tf.Tensor | None, mlp: tf.Tensor | None, items: tf.Tensor) -> tf.Tensor:
        """[P, C] logits of the same C items for every user, from the users' parts: gmf [P, F] and mlp [P, H]."""
        total = tf.reduce_mean(self.bias)
        if self.gmf is not None:
            total += tf.cast(tf.matmul(gmf, self._looked_up(self.gmf.items, items), transpose_b=True), tf.float32)
        if self.mlp is not None:
            of_items = tf.matmul(self._looked_up(self.mlp.items, items), self._first_kernels()[1])
            assert mlp is not None
            first = tf.reshape(mlp[:, None, :] + of_items[None, :, :], [-1, of_items.shape[1]])
            scores = tf.matmul(self._hidden_layers(first, None), tf.cast(self._output_parts()[1], self.compute))
            total += tf.cast(tf.reshape(scores, [-1, tf.size(items)]), tf.float32)
        return total
