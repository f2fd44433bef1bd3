"""The export folder: a SavedModel with TopK in its graph, what is needed to use it, and golden requests that prove it.

saved_model/     signature `recommend`: item_ids int32 [B, L] -> items int32 [B, K], scores float32 [B, K]
export.json      shapes, K, padding, item map, data set, metrics
golden.npz       item_ids, items, scores: real requests and the answers of the trained model
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from recsys_core.dataset import Dataset, HeldOut
from recsys_core.files import publish, write_json

GOLDEN_REQUESTS = 64
SCORE_TOLERANCE = 1e-4
EXPORT_VERSION = 1


class Recommender(Protocol):
    """What is exported: a tf.Module with this method as a tf.function."""

    def recommend(self, item_ids: tf.Tensor) -> Mapping[str, tf.Tensor]:
        """item_ids int32 [B, L], padded with I -> items int32 [B, K] and scores float32 [B, K], best first."""
        ...


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


def write_export(
    folder: Path,
    module: tf.Module,
    dataset: Dataset,
    *,
    top_k: int,
    model: Mapping[str, Any],
    result: Mapping[str, Any],
) -> None:
    """Save, reload, replay: the folder appears only if the reloaded model gives the trained model's answers.

    Args:
        module: a `Recommender`.
        model: what the model is, for the reader of export.json.

    Raises:
        ValueError: the reloaded model answers differently, or the disk is full.
    """
    requests = padded_requests(dataset.valid, GOLDEN_REQUESTS)
    expected = {n: t.numpy() for n, t in module.recommend(tf.constant(requests)).items()}  # type: ignore[attr-defined]

    def write(working: Path) -> None:
        working.mkdir(parents=True)
        saved = str(working / "saved_model")
        try:
            tf.saved_model.save(module, saved, signatures={"recommend": module.recommend})  # type: ignore[attr-defined]
        except tf.errors.OpError as error:
            raise OSError(str(error.message).splitlines()[0]) from error
        loaded = tf.saved_model.load(saved).signatures["recommend"]
        got = {n: t.numpy() for n, t in loaded(item_ids=tf.constant(requests)).items()}
        if not answers_agree(expected, got):
            raise ValueError("the exported model does not give the trained model's answers; nothing was exported")
        np.savez(working / "golden.npz", item_ids=requests, **expected)
        dataset.items.to_parquet(working / "items.parquet", index=False)
        content = {
            "format_version": EXPORT_VERSION,
            "model": dict(model),
            "signature": "recommend",
            "inputs": {"item_ids": {"dtype": "int32", "shape": ["batch", "length"], "padding": dataset.n_items}},
            "outputs": {
                "items": {"dtype": "int32", "shape": ["batch", top_k], "none": -1},
                "scores": {"dtype": "float32", "shape": ["batch", top_k]},
            },
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
