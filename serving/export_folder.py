"""Reading an export folder: the model's signatures, golden requests, items, known users, users to measure with."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import pandas as pd

EXPORT_VERSION = 2
SERVING = "serving"
"""The signature that is converted; POOL is its twin for TF-TRT."""
POOL = "serving_pool"

Arrays = dict[str, npt.NDArray]


@dataclass(frozen=True, kw_only=True)
class Rows:
    """Lists of item indices, one after another (CSR)."""

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
        """int32 [B, L] some rows, the longest deciding L (at least 1)."""
        lengths = self.lengths[rows]
        block = np.full((len(rows), max(int(lengths.max(initial=1)), 1)), padding, np.int32)
        for k, row in enumerate(rows):
            block[k, : lengths[k]] = self.row(int(row))
        return block


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Held-out users: what a model is given, and what it has to find."""

    fold_in: Rows
    fold_out: Rows | None
    user_ids: npt.NDArray[np.int32] | None
    """[S] where the model knows users by row."""

    def requests(self, rows: npt.NDArray[np.int64], padding: int) -> Arrays:
        """The inputs of `serving` for some of these users."""
        inputs: Arrays = {"item_ids": self.fold_in.padded(rows, padding)}
        return inputs if self.user_ids is None else {"user_ids": self.user_ids[rows], **inputs}


def _arrays(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except FileNotFoundError:
        raise ValueError(f"{path.parent} is no complete export: {path.name} is missing; train again") from None
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path} is damaged ({error}); train again") from None


def digest(path: Path) -> str:
    """SHA-256 of a file, or of a folder's files and their names."""
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
    """What training left for serving."""

    folder: Path
    content: dict[str, Any]
    """export.json"""

    @property
    def n_items(self) -> int:
        return int(self.content["n_items"])

    @property
    def top_k(self) -> int:
        """Items an answer holds."""
        return int(self.content["top_k"])

    @property
    def saved_model(self) -> Path:
        return self.folder / "saved_model"

    @property
    def knows_users(self) -> bool:
        """Whether the model is asked by user (NCF) and not by history alone (VAE-CF)."""
        return "user_ids" in self.inputs(SERVING)

    @property
    def identity(self) -> str:
        """Digest of the model: which export something was made from."""
        return digest(self.saved_model)

    def inputs(self, signature: str) -> dict[str, Any]:
        """name -> dtype and shape.

        Raises:
            ValueError: no such signature.
        """
        signatures = self.content["signatures"]
        if signature not in signatures:
            raise ValueError(f"{self.folder} has no signature {signature!r}, it has: {', '.join(signatures)}")
        return signatures[signature]["inputs"]

    def history_limit(self, signature: str) -> int | None:
        """Items a row of item_ids may hold, None for any number."""
        return self.content["history_limits"].get(signature)

    def golden(self, signature: str) -> tuple[Arrays, Arrays]:
        """Real requests and the trained model's answers."""
        names = self.inputs(signature)
        every = _arrays(self.folder / "golden.npz")
        own = {k.split("/", 1)[1]: v for k, v in every.items() if k.split("/", 1)[0] == signature}
        return {k: v for k, v in own.items() if k in names}, {k: v for k, v in own.items() if k not in names}

    @cached_property
    def items(self) -> pd.DataFrame:
        """[I] index, item_id, title, count."""
        return pd.read_parquet(self.folder / "items.parquet")

    @cached_property
    def users(self) -> pd.DataFrame:
        """[U] row, user_id."""
        return pd.read_parquet(self.folder / "users.parquet")

    @cached_property
    def histories(self) -> Rows:
        """By row of `users`: everything the user has."""
        return Rows(**_arrays(self.folder / "histories.npz"))

    def audience(self, name: str) -> Audience:
        """The "test" users, or those for "calibration"."""
        arrays = _arrays(self.folder / f"{name}.npz")

        def rows(part: str) -> Rows | None:
            if f"{part}.indptr" not in arrays:
                return None
            return Rows(indptr=arrays[f"{part}.indptr"], item_ids=arrays[f"{part}.item_ids"])

        fold_in = rows("fold_in")
        assert fold_in is not None
        return Audience(fold_in=fold_in, fold_out=rows("fold_out"), user_ids=arrays.get("user_ids"))


def open_export(folder: Path) -> ExportFolder:
    """Read an export folder's description.

    Raises:
        ValueError: the folder is none, or of another version.
    """
    path = folder / "export.json"
    if not path.is_file():
        raise ValueError(
            f"{folder} is no export (no export.json); give RUN_DIR/export of a run that passed its gate (--export)"
        )
    try:
        content = json.loads(path.read_text())
        version = content["format_version"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); train again") from None
    if version != EXPORT_VERSION:
        raise ValueError(f"{folder} has export version {version}, this program reads {EXPORT_VERSION}; train again")
    return ExportFolder(folder=folder, content=content)
