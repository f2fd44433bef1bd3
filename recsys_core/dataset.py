"""Reading a prepared data set (the folder that `data_prep` writes): memory-mapped CSR, checked before use."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

FORMAT_VERSION = 1
MATRICES = ("train", "valid.fold_in", "valid.fold_out", "test.fold_in", "test.fold_out")
SPLITS = ("valid", "test")


@dataclass(frozen=True, kw_only=True)
class Csr:
    """A binary sparse matrix [U, I], its arrays mapped from disk."""

    indptr: npt.NDArray[np.int64]
    """[U + 1]"""
    indices: npt.NDArray[np.int32]
    """[E] ascending within a row."""
    n_items: int

    @property
    def n_users(self) -> int:
        return len(self.indptr) - 1

    def rows(self, users: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
        """Some rows, in one vectorised copy.

        Args:
            users: [B] row numbers.

        Returns:
            item_ids [N] of all rows one after another, and row_splits [B + 1].
        """
        starts = self.indptr[users]
        splits = np.zeros(len(users) + 1, np.int64)
        np.cumsum(self.indptr[users + 1] - starts, out=splits[1:])
        positions = np.arange(splits[-1]) + np.repeat(starts - splits[:-1], np.diff(splits))
        return self.indices[positions], splits

    def to_scipy(self) -> sp.csr_matrix:
        """float32 copy in memory."""
        data = np.ones(len(self.indices), np.float32)
        return sp.csr_matrix((data, np.asarray(self.indices), np.asarray(self.indptr)), (self.n_users, self.n_items))

    def item_counts(self) -> npt.NDArray[np.int64]:
        """[I] users a column."""
        return np.bincount(self.indices, minlength=self.n_items)


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """What a model may see of some users, and what it has to find.

    Strong generalisation: users the model never trained on. Leave-one-out: users it trained on, less one item each,
    with candidates among which the item has to be found.
    """

    fold_in: Csr
    """Items that are known (and excluded from recommendations)."""
    fold_out: Csr
    train_rows: npt.NDArray[np.int32] | None = None
    """[S] each row's place in the training matrix; None for users the model never trained on."""
    candidates: npt.NDArray[np.int32] | None = None
    """[S, 1 + N] the item to be found, then the sampled negatives (repeats are possible)."""

    @property
    def n_users(self) -> int:
        return self.fold_in.n_users

    @property
    def n_candidates(self) -> int:
        """1 + N, or 0 without candidates."""
        return 0 if self.candidates is None else self.candidates.shape[1]


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A prepared data set."""

    folder: Path
    manifest: dict[str, Any]
    train: Csr
    valid: HeldOut
    test: HeldOut

    @property
    def n_items(self) -> int:
        return self.train.n_items

    @property
    def n_users(self) -> int:
        """Users of the training matrix."""
        return self.train.n_users

    @property
    def is_leave_one_out(self) -> bool:
        """Whether held-out items belong to users that the model trains on."""
        return self.test.train_rows is not None

    @cached_property
    def items(self) -> pd.DataFrame:
        """[I] rows: index, item_id, title, count."""
        return pd.read_parquet(self.folder / "items.parquet")

    @property
    def fingerprint(self) -> str:
        """Equal for equal contents: a digest over the digests of the files."""
        return fingerprint(self.manifest)

    def held_out(self, split: str) -> HeldOut:
        """The validation ("valid") or the test ("test") users."""
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}, known are: {', '.join(SPLITS)}")
        return self.valid if split == "valid" else self.test


def fingerprint(manifest: dict[str, Any]) -> str:
    """See `Dataset.fingerprint`."""
    digests = [f"{name} {entry['sha256']}" for name, entry in sorted(manifest["files"].items())]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a data set.

    Raises:
        ValueError: the folder is none, or was written in another format.
    """
    path = folder / "manifest.json"
    if not path.is_file():
        raise ValueError(f"{folder} is no prepared data set (no manifest.json); make one with: python -m data_prep")
    try:
        manifest = json.loads(path.read_text())
        version, files = manifest["format_version"], manifest["files"]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error!r}); prepare the data set again") from None
    if version != FORMAT_VERSION:
        raise ValueError(
            f"{folder} has data format version {version}, this program reads {FORMAT_VERSION}; prepare it again"
        )
    if missing := [
        f"{m}.{part}.npy" for m in MATRICES for part in ("indptr", "indices") if f"{m}.{part}.npy" not in files
    ]:
        raise ValueError(f"{path} does not list {missing[0]}; prepare the data set again")
    return manifest


