"""The export folder: a SavedModel with TopK in its graph, what is needed to use it, and golden requests that prove it.

saved_model/     signatures, each of int32 inputs -> items int32 [B, K], scores [B, K] and all_scores [B, I] float32:
                 `recommend` (VAE-CF from item_ids [B, L], NCF from user_ids [B] and the seen items as item_ids), the
                 same for inference engines as `serving` and `serving_no_scatter`, compiled by XLA for GPUs as
                 `recommend_compiled` (NCF: `serving_compiled`), and for NCF `rank` (from user_ids and
                 candidate_items [B, C]; without all_scores)
export.json      signatures with their shapes, K, padding, item map, types of the ids, data set, metrics
golden.npz       SIGNATURE/NAME of every input, of items and of scores: made-up requests, the trained model's answers
items.parquet    index, item_id, title, count, and the attributes of the items; and the file of `item_vectors`

It holds no user's id and no history. With `export_users` it holds the files of `user_histories` too, and NCF's
`recommend` takes user_ids alone, with the training matrix in the SavedModel.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow as tf

from recsys_core import item_vectors, user_histories
from recsys_core.config import plain
from recsys_core.dataset import Dataset
from recsys_core.files import publish, write_json
from recsys_core.item_attributes import with_attributes
from recsys_core.matrices import storable
from recsys_core.model import Recommender
from recsys_core.model_card import card
from recsys_core.rankings import SCORE_TOLERANCE, all_scores_agree, answers_agree
from recsys_core.signatures import Exported, answers_of

EXPORT_VERSION = 4


def _described(function: Any) -> dict[str, Any]:
    """Inputs and outputs of a loaded signature: type and shape, None for what is free."""

    def about(specs: Mapping[str, Any]) -> dict[str, Any]:
        return {name: {"dtype": spec.dtype.name, "shape": spec.shape.as_list()} for name, spec in specs.items()}

    return {"inputs": about(function.structured_input_signature[1]), "outputs": about(function.structured_outputs)}


def _id_kind(table: pd.DataFrame, column: str) -> tuple[str, bool]:
    """The type of ids as they are stored, int64 or text, and whether some are whole numbers below 0."""
    ids = pa.array(storable(table, column)[column], from_pandas=True)
    if not pa.types.is_integer(ids.type) or pa.types.is_uint64(ids.type):  # int64 cannot hold all of uint64
        return "text", False
    smallest = pc.min(ids).as_py()
    return "int64", smallest is not None and smallest < 0


def _about_users(data: Dataset, export_users: bool) -> dict[str, Any]:
    """The fields of export.json that tell which users a model was trained on, without naming one."""
    (user, users_below), (item, items_below) = _id_kind(data.users, "user_id"), _id_kind(data.items, "item_id")
    return {
        "ids": {"user": user, "item": item, "below_zero": users_below or items_below},
        "users": {"training_users": data.n_users, "digest": data.user_digest, "exported": export_users},
        "view": data.view,
    }


def _same_answers(expected: Mapping[str, npt.NDArray], got: Mapping[str, npt.NDArray]) -> bool:
    """Whether the ranked items agree, and the scores of all items where both have them."""
    if not answers_agree(expected, got):
        return False
    return "all_scores" not in got or "all_scores" not in expected or all_scores_agree(expected["all_scores"], got)


def _save(exported: Exported, folder: str) -> None:
    """Write the SavedModel; a full disk is an OSError."""
    functions = {name: signature.function for name, signature in exported.signatures.items()}
    try:
        tf.saved_model.save(exported.module, folder, signatures=functions)
    except tf.errors.OpError as error:
        raise OSError(str(error.message).splitlines()[0]) from error


def write_export(
    folder: Path,
    model: Recommender,
    data: Dataset,
    *,
    top_k: int,
    result: Mapping[str, Any],
    export_users: bool = False,
) -> None:
    """Save, reload, replay: the folder appears only if the reloaded model gives the trained model's answers.

    Args:
        top_k: items an answer holds, at most.
        result: the content of `result.json`.
        export_users: export ids and histories of all users too.

    Raises:
        ValueError: the reloaded model answers differently, or the disk is full.
    """
    model.exports_users = export_users
    exported = model.exported(data, top_k)
    judged = result.get("judged_run", {})
    measured = judged or result
    settings = plain(model.resolved_settings.get("model", {}))
    signatures = exported.signatures
    expected = {name: answers_of(s.function, s.requests) for name, s in signatures.items()}
    for name, signature in signatures.items():
        if signature.reference is not None and not _same_answers(
            answers_of(signature.reference, signature.requests), expected[name]
        ):
            raise ValueError(f"{name} does not give the reference's answers; nothing was exported")

    def write(working: Path) -> None:
        working.mkdir(parents=True)
        saved = str(working / "saved_model")
        _save(exported, saved)
        loaded = tf.saved_model.load(saved).signatures
        golden: dict[str, npt.NDArray] = {}
        for name, signature in signatures.items():
            requests = signature.requests
            if not _same_answers(expected[name], answers_of(loaded[name], requests)):
                raise ValueError("the exported model does not give the trained model's answers; nothing was exported")
            stored = {part: array for part, array in expected[name].items() if part != "all_scores"}  # large
            golden |= {f"{name}/{part}": array for part, array in {**requests, **stored}.items()}
        np.savez(working / "golden.npz", **golden)
        storable(with_attributes(data), "item_id").to_parquet(working / "items.parquet", index=False)
        if export_users:
            user_histories.write(working, data)
        content = {
            "format_version": EXPORT_VERSION,
            "model": {"package": model.family, **settings},
            "signatures": {name: _described(loaded[name]) for name in signatures},
            "history_limits": {name: s.history_limit for name, s in signatures.items()},
            "padding": {"item_ids": data.n_items, "candidate_items": -1, "items": -1},
            "top_k": exported.top_k,
            "n_items": data.n_items,
            "item_map": "items.parquet: index -> item_id, title",
            "data_set": data.fingerprint,
            **_about_users(data, export_users),
            "score_tolerance": SCORE_TOLERANCE,
            "validation": measured["validation"],
            "test": measured["test"],
            **({"judged_run": judged["run"]} if judged else {}),
            "similar_items": item_vectors.write(working, model),
        }
        write_json(working / "export.json", content)
        card.write(working, content, result, data.manifest)

    publish(folder, write)
