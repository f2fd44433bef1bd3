"""The export folder: a SavedModel with TopK in its graph, what is needed to use it, and golden requests that prove it.

saved_model/     signatures, each of int32 inputs -> items int32 [B, K], scores float32 [B, K]: `recommend` (VAE-CF from
                 item_ids [B, L], NCF from user_ids [B]), and for NCF `rank` (from user_ids and candidate_items [B, C])
export.json      signatures with their shapes, K, padding, item map, data set, metrics
golden.npz       SIGNATURE/NAME of every input and output: real requests and the answers of the trained model
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.dataset import Dataset, HeldOut
from recsys_core.files import publish, write_json

GOLDEN_REQUESTS = 64
SCORE_TOLERANCE = 1e-4
EXPORT_VERSION = 1


Requests = Mapping[str, npt.NDArray[np.int32]]
Signature = tuple[Callable[..., Mapping[str, tf.Tensor]], Requests]
"""A tf.function with an input signature that gives items int32 [B, K] and scores float32 [B, K], best first; and the
golden requests to prove it with, by the names of its inputs."""


def padded_requests(held_out: HeldOut, count: int) -> npt.NDArray[np.int32]:
    """int32 [B, L] the histories of the first users that have one, padded with the item count I."""
    users = np.flatnonzero(np.diff(held_out.fold_in.indptr) > 0)[:count]
    item_ids, splits = held_out.fold_in.rows(users)
    lengths = np.diff(splits)
    requests = np.full((len(users), max(int(lengths.max(initial=1)), 1)), held_out.fold_in.n_items, np.int32)
    requests[np.arange(requests.shape[1])[None, :] < lengths[:, None]] = item_ids
    return requests


def answers_agree(
    expected: Mapping[str, npt.NDArray], got: Mapping[str, npt.NDArray], tolerance: float = SCORE_TOLERANCE
) -> bool:
    """Whether two rankings are the same: scores within the tolerance, items equal except where scores tie within it.

    A score that is not a number agrees with nothing.
    """
    want, have = expected["scores"], got["scores"]
    if want.shape != have.shape or np.isnan(want).any() or np.isnan(have).any():
        return False
    absent = np.isneginf(want)
    if (absent != np.isneginf(have)).any() or (expected["items"][absent] != got["items"][absent]).any():
        return False
    rows = zip(want, have, expected["items"], got["items"], strict=True)
    return all(_row_agrees(*row, tolerance) for row in rows)


def _row_agrees(want: npt.NDArray, have: npt.NDArray, items: npt.NDArray, found: npt.NDArray, tolerance: float) -> bool:
    """One list [K]: close scores, no item twice, and another item only in place of one that ties with it."""
    real = ~np.isneginf(want)
    want, have, items, found = want[real], have[real], items[real], found[real]
    slack = tolerance * np.maximum(1.0, np.abs(want))
    if (np.abs(want - have) > slack).any() or len(np.unique(found)) < len(found):
        return False
    for k in np.flatnonzero(items != found):
        tied = np.abs(want - want[k]) <= 2 * slack[k]
        at_the_cut = tied[-1]  # the list ends within the tie: an item from beyond it may stand here
        if not at_the_cut and found[k] not in items[tied]:
            return False
    return True


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
    expected = {name: _answers(function, requests) for name, (function, requests) in signatures.items()}

    def write(working: Path) -> None:
        working.mkdir(parents=True)
        saved = str(working / "saved_model")
        try:
            tf.saved_model.save(module, saved, signatures={name: f for name, (f, _) in signatures.items()})
        except tf.errors.OpError as error:
            raise OSError(str(error.message).splitlines()[0]) from error
        loaded = tf.saved_model.load(saved).signatures
        golden: dict[str, npt.NDArray] = {}
        for name, (_, requests) in signatures.items():
            if not answers_agree(expected[name], _answers(loaded[name], requests)):
                raise ValueError("the exported model does not give the trained model's answers; nothing was exported")
            golden |= {f"{name}/{part}": array for part, array in {**requests, **expected[name]}.items()}
        np.savez(working / "golden.npz", **golden)
        dataset.items.to_parquet(working / "items.parquet", index=False)
        content = {
            "format_version": EXPORT_VERSION,
            "model": dict(model),
            "signatures": {name: _described(loaded[name]) for name in signatures},
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
