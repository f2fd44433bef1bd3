"""Reads an export folder: signatures, golden requests, items; held-out users from its data set.

Versions 2 to 4 are read. Version 2 has another name of one signature, see `stored_signature`. Versions 2 and 3 hold
the users of the data set with their histories; version 4 does so only if it was made with --export-users.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt

from recsys_core.parquet import read_frame
from serving.data_set import MissingDataError, open_data_set
from serving.held_out import Arrays, HeldOutUsers, Rows
from serving.ids import (
    LOWEST_PADDING,
    PADDING,
    WHOLE_NUMBERS,
    Id,
    IdType,
    IdTypes,
    id_type_of,
    original_ids,
    padding_id,
    type_named,
)

if TYPE_CHECKING:
    import pandas as pd

    from recsys_core.dataset import Dataset

__all__ = [
    "LOWEST_PADDING",
    "PADDING",
    "WHOLE_NUMBERS",
    "Arrays",
    "HeldOutUsers",
    "Id",
    "IdType",
    "IdTypes",
    "Rows",
    "padding_id",
]

EXPORT_VERSIONS = (2, 3, 4)
SERVING = "serving"
"""The signature that ONNX, TensorRT and SavedModel are converted from."""
NO_SCATTER = "serving_no_scatter"
"""The signature for TF-TRT, which has no scatter operator. It gives the same answers."""
COMPILED = ("recommend_compiled", "serving_compiled")
"""Signatures that XLA compiles, for GPUs. The one with the inputs of another signature gives the same answers."""
FORMER_NAMES = {NO_SCATTER: "serving_pool"}
"""Signature -> its name in exports of version 2 and in the models that were converted from them."""


def stored_signature(signature: str, names: Collection[str]) -> str:
    """The name of a signature in a model that has signatures of these names."""
    former = FORMER_NAMES.get(signature, signature)
    return signature if signature in names or former not in names else former


def _read_arrays(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise ValueError(f"{path.parent} is no complete export: {path.name} is missing; train again") from None
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error}); train again") from None


def digest(path: Path) -> str:
    """SHA-256 of a file, or of the files of a folder and their names."""
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    total = hashlib.sha256()
    for file in files:
        total.update(str(file.relative_to(path)).encode() if path.is_dir() else b"")
        with file.open("rb") as opened:
            total.update(hashlib.file_digest(opened, "sha256").digest() if hasattr(hashlib, "file_digest") else
                         hashlib.sha256(opened.read()).digest())  # fmt: skip
    return total.hexdigest()


@dataclass(frozen=True, kw_only=True)
class ExportFolder:
    """An exported model and the files beside it."""

    folder: Path
    content: dict[str, Any]
    """export.json"""
    data: Path | None = None
    """The data set of the run, if it was moved."""

    @property
    def n_items(self) -> int:
        return int(self.content["n_items"])

    @property
    def top_k(self) -> int:
        """Number of items in an answer."""
        return int(self.content["top_k"])

    @property
    def holds_users(self) -> bool:
        """Whether the export holds ids and histories of its users: earlier versions, and --export-users."""
        return (self.folder / "users.parquet").is_file()

    @property
    def saved_model(self) -> Path:
        return self.folder / "saved_model"

    @property
    def knows_users(self) -> bool:
        """Whether a request names a user (NCF); else it holds a history only (VAE-CF)."""
        return "user_ids" in self.inputs(SERVING)

    @property
    def identity(self) -> str:
        """Digest of the SavedModel. It tells one export from another."""
        return digest(self.saved_model)

    @property
    def test_metrics(self) -> dict[str, Any]:
        """Metrics of the run on its test users: name -> mean and standard error."""
        found = self.content["test"]
        return {name: value for name, value in found.get("metrics", found).items() if isinstance(value, dict)}

    def stored_signature(self, signature: str) -> str:
        """The name of a signature in the files of this export."""
        return stored_signature(signature, self.content["signatures"])

    def inputs(self, signature: str) -> dict[str, Any]:
        """Input name -> dtype and shape.

        Raises:
            ValueError: the export has no such signature.
        """
        signatures = self.content["signatures"]
        stored = self.stored_signature(signature)
        if stored not in signatures:
            raise ValueError(f"{self.folder} has no signature {signature!r}, it has: {', '.join(signatures)}")
        return signatures[stored]["inputs"]

    def history_limit(self, signature: str) -> int | None:
        """Largest number of items in a row of item_ids; None for no limit."""
        return self.content["history_limits"].get(self.stored_signature(signature))

    def golden(self, signature: str) -> tuple[Arrays, Arrays]:
        """Golden requests, and the answers that the trained model gave to them."""
        names, prefix = self.inputs(signature), f"{self.stored_signature(signature)}/"
        arrays = _read_arrays(self.folder / "golden.npz")
        own = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        inputs = {name: array for name, array in own.items() if name in names}
        return inputs, {name: array for name, array in own.items() if name not in names}

    @cached_property
    def items(self) -> pd.DataFrame:
        """[I] index, item_id, title, count."""
        return read_frame(self.folder / "items.parquet")

    @cached_property
    def users(self) -> pd.DataFrame:
        """[U] row, user_id.

        Raises:
            ValueError: the export does not hold its users.
        """
        self._require_users()
        return read_frame(self.folder / "users.parquet")

    def _require_users(self) -> None:
        if not self.holds_users:
            raise ValueError(f"{self.folder} holds no users: name a store with --store, or the data set with --data")

    @property
    def training_users(self) -> str:
        """`Dataset.user_digest` of the training users; "" in exports of earlier versions."""
        return str(self.content.get("users", {}).get("digest", ""))

    @cached_property
    def data_set(self) -> Dataset:
        """The data set in the view that the model was trained on.

        Raises:
            MissingDataError, ValueError: see `open_data_set`.
        """
        return open_data_set(self.folder, self.content, self.data)

    @cached_property
    def id_types(self) -> IdTypes:
        ids = self.content.get("ids")
        if ids is not None and not self.holds_users:
            return IdTypes(user=type_named(ids["user"]), item=type_named(ids["item"]), below_zero=ids["below_zero"])
        user, users_below = id_type_of(self.folder / "users.parquet", "user_id")
        item, items_below = id_type_of(self.folder / "items.parquet", "item_id")
        return IdTypes(user=user, item=item, below_zero=users_below or items_below)

    @cached_property
    def item_ids(self) -> npt.NDArray:
        """[I] original ids by index: int64, or str in an object array."""
        return original_ids(self.items["item_id"], self.id_types.item)

    @cached_property
    def user_ids(self) -> npt.NDArray:
        """[U] original ids in the order of `users`: int64, or str in an object array."""
        return original_ids(self.users["user_id"], self.id_types.user)

    @cached_property
    def titles(self) -> list[str]:
        """[I] "" for an item without title."""
        return [t if isinstance(t, str) else "" for t in self.items["title"].tolist()]

    @cached_property
    def histories(self) -> Rows:
        """All items of each user, by row of `users`."""
        return Rows(**_read_arrays(self.folder / "histories.npz"))

    def held_out_users(self, name: str) -> HeldOutUsers:
        """Users from the files of the export, else from its data set.

        Calibration users of an export whose data set is not to be had are the golden requests; `source` says so.

        Args:
            name: "test" or "calibration".

        Raises:
            MissingDataError: the data set is not to be had, and test users are asked for.
        """
        from recsys_core import user_histories

        path = self.folder / f"{name}.npz"
        if path.is_file() or self.holds_users:
            return self._as_held_out(_read_arrays(path))
        try:
            return self._as_held_out(user_histories.held_out_users(self.data_set, name))
        except MissingDataError:
            if name == "test":
                raise
            return self._golden_users()

    def _as_held_out(self, arrays: Arrays) -> HeldOutUsers:
        def rows(part: str) -> Rows | None:
            if f"{part}.indptr" not in arrays:
                return None
            return Rows(indptr=arrays[f"{part}.indptr"], item_ids=arrays[f"{part}.item_ids"])

        fold_in = rows("fold_in")
        assert fold_in is not None
        user_ids = arrays.get("user_ids") if self.knows_users else None  # stored for VAE-CF too
        return HeldOutUsers(fold_in=fold_in, fold_out=rows("fold_out"), user_ids=user_ids)

    def _golden_users(self) -> HeldOutUsers:
        """The histories of the golden requests as those of calibration users."""
        inputs, _ = self.golden(SERVING)
        present = inputs["item_ids"] < self.n_items
        indptr = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int64)
        fold_in = Rows(indptr=indptr, item_ids=inputs["item_ids"][present])
        source = "golden requests, because the data set is not there"
        return HeldOutUsers(fold_in=fold_in, fold_out=None, user_ids=inputs.get("user_ids"), source=source)


def _why_not_exported(run: Path) -> str | None:
    """Why a run has no export, in one line; None if the folder is no run."""
    if not any((run / name).is_file() for name in ("run.json", "config.yaml", "result.json")):
        return None
    try:
        result = json.loads((run / "result.json").read_text())
        missed = [c for c in result["gate"]["conditions"] if not c["passed"]]
    except FileNotFoundError:
        return f"{run} has no export: its training has not finished; go on with --resume {run}"
    except (ValueError, KeyError, TypeError) as error:
        return f"{run} has no export, and its result.json is damaged ({error!r}); train again"
    if not missed:
        return f"{run} has no export, although it passed its gate; train again, or --resume {run}"
    reached = ", ".join(_reached(c) for c in missed)
    return f"{run} has no export: it missed its gate ({reached}); train longer or with another preset or --gate"


def _reached(c: dict[str, Any]) -> str:
    """What a missed condition wanted and what was reached, with the interval that decided."""
    interval = "" if c.get("low") is None else f", interval of the {c['interval_of']} from {c['low']:.4g}"
    return f"{c['condition']}: reached {c['reached']:.4g}, wanted {c['wanted']:.4g}{interval}"


def find_export(folder: Path) -> Path:
    """The folder of an export, given that folder or the folder of its run.

    Raises:
        ValueError: there is no export; the message says why the run has none.
    """
    for path in (folder, folder / "export"):
        if (path / "export.json").is_file():
            return path
    reason = _why_not_exported(folder.parent if folder.name == "export" else folder)
    if reason is None:
        kind = "holds no export (no export.json)" if folder.is_dir() else "does not exist"
        reason = f"--export {folder} {kind}; give the folder of a run that passed its gate, as --run-dir named it"
    raise ValueError(reason)


def open_export(folder: Path, data: Path | None = None) -> ExportFolder:
    """Read the description of an export.

    Args:
        folder: the export, or the run that made it (see `find_export`).
        data: the data set of the run, if it was moved.

    Raises:
        ValueError: there is no export, it is damaged, or its version is not known.
    """
    folder = find_export(folder)
    path = folder / "export.json"
    try:
        content = json.loads(path.read_text())
        version = content["format_version"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); train again") from None
    if version not in EXPORT_VERSIONS:
        known = ", ".join(map(str, EXPORT_VERSIONS))
        raise ValueError(f"{folder} has export version {version}, this program reads {known}; train again")
    return ExportFolder(folder=folder, content=content, data=data)
