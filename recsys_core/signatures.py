"""Signatures of an exported model: ways to ask it for a top-k, each a tf.function with golden requests.

Shape legend: B requests, I items, K top-k, L longest history.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core import topk
from recsys_core.compiled import compiled_top_k
from recsys_core.dataset import Dataset
from recsys_core.golden_requests import made_up_histories
from recsys_core.input.batches import Histories
from recsys_core.rankings import answers_agree

GOLDEN_REQUESTS = 64
POOL = 1024
"""Items among which `serving_no_scatter` chooses: every TensorRT from 8.6 on can rank that many."""
HISTORIES = tf.TensorSpec([None, None], tf.int32, name="item_ids")

Requests = Mapping[str, npt.NDArray[np.int32]]
Answer = Callable[..., Mapping[str, tf.Tensor]]


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One way to ask an exported model."""

    function: Answer
    """A tf.function with an input signature that gives items int32 [B, K] and scores float32 [B, K], best first, and
    all_scores float32 [B, I] by item (except where it ranks given candidates); what these hold for the items of the
    request is not said."""
    requests: Requests
    """Golden requests, by the names of its inputs."""
    reference: Answer | None = None
    """A function that has to give the same answers to them; None where there is none."""
    history_limit: int | None = None
    """Items that a row of item_ids may hold; None for any number."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """A model as it is exported."""

    module: tf.Module
    """Saved with everything that the signatures use."""
    signatures: Mapping[str, Signature]
    top_k: int
    """Items an answer holds."""


def requests_within(requests: Requests, padding: int, limit: int | None) -> Requests:
    """The requests that hold at most `limit` items a row."""
    if limit is None:
        return requests
    rows = (requests["item_ids"] != padding).sum(axis=1) <= limit
    short = {name: values[rows] for name, values in requests.items()}
    longest = int((short["item_ids"] != padding).sum(axis=1).max(initial=1))
    order = np.argsort(short["item_ids"] == padding, axis=1, kind="stable")  # padding last, so that it can be cut
    short["item_ids"] = np.take_along_axis(short["item_ids"], order, axis=1)[:, : max(longest, 1)]
    return short


def pool_size(n_items: int, top_k: int) -> tuple[int, int | None]:
    """Items among which `serving_no_scatter` chooses, and the longest history for which that is exact (None: any)."""
    pool = min(n_items, max(POOL, top_k))
    return pool, pool - top_k if pool < n_items else None


class ScoresHistories(Protocol):
    """A model that scores users by their histories."""

    @property
    def n_items(self) -> int: ...

    def scores(self, histories: Histories) -> tf.Tensor:
        """[B, I] float32."""

    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        """[B, I] float32 of histories int32 [B, L] padded with I."""

    def compiled_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        """`padded_scores` in operators that XLA compiles."""


class HistoryModule(tf.Module):
    """A model that scores histories, as it is exported. All methods give the same answers.

    Arguments of all: item_ids int32 [B, L] distinct item indices, padded with the item count I anywhere in a row.
    Answers of all: items int32 [B, K], -1 where nothing is left to recommend; scores float32 [B, K], best first;
    all_scores float32 [B, I] by item (of the items in item_ids: minus infinity, or what the model says).
    """

    def __init__(self, model: ScoresHistories, top_k: int) -> None:
        """
        Args:
            top_k: items an answer holds; at most the number of items.
        """
        super().__init__(name="history_module")
        self._model, self.top_k = model, min(top_k, model.n_items)
        self._pool, self.history_limit = pool_size(model.n_items, self.top_k)
        self._compiled = compiled_top_k(model.compiled_scores, model.n_items, self.top_k)

    @tf.function(input_signature=[HISTORIES], autograph=False)
    def recommend(self, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """The best items that the user does not have, by TensorFlow's sparse kernels: the reference."""
        histories = histories_of_padded(item_ids, self._model.n_items)
        scores = topk.exclude(self._model.scores(histories), histories.item_ids, histories.row_splits)
        best, items = topk.top_k(scores, self.top_k)
        return {"items": tf.where(tf.equal(best, -float("inf")), -1, items), "scores": best, "all_scores": scores}

    @tf.function(input_signature=[HISTORIES], autograph=False)
    def recommend_compiled(self, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`recommend` for GPUs, by XLA."""
        return self._compiled(item_ids)

    @tf.function(input_signature=[HISTORIES], autograph=False)
    def serving(self, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`recommend` in operators that ONNX Runtime and TensorRT's ONNX parser take."""
        return topk.top_k_unseen(self._model.padded_scores(item_ids), item_ids, self.top_k)

    @tf.function(input_signature=[HISTORIES], autograph=False)
    def serving_no_scatter(self, item_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """`recommend` in operators that TF-TRT takes, for at most `history_limit` items a row."""
        return topk.top_k_unseen_no_scatter(self._model.padded_scores(item_ids), item_ids, self.top_k, self._pool)


def histories_of_padded(item_ids: tf.Tensor, n_items: int) -> Histories:
    """Histories int32 [B, L] padded with I, as `Histories` of unknown users."""
    present = item_ids < n_items
    row_splits = tf.concat([[0], tf.cumsum(tf.reduce_sum(tf.cast(present, tf.int64), axis=1))], axis=0)
    unknown = tf.fill([tf.shape(item_ids)[0]], tf.constant(-1, tf.int64))
    return Histories(tf.boolean_mask(item_ids, present), row_splits, unknown)


def answers_of(function: Answer, requests: Requests) -> dict[str, npt.NDArray]:
    """The answers to requests, as arrays."""
    return {name: t.numpy() for name, t in function(**{k: tf.constant(v) for k, v in requests.items()}).items()}


def compiled_signature(name: str, function: Answer, requests: Requests, reference: Answer) -> dict[str, Signature]:
    """A signature that XLA compiles, by its name; nothing, and a line that says why, if that cannot be done.

    A model may have been written without a thought of XLA, so this is no reason to refuse its export.
    """
    try:
        agrees = answers_agree(answers_of(reference, requests), answers_of(function, requests))
        reason = None if agrees else "its answers are not those of the reference"
    except (tf.errors.InvalidArgumentError, tf.errors.UnimplementedError) as error:
        reason = f"XLA cannot compile it: {str(error.message).splitlines()[0]}"
    if reason is not None:
        print(f"the export has no signature {name}: {reason}", file=sys.stderr)
        return {}
    return {name: Signature(function=function, requests=requests, reference=reference)}


def history_signatures(model: ScoresHistories, data: Dataset, top_k: int) -> Exported:
    """The signatures of a model that scores histories, with made-up requests."""
    module = HistoryModule(model, top_k)
    requests = {"item_ids": made_up_histories(data, GOLDEN_REQUESTS)}
    limit = module.history_limit
    signatures = {
        "recommend": Signature(function=module.recommend, requests=requests),
        "serving": Signature(function=module.serving, requests=requests, reference=module.recommend),
        "serving_no_scatter": Signature(
            function=module.serving_no_scatter,
            requests=requests_within(requests, data.n_items, limit),
            reference=module.recommend,
            history_limit=limit,
        ),
        **compiled_signature("recommend_compiled", module.recommend_compiled, requests, module.recommend),
    }
    return Exported(module=module, signatures=signatures, top_k=module.top_k)
