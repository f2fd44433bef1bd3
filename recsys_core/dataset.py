"""Data sets: interactions as CSR matrices, held-out users, ids and titles.

`Dataset.open` maps the folder that `data_prep` writes; `Dataset.from_csr` and `Dataset.from_frame` take interactions
that are in memory. Shape legend: U users, I items, E interactions, S held-out rows, N interactions of some rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import scipy.sparse as sp

from data_prep.encode.events import EventsInMemory
from recsys_core import interactions, splitting, views
from recsys_core.errors import UserError, os_message
from recsys_core.matrices import Csr, ExtraItems, HeldOut
from recsys_core.parquet import read_frame

FORMAT_VERSION = 1
MATRICES = ("train", "valid.fold_in", "valid.fold_out", "test.fold_in", "test.fold_out")
SPLITS = ("valid", "test")


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Training interactions, held-out users, and the ids behind the indices."""

    train: Csr
    valid: HeldOut | None = None
    test: HeldOut | None = None
    folder: Path | None = None
    """Where it was opened; None for a data set in memory."""
    manifest: dict[str, Any] = field(default_factory=dict)
    item_frame: pd.DataFrame | None = None
    user_frame: pd.DataFrame | None = None
    events: EventsInMemory | None = None
    """The interactions of a table with their times, to be split; None elsewhere."""
    time_unit: str = ""
    """Unit of the times of `events`: s, ms, us, ns, D (days), or number; "" where there are none."""
    notes: tuple[str, ...] = ()
    """What its owner should know about a split in memory."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Counts of a split in memory; those of a prepared data set are in `manifest`."""
    extra: ExtraItems | None = None
    """Items that only held-out users have, of a split in memory; those of a prepared data set are in its folder."""
    view: str = ""
    """The view of the data set (`FINAL_FIT`, `ALL_USERS`), "" for the data set as it was split."""

    @classmethod
    def open(cls, folder: Path | str) -> Dataset:
        """Map a prepared data set. `verify` compares its checksums; this reads almost nothing.

        Raises:
            UserError: the folder is no data set, of another format, or cannot be read.
        """
        return _open(Path(folder))

    @classmethod
    def from_csr(
        cls, matrix: sp.spmatrix | Csr, *, user_ids: Sequence[Any] | None = None, item_ids: Sequence[Any] | None = None
    ) -> Dataset:
        """Interactions of a matrix [U, I], every non-zero entry one of them.

        Args:
            user_ids: [U] ids of the rows (default: their numbers).
            item_ids: [I] ids of the columns (default: their numbers).

        Raises:
            UserError: a list of ids of another length than the matrix.
        """
        return cls(**vars(interactions.from_csr(matrix, user_ids, item_ids)))

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        user: str = "user",
        item: str = "item",
        time: str | None = None,
        rating: str | None = None,
        threshold: float = 3.5,
        title: str | None = None,
    ) -> Dataset:
        """Interactions of a table in memory: one a row, repeated pairs count once (the earliest).

        Args:
            frame: a pandas, pyarrow or polars table.
            user: name of the column with the users' ids, of any type.
            item: name of the column with the items' ids, of any type.
            time: name of the column of times: numbers, dates or ISO 8601 texts; needed to split by time.
            rating: name of the column of ratings: the latest rating of a pair decides, and has to be above `threshold`;
                None: every row is an interaction.
            title: name of a column with titles of the items.

        Raises:
            UserError: no such column, no rows, or an id that is missing.
        """
        return cls(
            **vars(
                interactions.from_frame(
                    frame, user=user, item=item, time=time, title=title, rating=rating, threshold=threshold
                )
            )
        )

    def split(self, protocol: str = "users", **rules: Any) -> Dataset:
        """This data set with validation and test users or items held out; see `recsys_core.splitting`.

        Args:
            protocol: "users" (strong generalisation, for VAE-CF), "leave-one-out" (for NCF), "time" (the latest
                interactions of all users) or "per-user" (a share of each user's interactions).
            rules: see `splitting.split_users`, `split_leave_one_out`, `split_by_time` and `split_per_user`.

        Raises:
            UserError: an unknown protocol or rule, or too few users to hold out.
        """
        if self.is_split:
            raise UserError(f"{self.name} is split already")
        return Dataset(**vars(splitting.split(self, protocol, rules)))

    @classmethod
    def empty(cls, n_users: int, n_items: int) -> Dataset:
        """A data set of a shape, without interactions: for a model whose parameters come from elsewhere."""
        return cls.from_csr(sp.csr_matrix((n_users, n_items), dtype=np.float32))

    @property
    def n_items(self) -> int:
        return self.train.n_items

    @property
    def n_users(self) -> int:
        """Users of the training matrix."""
        return self.train.n_users

    @property
    def name(self) -> str:
        """For messages: the folder, or where the data set is instead."""
        return str(self.folder) if self.folder else "the data set in memory"

    @property
    def is_split(self) -> bool:
        """Whether validation and test users are held out."""
        return self.valid is not None and self.test is not None

    @property
    def holds_out_items(self) -> bool:
        """Whether some items of training users are held out; False where whole users are."""
        return self.test is not None and self.test.train_rows is not None

    @property
    def has_candidates(self) -> bool:
        """Whether each held-out row has candidates, among which its one item is to be found (leave-one-out)."""
        return self.test is not None and self.test.candidates is not None

    @cached_property
    def items(self) -> pd.DataFrame:
        """[I] rows: index, item_id, title (may be missing), count."""
        return self._table("items.parquet", self.item_frame)

    @cached_property
    def users(self) -> pd.DataFrame:
        """One row for each user: split, index (row of that split's matrices), user_id."""
        return self._table("users.parquet", self.user_frame)

    def _table(self, name: str, frame: pd.DataFrame | None) -> pd.DataFrame:
        if frame is not None:
            return frame
        assert self.folder is not None, "a data set has a folder or its tables"
        try:
            return read_frame(self.folder / name)
        except (OSError, ValueError) as error:  # a damaged Parquet file is a ValueError
            reason = os_message(error) if isinstance(error, OSError) else str(error)
            raise UserError(f"{self.folder / name} cannot be read: {reason}; prepare the data set again") from error

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal contents: a digest over the digests of the files, or over the arrays in memory."""
        return manifest_fingerprint(self.manifest) if self.manifest else _arrays_fingerprint(self)

    @cached_property
    def item_digest(self) -> str:
        """Equal for the same item ids in the same order."""
        return _ids_digest(self.items["item_id"])

    @cached_property
    def user_digest(self) -> str:
        """Equal for the same training users in the same order."""
        users = self.users
        return _ids_digest(users[users["split"] == "train"].sort_values("index")["user_id"])

    def held_out(self, split: str) -> HeldOut:
        """The validation ("valid") or the test ("test") users.

        Raises:
            UserError: an unknown split, or a data set that was not split.
        """
        if split not in SPLITS:
            raise UserError(f"unknown split {split!r}, known are: {', '.join(SPLITS)}")
        found = self.valid if split == "valid" else self.test
        if found is None:
            raise UserError(f"{self.name} is not split; call split('users') or another protocol first")
        return found

    def viewed(self, view: str) -> Dataset:
        """The data set in a view: "" as it is, `FINAL_FIT` with the validation items among the training items,
        `ALL_USERS` with all users and all their items as training data.

        Raises:
            UserError: an unknown view, or one that this data set does not have.
        """
        return self if view == self.view else views.viewed(self, view)


def manifest_fingerprint(manifest: dict[str, Any]) -> str:
    """See `Dataset.fingerprint`. It leaves out extra items and attributes, which earlier versions did not write."""
    added = ("extra", "item_attributes")
    files = {name: entry for name, entry in manifest["files"].items() if not any(word in name for word in added)}
    digests = [f"{name} {entry['sha256']}" for name, entry in sorted(files.items())]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _ids_digest(ids: pd.Series) -> str:
    return hashlib.sha256("\0".join(map(repr, ids.tolist())).encode()).hexdigest()


def _arrays_fingerprint(data: Dataset) -> str:
    digest = hashlib.sha256()
    matrices = [data.train, *(m for h in (data.valid, data.test) if h is not None for m in (h.fold_in, h.fold_out))]
    for matrix in matrices:
        digest.update(f"{matrix.n_users} {matrix.n_items};".encode())
        digest.update(np.ascontiguousarray(matrix.indptr).tobytes())
        digest.update(np.ascontiguousarray(matrix.indices).tobytes())
    for held_out in (data.valid, data.test):
        for array in () if held_out is None else (held_out.train_rows, held_out.candidates):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
    digest.update("\n".join(map(str, data.items["item_id"])).encode())
    return digest.hexdigest()


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a data set.

    Raises:
        UserError: the folder is no data set, was written in another format, or cannot be read.
    """
    path = folder / "manifest.json"
    try:
        manifest = json.loads(path.read_text())
        version, files, _ = manifest["format_version"], manifest["files"], int(manifest["counts"]["train_items"])
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{folder} is no prepared data set (no manifest.json); make one with: python -m data_prep"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged ({error!r}); prepare the data set again") from None
    if version != FORMAT_VERSION:
        raise UserError(
            f"{folder} has data format version {version}, this program reads {FORMAT_VERSION}; prepare it again"
        )
    if missing := [
        f"{m}.{part}.npy" for m in MATRICES for part in ("indptr", "indices") if f"{m}.{part}.npy" not in files
    ]:
        raise UserError(f"{path} does not list {missing[0]}; prepare the data set again")
    return manifest