def verify(folder: Path) -> None:
    """Compare every file with the digest in the manifest.

    Raises:
        ValueError: a file is missing, cut or changed; the first one is named.
    """
    for name, entry in read_manifest(folder)["files"].items():
        path = folder / name
        if not path.is_file():
            raise ValueError(f"{folder} is damaged: {name} is missing; prepare the data set again")
        if path.stat().st_size != entry["bytes"] or _sha256(path) != entry["sha256"]:
            raise ValueError(f"{folder} is damaged: {name} is not what was written; prepare the data set again")


def check_held_out(data: Dataset) -> None:
    """Check the lists of a leave-one-out data set against its training matrix.

    Raises:
        ValueError: a user or an item beyond the matrix, or a user without a training row.
    """
    lengths = np.diff(data.train.indptr)
    for split in SPLITS:
        held_out = data.held_out(split)
        rows, lists = held_out.train_rows, held_out.candidates
        if rows is None or lists is None or lists.ndim != 2 or len(rows) != len(lists) or len(rows) != held_out.n_users:
            raise ValueError(f"{data.folder}: {split} has no complete lists of candidates; prepare the data set again")
        for name, ids, limit in (("user", rows, data.n_users), ("item", lists, data.n_items)):
            if ids.size and (ids.min() < 0 or ids.max() >= limit):
                wrong = ids.min() if ids.min() < 0 else ids.max()
                raise ValueError(f"{data.folder}: {split} names {name} {wrong}, expected 0 to {limit - 1}")
        if (without := rows[lengths[rows] == 0]).size:
            raise ValueError(
                f"{data.folder}: the user in row {without[0]} has a {split} item but no training row; a model knows "
                "nothing of such a user"
            )


def for_final_fit(data: Dataset) -> Dataset:
    """A leave-one-out data set whose validation items are training items too, and whose validation is its test.

    For the last run, when nothing is chosen any more: what was held out to choose by need not be withheld then.
    """
    held_out = data.valid
    assert held_out.train_rows is not None
    found = held_out.fold_out.to_scipy().tocoo()
    rows = np.asarray(held_out.train_rows)[found.row]
    train = data.train.to_scipy()
    train = (train + sp.csr_matrix((found.data, (rows, found.col)), train.shape)).tocsr()
    train.sort_indices()
    merged = Csr(indptr=train.indptr.astype(np.int64), indices=train.indices.astype(np.int32), n_items=data.n_items)
    return replace(data, train=merged, valid=data.test)


def open_dataset(folder: Path) -> Dataset:
    """Map a data set. Call `verify` once a job before (it reads every byte; this reads almost nothing).

    Raises:
        ValueError: the folder is no data set, or of another format.
    """
    manifest = read_manifest(folder)
    n_items = int(manifest["counts"]["train_items"])

    def matrix(name: str) -> Csr:
        arrays = {part: np.load(folder / f"{name}.{part}.npy", mmap_mode="r") for part in ("indptr", "indices")}
        return Csr(indptr=np.asarray(arrays["indptr"]), indices=arrays["indices"], n_items=n_items)

    def optional(name: str) -> npt.NDArray[np.int32] | None:
        return np.load(folder / f"{name}.npy", mmap_mode="r") if f"{name}.npy" in manifest["files"] else None

    def held_out(split: str) -> HeldOut:
        return HeldOut(
            fold_in=matrix(f"{split}.fold_in"),
            fold_out=matrix(f"{split}.fold_out"),
            train_rows=optional(f"{split}.train_rows"),
            candidates=optional(f"{split}.candidates"),
        )

    return Dataset(
        folder=folder, manifest=manifest, train=matrix("train"), valid=held_out("valid"), test=held_out("test")
    )
