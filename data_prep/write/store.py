"""The data set on disk: `.npy` arrays that can be memory-mapped, id tables, and a manifest that names every parameter.

The folder is written under a temporary name and renamed when complete, so it is there whole or not at all.
`recsys_core.dataset` reads it; the two share this format, not code.

    manifest.json                    format version, source, parameters, counts, SHA-256 of every file
    train.indptr.npy                 [U + 1] int64     train.indices.npy  [E] int32, ascending within a row
    valid.fold_in.indptr.npy ...     the same for valid.fold_in, valid.fold_out, test.fold_in, test.fold_out
    items.parquet                    index, item_id, title (may be null), count (training events)
    users.parquet                    split, index (row of that split's matrices), user_id
    feature_spec.yaml                the same contents in the terms of `data_prep.write.feature_spec`

Where the source has attributes of items (the fingerprint of the data set leaves them out):

    item_attributes.parquet          item_id, and a column for each attribute, as genre (lists of text) and year

Where whole users are held out and some items belong to them only, which are no columns of the matrices above:

    extra_items.parquet              the same for these X items; count is 0
    valid.extra.indptr.npy ...       [S, X] for valid and test: the users' items among them

Leave-one-out data sets hold besides, for valid and test, whose matrices then have a row for each list:

    test.train_rows.npy              [S] int32 row of the training matrix
    test.candidates.npy              [S, 1 + N] int32 the item to be found, then its negatives
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import re
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep.read.attributes import attribute_table
from data_prep.split.matrix import CHUNK, Matrix, release
from data_prep.split.result import Split
from data_prep.write import feature_spec

FORMAT_VERSION = 1
MANIFEST = "manifest.json"


def sha256(path: Path) -> str:
    """Hex digest of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def working_name(folder: Path, purpose: str) -> str:
    """Name of a file or folder beside the data set that this process works in; hidden, and gone when it is done."""
    return f".{folder.name}.{purpose}-{socket.gethostname()}-{os.getpid()}"


def remove_leftovers(folder: Path) -> None:
    """Remove what processes of this host that were killed have left beside the data set."""
    beginning = re.compile(rf"\.{re.escape(folder.name)}\.[a-z]+-{re.escape(socket.gethostname())}-(\d+)(-.*)?")
    for path in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        found = beginning.fullmatch(path.name)
        if found and not psutil.pid_exists(int(found[1])):
            shutil.rmtree(path, ignore_errors=True)


def prepared_with(folder: Path) -> dict[str, Any] | None:
    """The manifest of a data set that is there already, None if there is none.

    Raises:
        ValueError: the folder holds something else, or its manifest cannot be read.
    """
    manifest = folder / MANIFEST
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    if not manifest.is_file():
        raise ValueError(f"{folder} exists and is no data set (it has no {MANIFEST}); choose another --out")
    try:
        found = json.loads(manifest.read_text())
    except ValueError as error:
        raise ValueError(f"{manifest} is damaged ({error}); remove {folder} or choose another --out") from None
    parts = ("source", "parameters", "files")
    if not isinstance(found, dict) or not all(isinstance(found.get(p), dict) for p in parts):
        raise ValueError(f"{folder} exists and is no data set ({MANIFEST} is another program's); choose another --out")
    return found


def is_complete(folder: Path, manifest: Mapping[str, Any]) -> bool:
    """Whether every file is there with its size (training compares the checksums too)."""
    sizes = {name: entry["bytes"] for name, entry in manifest["files"].items()}
    return all((folder / n).is_file() and (folder / n).stat().st_size == size for n, size in sizes.items())


def differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """'name: old there, new asked' for each parameter that differs; of another protocol, of those that both have."""
    is_other = old.get("protocol") != new.get("protocol")
    names = sorted(old.keys() & new.keys() if is_other else old.keys() | new.keys())
    changed = [n for n in names if old.get(n) != new.get(n)]
    return [f"{n}: {_given(old.get(n))} there, {_given(new.get(n))} asked" for n in changed]


def _given(value: object) -> str:
    """A parameter for a message; of a digest, its beginning."""
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
        return f"SHA-256 {value[:8]}..."
    return "none" if value in (None, "", [], {}) else repr(value)


