"""Reads an export folder: signatures, golden requests, items, known users and held-out users.

Versions 2 and 3 are read. They differ in the name of one signature, see `stored_signature`.
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
)

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["LOWEST_PADDING", "PADDING", "WHOLE_NUMBERS", "Id", "IdType", "IdTypes", "padding_id"]

EXPORT_VERSIONS = (2, 3)
SERVING = "serving"
"""The signature that ONNX, TensorRT and SavedModel are converted from."""
NO_SCATTER = "serving_no_scatter"
"""The signature for TF-TRT, which has no scatter operator. It gives the same answers."""
COMPILED = ("recommend_compiled", "serving_compiled")
"""Signatures that XLA compiles, for GPUs. The one with the inputs of another signature gives the same answers."""
FORMER_NAMES = {NO_SCATTER: "serving_pool"}
"""Signature -> its name in exports of version 2 and in the models that were converted from them."""

Arrays = dict[str, npt.NDArray]


def stored_signature(signature: str, names: Collection[str]) -> str:
    """The name of a signature in a model that has signatures of these names."""
    former = FORMER_NAMES.get(signature, signature)
    return signature if signature in names or former not in names else former


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Lists of item indices in one array (CSR). U rows, E items in all rows together."""

    indptr: npt.NDArray[np.int64]
    """[U + 1]"""
    item_ids: npt.NDArray[np.int32]
    """[E]"""

    def __len__(self) -> int:
        return len(self.indptr) - 1

    def row(self, k: int) -> npt.NDArray[np.int32]:
        return self.item_ids[self.indptr[k] : self.indptr[k + 1]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """[U]"""
        return np.diff(self.indptr)

    def padded(self, rows: npt.NDArray[np.int64], padding: int) -> npt.NDArray[np.int32]:
        """int32 [B, L]: the given rows, filled up to the length L of the longest (at least 1)."""
        lengths = self.lengths[rows]
        block = np.full((len(rows), max(int(lengths.max(initial=1)), 1)), padding, np.int32)
        for k, row in enumerate(rows):
            block[k, : lengths[k]] = self.row(int(row))
        return block


@dataclass(frozen=True, kw_only=True)
class HeldOutUsers:
    """Users that the model was not trained on, or training users some of whose items it was not trained on."""

    fold_in: Rows
    """The items that a request holds."""
    fold_out: Rows | None
    """The items that the model should find; None for the calibration users."""
    user_ids: npt.NDArray[np.int32] | None
    """[U] rows of `ExportFolder.users`; None where the model takes no users, or knows none of these."""

    def requests(self, rows: npt.NDArray[np.int64], padding: int) -> Arrays:
        """The inputs of `serving` for the users of these rows."""
        inputs: Arrays = {"item_ids": self.fold_in.padded(rows, padding)}
        return inputs if self.user_ids is None else {"user_ids": self.user_ids[rows], **inputs}


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
        import pandas as pd

        return pd.read_parquet(self.folder / "items.parquet")

    @cached_property
    def users(self) -> pd.DataFrame:
        """[U] row, user_id."""
        import pandas as pd

        return pd.read_parquet(self.folder / "users.parquet")

    @cached_property
    def id_types(self) -> IdTypes:
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
        """
        Args:
            name: "test" or "calibration".
        """
        arrays = _read_arrays(self.folder / f"{name}.npz")

        def rows(part: str) -> Rows | None:
            if f"{part}.indptr" not in arrays:
                return None
            return Rows(indptr=arrays[f"{part}.indptr"], item_ids=arrays[f"{part}.item_ids"])

        fold_in = rows("fold_in")
        assert fold_in is not None
        user_ids = arrays.get("user_ids") if self.knows_users else None  # stored for VAE-CF too
        return HeldOutUsers(fold_in=fold_in, fold_out=rows("fold_out"), user_ids=user_ids)


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


def open_export(folder: Path) -> ExportFolder:
    """Read the description of an export.

    Args:
        folder: the export, or the run that made it (see `find_export`).

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
        known = " and ".join(map(str, EXPORT_VERSIONS))
        raise ValueError(f"{folder} has export version {version}, this program reads {known}; train again")
    return ExportFolder(folder=folder, content=content)
