"""Ranking all items, or sampled candidates, for held-out users: in the graph, sharded over ranks.

The values of all users come together on rank 0, which alone computes the means: the result does not depend on how many
ranks there were.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol, TypeVar, cast

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core import numerics, topk
from recsys_core.errors import SharedError
from recsys_core.evaluation.auc import auc, auc_among_candidates
from recsys_core.evaluation.compiled_ranking import Block, CompiledRanking, blocks_of, fits, ranked, users_at_once
from recsys_core.evaluation.list_metrics import LISTS, Catalogue, Lists, gini
from recsys_core.evaluation.metric_names import ALL, GINI, Metric
from recsys_core.evaluation.metrics import Columns, hits_among_candidates, values
from recsys_core.evaluation.result import Estimate, Evaluation, estimate
from recsys_core.evaluation.user_table import OwnUsers, joined, whole_table
from recsys_core.input.batches import EvaluationBatch, Histories, evaluation_batches, rows_of
from recsys_core.matrices import Csr, HeldOut
from recsys_core.world import World

__all__ = ["Estimate", "Evaluation", "Evaluator", "Scorer", "candidate_scores", "in_flight"]

T = TypeVar("T")
R = TypeVar("R")


class Scorer(Protocol):
    """The part of a `Recommender` that evaluation asks."""

    def scores(self, histories: Histories) -> tf.Tensor:
        """[B, I] scores of every item."""
        ...

    def candidate_scores(self, histories: Histories, candidates: tf.Tensor) -> tf.Tensor:
        """[B, C] scores of candidates (any value where a candidate is -1)."""
        ...


def candidate_scores(model: Scorer, batch: EvaluationBatch) -> tf.Tensor:
    """[B, C] float32 scores of the candidates, 0 where there is none."""
    scores = model.candidate_scores(batch.histories, batch.candidates)
    return tf.where(batch.candidates >= 0, tf.cast(scores, tf.float32), 0.0)


IN_FLIGHT = 2
"""Blocks ranked at one time: sparse products and exclusion of one block, on one core, run beside the matrix products of
another, on all cores."""


BLOCK_BYTES = 1 << 30
"""Memory for the scores of the blocks ranked at one time, and for their copies."""
COPIES = 4
"""Arrays [B, I] of a block, of 4 bytes a number: logits, scores without known items, and those of the top items."""


def users_of_block(most: int, n_items: int) -> int:
    """Users ranked at once: as many as asked for, or as fit `BLOCK_BYTES`. The same in any world."""
    return max(1, min(most, BLOCK_BYTES // (IN_FLIGHT * COPIES * 4 * n_items)))


def in_flight(work: Callable[[T], R], parts: Iterable[T], count: int = IN_FLIGHT) -> Iterator[tuple[T, R]]:
    """Each part with its result, in order, `count` of them being worked on at a time."""
    with ThreadPoolExecutor(count) as pool:
        waiting: deque[tuple[T, Future[R]]] = deque()
        for part in parts:
            waiting.append((part, pool.submit(work, part)))
            if len(waiting) == count:
                first, result = waiting.popleft()
                yield first, result.result()
        for first, result in waiting:
            yield first, result.result()


def _no_nan(scores: tf.Tensor) -> tf.Tensor:
    return tf.logical_not(tf.reduce_any(tf.math.is_nan(scores)))


class Evaluator:
    """Evaluates models on one set of held-out users."""

    def __init__(
        self,
        held_out: HeldOut,
        metrics: Sequence[Metric],
        *,
        world: World,
        n_items: int,
        block_size: int = 512,
        device_bytes: float = 0.0,
        train: Csr | None = None,
    ) -> None:
        """
        Args:
            block_size: users ranked at once, or fewer where the catalogue is large (`users_of_block`).
            device_bytes: memory for the temporary arrays of models that XLA compiles, which are ranked in blocks of as
                many users as fit it; 0 to rank all models by TensorFlow's own operators.
            train: the training matrix; needed by metrics of the lists themselves (`list_metrics`).
        """
        self._held_out, self._metrics, self._world, self._n_items = held_out, tuple(metrics), world, n_items
        self._block_size, self._device_bytes = users_of_block(block_size, n_items), device_bytes
        self._columns = Columns.of(self._metrics)
        self._train = train
        if self._columns.lists and train is None:
            raise ValueError(f"{self._columns.lists[0]} needs the training matrix, as train=data.train")
        if self._columns.sampled and not held_out.n_candidates:
            first = self._columns.sampled[0]
            raise ValueError(
                f"{first} needs candidates, which this data set has not; prepare one with --protocol "
                f"leave-one-out, or ask for {first.under(ALL)}"
            )
        self._batches = evaluation_batches(held_out, block_size=block_size, world=world)
        self._compiled: dict[Scorer, Callable] = {}
        self._compiled_rankings: dict[Scorer, CompiledRanking] = {}
        self._blocks: dict[int, Block | None] = {}
        """Users of a block -> this rank's blocks, on the device."""

    def without_ranks(self) -> Evaluator:
        """The same evaluator for one rank, which evaluates all users without the others."""
        return self._sharing_graphs(self._held_out, World())

    def of(self, held_out: HeldOut) -> Evaluator:
        """The same metrics on other users."""
        return self._sharing_graphs(held_out, self._world)

    def _sharing_graphs(self, held_out: HeldOut, world: World) -> Evaluator:
        """An evaluator of the same metrics that uses the graphs of this one, where batches have the same form."""
        other = Evaluator(
            held_out,
            self._metrics,
            world=world,
            n_items=self._n_items,
            block_size=self._block_size,
            device_bytes=self._device_bytes,
            train=self._train,
        )
        if other._batches.element_spec == self._batches.element_spec:
            other._compiled, other._compiled_rankings = self._compiled, self._compiled_rankings
        return other

    def _sampled_block(self, model: Scorer, batch: EvaluationBatch) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Tables [B, M] of the sampled metrics, and whether all scores are numbers."""
        columns, scores, present = self._columns, candidate_scores(model, batch), batch.candidates >= 0
        tables = []
        if columns.sampled_hits:
            hits = hits_among_candidates(scores, present, max(m.k for m in columns.sampled_hits))
            tables.append(values(columns.sampled_hits, hits, tf.ones_like(batch.users)))
        if columns.sampled_auc:
            tables.append(_repeated(auc_among_candidates(scores, present), columns.sampled_auc))
        return tables, _no_nan(scores)

    def _whole_block(self, model: Scorer, batch: EvaluationBatch) -> tuple[list[tf.Tensor], tf.Tensor, tf.Tensor]:
        """Tables [B, M] of the whole-catalogue metrics, top items [B, K] (-1 for none), and whether all scores are
        numbers."""
        columns = self._columns
        scores = tf.ensure_shape(tf.cast(model.scores(batch.histories), tf.float32), [None, self._n_items])
        scores = topk.exclude(scores, batch.item_ids, batch.row_splits)
        # One pass, and after the exclusion, which else would have to copy what is still to be read. Minus infinity
        # stays; what comes to NaN holds a NaN, or infinite scores, which are no better.
        sound = tf.logical_not(tf.math.is_nan(tf.reduce_sum(scores)))
        tables, items = [], tf.zeros([tf.size(batch.users), 0], tf.int32)
        if columns.depth:
            best, items = topk.top_k_of_many(scores, min(columns.depth, self._n_items))
            if columns.hits:
                tables.append(values(columns.hits, self._hits(batch, items), _lengths(batch.wanted_splits)))
            items = tf.where(tf.equal(best, -np.inf), -1, items)
        if columns.auc:
            rows, wanted = rows_of(batch.wanted_splits), tf.cast(batch.wanted_ids, tf.int64)
            tables.append(_repeated(auc(scores, _lengths(batch.row_splits), rows, wanted), columns.auc))
        return tables, items, sound

    def _hits(self, batch: EvaluationBatch, items: tf.Tensor) -> tf.Tensor:
        """[B, K] bool: whether each of the top items was to be found; lists are filled up to the longest asked for."""
        hits = topk.is_member(items, batch.wanted_ids, batch.wanted_splits, self._n_items)
        hits = tf.pad(hits, [[0, 0], [0, self._columns.depth - items.shape[1]]])
        hits.set_shape([None, self._columns.depth])
        return hits

    def _block_function(self, model: Scorer) -> Callable:
        """The graph for one model: batch -> (values [B, M], top items [B, K], whether all scores are numbers)."""

        @tf.function(input_signature=[self._batches.element_spec], autograph=False)
        def rank_block(batch: EvaluationBatch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            tables, sound = [tf.zeros([tf.size(batch.users), 0], tf.float64)], tf.constant(True)
            items = tf.zeros([tf.size(batch.users), 0], tf.int32)
            if self._columns.sampled:
                more, sound = self._sampled_block(model, batch)
                tables += more
            if self._columns.ranks_all:
                more, items, also_sound = self._whole_block(model, batch)
                sound &= also_sound
                tables += more
            return tf.concat(tables, axis=1), items, sound

        rank_block.get_concrete_function()  # traced here, not by two threads at once
        return rank_block

    def evaluate(self, model: Scorer) -> Evaluation:
        """Rank all items for every user and average.

        Raises:
            SharedError: a score is NaN (a ranking of NaN would pass for a result), or nobody has relevant items.
        """
        table, seen = self._ranked(model)
        if not self._has_relevant().any():
            raise SharedError("no held-out user has anything to find; prepare the data set with more items a user")
        if table is None:
            return self._world.broadcast(cast(Evaluation, None))
        found = self._summary(table, seen)
        self._world.broadcast(replace(found, values={}))
        return found

    def per_user(self, model: Scorer) -> dict[str, npt.NDArray[np.float64]]:
        """Metric -> [S] its value for each held-out user, NaN where there is nothing to find; without coverage@K.

        Nothing on other ranks than rank 0.

        Raises:
            SharedError: a score is NaN.
        """
        table, _ = self._ranked(model)
        return {} if table is None else self._values(table)

    def _values(self, table: npt.NDArray[np.float64]) -> dict[str, npt.NDArray[np.float64]]:
        """Metric -> [S] from the table [S, M] of `_ranked`."""
        table = np.where(self._has_relevant()[:, None], table, np.nan)
        return {str(m): table[:, column] for column, m in enumerate(self._columns.per_user)}

    def _has_relevant(self) -> npt.NDArray[np.bool_]:
        """[S] whether a user has anything to find."""
        return np.diff(self._held_out.fold_out.indptr) > 0

    def _ranked(self, model: Scorer) -> tuple[npt.NDArray[np.float64] | None, npt.NDArray[np.float64]]:
        """Per-user metrics [S, M] of all ranks' users, on rank 0, and how often each item is recommended [V, I].

        Raises:
            SharedError: a score is NaN, or the model scores training users only and these are others.
        """
        own, seen, unsound = self._own(model)
        total = self._world.sum_array(np.concatenate([seen.ravel(), [unsound]]))
        if total[-1]:  # known to every rank only now
            raise SharedError("the model gives scores that are not numbers (NaN); its parameters are damaged")
        return whole_table(own, self._held_out.n_users, self._world), total[:-1].reshape(seen.shape)

    def _own(self, model: Scorer) -> tuple[OwnUsers, npt.NDArray[np.float64], float]:
        """This rank's part of `_ranked`, and how many blocks have scores that are not numbers."""
        if getattr(model, "needs_known_users", False) and self._held_out.train_rows is None:
            raise SharedError(
                f"{type(model).__name__} scores only users that it was trained on, and this data set holds out users"
            )
        numerics.use_float32_products()
        is_compiled = self._device_bytes and getattr(model, "has_compiled_step", False)
        is_compiled = is_compiled and fits(self._held_out, self._device_bytes)
        return self._ranked_on_device(model) if is_compiled else self._ranked_in_blocks(model)

    def _ranked_in_blocks(self, model: Scorer) -> tuple[OwnUsers, npt.NDArray[np.float64], float]:
        """`_own` by TensorFlow's operators."""
        if model not in self._compiled:
            self._compiled[model] = self._block_function(model)
        parts, seen, unsound = [], self._nothing_seen(), 0.0
        for batch, (block, items, sound) in in_flight(self._compiled[model], self._batches):
            unsound += not sound
            users, top = batch.users.numpy(), items.numpy()
            parts.append((users, np.concatenate([block.numpy(), self._of_lists(users, top)], axis=1)))
            for row, metric in enumerate(self._columns.system):
                shown = top[:, : metric.k]
                seen[row] += np.bincount(shown[shown >= 0], minlength=self._n_items)
        return joined(parts, len(self._columns.per_user)), seen, unsound

    def _of_lists(self, users: npt.NDArray[np.int64], items: npt.NDArray) -> npt.NDArray[np.float64]:
        """[B, L] the metrics of lists of some users, from their top items [B, K]."""
        found = np.empty((len(users), len(self._columns.lists)))
        if not self._columns.lists:
            return found
        known = self._held_out.fold_in.rows(users)
        for column, metric in enumerate(self._columns.lists):
            top = np.ascontiguousarray(items[:, : metric.k], np.int64)
            lists = Lists(items=top, known_ids=known[0], known_splits=known[1], catalogue=self._catalogue)
            found[:, column] = LISTS[metric.name](lists)
        return found

    @cached_property
    def _catalogue(self) -> Catalogue:
        assert self._train is not None, "checked where the metrics were given"
        return Catalogue(self._train)

    def _ranked_on_device(self, model: Any) -> tuple[OwnUsers, npt.NDArray[np.float64], float]:
        """`_own` by compiled programs, on data that stay on the device between evaluations."""
        if model not in self._compiled_rankings:
            candidates = self._held_out.n_candidates
            self._compiled_rankings[model] = CompiledRanking(model, self._columns, self._n_items, candidates)
        size = users_at_once(model.score_bytes, self._device_bytes, self._held_out.n_users)
        if size not in self._blocks:
            arrays = blocks_of(self._held_out, self._world, size)
            self._blocks[size] = None if arrays is None else tf.nest.map_structure(tf.constant, arrays)
        blocks = self._blocks[size]
        if blocks is None:
            return joined((), len(self._columns.per_user)), self._nothing_seen(), 0.0
        users, values, seen, sound = ranked(self._compiled_rankings[model], blocks, self._of_lists)
        return OwnUsers(users=users, values=values), seen, float(not sound)

    def _nothing_seen(self) -> npt.NDArray[np.float64]:
        """[V, I] zeros."""
        return np.zeros((len(self._columns.system), self._n_items))

    def _summary(self, table: npt.NDArray[np.float64], seen: npt.NDArray[np.float64]) -> Evaluation:
        has_relevant = self._has_relevant()
        users = int(has_relevant.sum())
        by_user = self._values(table)
        found = {name: estimate(column) for name, column in by_user.items()}
        for metric, counts in zip(self._columns.system, seen, strict=True):
            value = gini(counts) if metric.name == GINI else float((counts > 0).mean())
            found[str(metric)] = Estimate(mean=value)
        return Evaluation(
            metrics={str(m): found[str(m)] for m in self._metrics},
            users=users,
            users_without_relevant=len(has_relevant) - users,
            values=by_user,
        )


def _repeated(column: tf.Tensor, metrics: Sequence[Metric]) -> tf.Tensor:
    """[B, M] one column [B] for each of some metrics that are the same under several names."""
    return tf.stack([column] * len(metrics), axis=1)


def _lengths(splits: tf.Tensor) -> tf.Tensor:
    """[B] int64 lengths of rows from their splits [B + 1]."""
    return splits[1:] - splits[:-1]