def _matrices(split: Split) -> dict[str, Matrix]:
    extra = {"valid.extra": split.valid.extra, "test.extra": split.test.extra} if split.extra_item_ids else {}
    return {
        **{name: matrix for name, matrix in extra.items() if matrix is not None},
        "train": split.train,
        "valid.fold_in": split.valid.fold_in,
        "valid.fold_out": split.valid.fold_out,
        "test.fold_in": split.test.fold_in,
        "test.fold_out": split.test.fold_out,
    }


def _items_table(ids: pa.Array, counts: npt.NDArray[np.int64], titles: pd.DataFrame | None) -> pa.Table:
    named: list[str | None] = [None] * len(ids)
    if titles is not None:
        found = titles["title"].reindex(list(map(str, ids.to_pylist()))).to_list()
        named = [title if isinstance(title, str) else None for title in found]
    return pa.table(
        {
            "index": pa.array(np.arange(len(ids), dtype=np.int32)),
            "item_id": ids,
            "title": pa.array(named, pa.string()),
            "count": pa.array(counts),
        }
    )


def _users_table(split: Split) -> pa.Table:
    ids = {"train": split.train_user_ids}
    if split.test.train_rows is None:  # else they are training users
        ids |= {"valid": split.valid.user_ids, "test": split.test.user_ids}
    parts = [
        pa.table(
            {
                "split": pa.DictionaryArray.from_arrays(np.zeros(len(own), np.int32), [name]).cast(pa.string()),
                "index": pa.array(np.arange(len(own), dtype=np.int32)),
                "user_id": own,
            }
        )
        for name, own in ids.items()
    ]
    return pa.concat_tables(parts)


def _write_array(path: Path, array: np.ndarray) -> None:
    """Like numpy.save, but a full disk is an OSError that says so (numpy's own one does not)."""
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        step = max(1, CHUNK // max(1, array[:1].size))
        for start in range(0, len(array), step):  # a memory map is copied piece by piece
            file.write(array[start : start + step].data)
            release(array)
        file.flush()
        os.fsync(file.fileno())


def _write_all(folder: Path, split: Split, titles: pd.DataFrame | None) -> None:
    for name, matrix in _matrices(split).items():
        _write_array(folder / f"{name}.indptr.npy", matrix.indptr)
        _write_array(folder / f"{name}.indices.npy", matrix.indices)
    for name, held_out in (("valid", split.valid), ("test", split.test)):
        for part in ("train_rows", "candidates"):
            if (array := getattr(held_out, part)) is not None:
                _write_array(folder / f"{name}.{part}.npy", array)
    (folder / "feature_spec.yaml").write_text(feature_spec.describe(split))
    pq.write_table(_items_table(split.item_ids, split.train.item_counts(), titles), folder / "items.parquet")
    if extra := split.extra_item_ids:
        pq.write_table(_items_table(extra, np.zeros(len(extra), np.int64), titles), folder / "extra_items.parquet")
    every = pa.concat_arrays([split.item_ids, *([extra] if extra else [])])
    if (table := attribute_table(every, titles)) is not None:
        pq.write_table(table, folder / "item_attributes.parquet")
    pq.write_table(_users_table(split), folder / "users.parquet")


def write(
    folder: Path,
    split: Split,
    titles: pd.DataFrame | None,
    parameters: Mapping[str, Any],
    source: Mapping[str, Any],
    warnings: list[str],
) -> None:
    """Write a complete data set folder, or nothing.

    Raises:
        ValueError: the disk is full or the place cannot be written.
    """
    remove_leftovers(folder)
    working, aside = (folder.with_name(working_name(folder, purpose)) for purpose in ("writing", "replaced"))
    try:
        working.mkdir(parents=True)
        _write_all(working, split, titles)
        files = {p.name: {"sha256": sha256(p), "bytes": p.stat().st_size} for p in sorted(working.iterdir())}
        manifest = {
            "format_version": FORMAT_VERSION,
            "source": dict(source),
            "parameters": dict(parameters),
            "counts": split.counts,
            "warnings": warnings,
            **split.details,
            "files": files,
        }
        with (working / MANIFEST).open("w") as file:
            json.dump(manifest, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        if folder.exists():  # only reached when empty, or a data set to be overwritten
            folder.rename(aside)
        working.rename(folder)
    except OSError as error:
        raise ValueError(f"cannot write {folder}: {error.strerror or error}; nothing was left behind") from error
    finally:
        if aside.exists() and not folder.exists():  # stopped between the two
            aside.rename(folder)
        shutil.rmtree(working, ignore_errors=True)
        shutil.rmtree(aside, ignore_errors=True)
