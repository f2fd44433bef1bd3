"""The export folder: a SavedModel with TopK in its graph, what is needed to use it, and golden requests that prove it.

saved_model/     signatures, each of int32 inputs -> items int32 [B, K], scores float32 [B, K]: `recommend` (VAE-CF from
                 item_ids [B, L], NCF from user_ids [B]), the same for inference engines as `serving` and `serving_pool`
                 (NCF: with what is seen as item_ids), and for NCF `rank` (from user_ids and candidate_items [B, C])
export.json      signatures with their shapes, K, padding, item map, data set, metrics
golden.npz       SIGNATURE/NAME of every input and output: real requests and the answers of the trained model
items.parquet    index, item_id, title, count; and the files of `audience`: known users, users to measure with
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core import audience
from recsys_core.dataset import Dataset, HeldOut
from recsys_core.files import publish, write_json
from recsys_core.rankings import SCORE_TOLERANCE, answers_agree

GOLDEN_REQUESTS = 64
EXPORT_VERSION = 2
POOL = 1024
"""Items among which `serving_pool` chooses: what every TensorRT from 8.6 on can rank."""

Requests = Mapping[str, npt.NDArray[np.int32]]
Answer = Callable[..., Mapping[str, tf.Tensor]]


@dataclass(frozen=True, kw_only=True)
class Signature:
    """One way to ask an exported model."""

    function: Answer
    """A tf.function with an input signature that gives items int32 [B, K] and scores float32 [B, K], best first."""
    requests: Requests
    """Golden requests, by the names of its inputs."""
    reference: Answer | None = None
    """What has to give the same answers to them (None: nothing else does)."""
    history_limit: int | None = None
    """Items a row of item_ids may hold."""


def padded_requests(held_out: HeldOut, count: int) -> npt.NDArray[np.int32]:
    """int32 [B, L] the histories of the first users that have one, padded with the item count I."""
    users = np.flatnonzero(np.diff(held_out.fold_in.indptr) > 0)[:count]
    item_ids, splits = held_out.fold_in.rows(users)
    lengths = np.diff(splits)
    requests = np.full((len(users), max(int(lengths.max(initial=1)), 1)), held_out.fold_in.n_items, np.int32)
    requests[np.arange(requests.shape[1])[None, :] < lengths[:, None]] = item_ids
    return requests


def within(requests: Requests, padding: int, limit: int | None) -> Requests:
    """The requests that hold at most `limit` items a row."""
    if limit is None:
        return requests
    rows = (requests["item_ids"] != padding).sum(axis=1) <= limit
    few = {name: values[rows] for name, values in requests.items()}
    held = int((few["item_ids"] != padding).sum(axis=1).max(initial=1))
    order = np.argsort(few["item_ids"] == padding, axis=1, kind="stable")  # padding last, so that it can be cut
    few["item_ids"] = np.take_along_axis(few["item_ids"], order, axis=1)[:, : max(held, 1)]
    return few


def _answers(function: Callable[..., Mapping[str, tf.Tensor]], requests: Requests) -> dict[str, npt.NDArray]:
    return {n: t.numpy() for n, t in function(**{k: tf.constant(v) for k, v in requests.items()}).items()}


def _described(function: Any) -> dict[str, Any]:
    """Inputs and outputs of a loaded signature: type and shape, None for what is free."""

    def about(specs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()} for name, spec in specs.items()}

    return {"inputs": about(function.structured_input_signature[1]), "outputs": about(function.structured_outputs)}


def write_export(
    folder: Path,
    module: tf.Module,
    dataset: Dataset,
    *,
    signatures: Mapping[str, Signature],
    top_k: int,
    model: Mapping[str, Any],
    result: Mapping[str, Any],
) -> None:
    """Save, reload, replay: the folder appears only if the reloaded model gives the trained model's answers.

    Args:
        module: what is saved, with everything that the signatures use.
        model: what the model is, for the reader of export.json.

    Raises:
        ValueError: the reloaded model answers differently, or the disk is full.
    """
    expected = {name: _answers(s.function, s.requests) for name, s in signatures.items()}
    for name, signature in signatures.items():
        if signature.reference is not None and not answers_agree(
            _answers(signature.reference, signature.requests), expected[name]
        ):
            raise ValueError(f"{name} does not give the reference's answers; nothing was exported")

    def write(working: Path) -> None:
        working.mkdir(parents=True)
        saved = str(working / "saved_model")
        try:
            tf.saved_model.save(module, saved, signatures={name: s.function for name, s in signatures.items()})
        except tf.errors.OpError as error:
            raise OSError(str(error.message).splitlines()[0]) from error
        loaded = tf.saved_model.load(saved).signatures
        golden: dict[str, npt.NDArray] = {}
        for name, signature in signatures.items():
            requests = signature.requests
            if not answers_agree(expected[name], _answers(loaded[name], requests)):
                raise ValueError("the exported model does not give the trained model's answers; nothing was exported")
            golden |= {f"{name}/{part}": array for part, array in {**requests, **expected[name]}.items()}
        np.savez(working / "golden.npz", **golden)
        dataset.items.to_parquet(working / "items.parquet", index=False)
        audience.write(working, dataset)
        content = {
            "format_version": EXPORT_VERSION,
            "model": dict(model),
            "signatures": {name: _described(loaded[name]) for name in signatures},
            "history_limits": {name: s.history_limit for name, s in signatures.items()},
            "padding": {"item_ids": dataset.n_items, "candidate_items": -1, "items": -1},
            "top_k": top_k,
            "n_items": dataset.n_items,
            "item_map": "items.parquet: index -> item_id, title",
            "data_set": dataset.fingerprint,
            "score_tolerance": SCORE_TOLERANCE,
            "validation": result["validation"],
            "test": result["test"],
        }
        write_json(working / "export.json", content)

    publish(folder, write)