def verify_integrity(folder: Path) -> None:
    """Compare every file with the digest in the manifest.

    Raises:
        UserError: a file is missing, cut, changed or cannot be read; the first one is named.
    """
    for name, entry in read_manifest(folder)["files"].items():
        path = folder / name
        try:
            matches = path.stat().st_size == entry["bytes"] and _sha256(path) == entry["sha256"]
        except FileNotFoundError:
            raise UserError(f"{folder} is damaged: {name} is missing; prepare the data set again") from None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}; check its permissions") from error
        if not matches:
            raise UserError(f"{folder} is damaged: {name} is not what was written; prepare the data set again")


def _open(folder: Path) -> Dataset:
    manifest = read_manifest(folder)
    n_items = int(manifest["counts"]["train_items"])

    def array(name: str) -> npt.NDArray:
        try:
            return np.load(folder / f"{name}.npy", mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            reason = os_message(error) if isinstance(error, OSError) else str(error)
            raise UserError(f"{folder} cannot be read: {reason}; prepare the data set again") from error

    def matrix(name: str) -> Csr:
        return Csr(indptr=np.asarray(array(f"{name}.indptr")), indices=array(f"{name}.indices"), n_items=n_items)

    def optional(name: str) -> npt.NDArray[np.int32] | None:
        return array(name) if f"{name}.npy" in manifest["files"] else None

    def held_out(split: str) -> HeldOut:
        return HeldOut(
            fold_in=matrix(f"{split}.fold_in"),
            fold_out=matrix(f"{split}.fold_out"),
            train_rows=optional(f"{split}.train_rows"),
            candidates=optional(f"{split}.candidates"),
        )

    train = matrix("train")
    return Dataset(train=train, valid=held_out("valid"), test=held_out("test"), folder=folder, manifest=manifest)
