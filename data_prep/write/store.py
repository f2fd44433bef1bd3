"""The data set on disk: `.npy` arrays that can be memory-mapped, id tables, and a manifest that names every parameter.

The folder is written under a temporary name and renamed when complete, so it is there whole or not at all.
`recsys_core.dataset` reads it; the two share this format, not code.

    manifest.json                    format version, source, parameters, counts, SHA-256 of every file
    train.indptr.npy                 [U + 1] int64     train.indices.npy  [E] int32, ascending within a row
    valid.fold_in.indptr.npy ...     the same for valid.fold_in, valid.fold_out, test.fold_in, test.fold_out
    items.parquet                    index, item_id, title (may be null), count (training events)
    users.parquet                    split, index (row of that split's matrices), user_id
    feature_spec.yaml                the same contents in the terms of `data_prep.write.feature_spec`

Leave-one-out data sets hold besides, for valid and test, whose matrices then have a row for each list:

    test.train_rows.npy              [S] int32 row of the training matrix
    test.candidates.npy              [S, 1 + N] int32 the item to be found, then its negatives
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp

from data_prep.split.users import Split
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
    """'name: old, now new' for each parameter that differs."""
    names = sorted(old.keys() | new.keys())
    return [f"{n}: {old.get(n)!r} there, {new.get(n)!r} asked" for n in names if old.get(n) != new.get(n)]


def _matrices(split: Split) -> dict[str, sp.csr_matrix]:
    return {
        "train": split.train,
        "valid.fold_in": split.valid.fold_in,
        "valid.fold_out": split.valid.fold_out,
        "test.fold_in": split.test.fold_in,
        "test.fold_out": split.test.fold_out,
    }


def _items_table(split: Split, titles: pd.Series | None) -> pd.DataFrame:
    counts = np.bincount(split.train.indices, minlength=len(split.item_ids))
    found = titles if titles is not None else pd.Series(dtype="object", index=pd.Index([], dtype="int64"))
    names = found.reindex(split.item_ids).to_list()
    return pd.DataFrame(
        {
            "index": np.arange(len(split.item_ids), dtype=np.int32),
            "item_id": split.item_ids.astype(np.int64),
            "title": pd.array([n if isinstance(n, str) else None for n in names], dtype="string"),
            "count": counts.astype(np.int64),
        }
    )


def _users_table(split: Split) -> pd.DataFrame:
    ids = {"train": split.train_user_ids}
    if split.test.train_rows is None:  # else they are training users
        ids |= {"valid": split.valid.user_ids, "test": split.test.user_ids}
    return pd.DataFrame(
        {
            "split": np.repeat(list(ids), [len(v) for v in ids.values()]),
            "index": np.concatenate([np.arange(len(v), dtype=np.int32) for v in ids.values()]),
            "user_id": np.concatenate([v.astype(np.int64) for v in ids.values()]),
        }
    )


def _write_array(path: Path, array: np.ndarray) -> None:
    """Like numpy.save, but a full disk is an OSError that says so (numpy's own one does not)."""
    array = np.ascontiguousarray(array)
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
        file.write(array.data)
        file.flush()
        os.fsync(file.fileno())


def _write_all(folder: Path, split: Split, titles: pd.Series | None) -> None:
    for name, matrix in _matrices(split).items():
        _write_array(folder / f"{name}.indptr.npy", matrix.indptr.astype(np.int64))
        _write_array(folder / f"{name}.indices.npy", matrix.indices.astype(np.int32))
    for name, held_out in (("valid", split.valid), ("test", split.test)):
        for part in ("train_rows", "candidates"):
            if (array := getattr(held_out, part)) is not None:
                _write_array(folder / f"{name}.{part}.npy", array)
    (folder / "feature_spec.yaml").write_text(feature_spec.describe(split))
    _items_table(split, titles).to_parquet(folder / "items.parquet", index=False)
    _users_table(split).to_parquet(folder / "users.parquet", index=False)


def write(
    folder: Path,
    split: Split,
    titles: pd.Series | None,
    parameters: Mapping[str, Any],
    source: Mapping[str, Any],
    warnings: list[str],
) -> None:
    """Write a complete data set folder, or nothing.

    Raises:
        ValueError: the disk is full or the place cannot be written.
    """
    working = folder.with_name(f".{folder.name}.writing-{os.getpid()}")
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
            "files": files,
        }
        with (working / MANIFEST).open("w") as file:
            json.dump(manifest, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        aside = folder.with_name(f".{folder.name}.replaced-{os.getpid()}")
        if folder.exists():  # only reached when empty, or a data set to be overwritten
            folder.rename(aside)
        working.rename(folder)
        shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise ValueError(f"cannot write {folder}: {error.strerror or error}; nothing was left behind") from error
    finally:
        shutil.rmtree(working, ignore_errors=True)
