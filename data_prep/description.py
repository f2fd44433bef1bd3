"""Numbers about a data set folder: sizes, lengths of histories, popularity, times, held-out parts, what was left out.

Arrays are memory-mapped and read in blocks, so that memory grows with the number of items and with the longest history,
not with the number of interactions. Works on every data set that was written, old ones too.

Shape legend: U users, I items, E interactions.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from data_prep.description_facts import Facts, Head, HeldOut, Lengths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Counts = npt.NDArray[np.int64]
MANIFEST = "manifest.json"
BLOCK = 1 << 22
"""Numbers of an array that are in memory at a time."""
QUANTILES = (0.25, 0.5, 0.75, 0.9, 0.99)
HEADS = (0.01, 0.1)
CURVE_POINTS = 200
MATRICES = ("train", "valid.fold_in", "valid.fold_out", "test.fold_in", "test.fold_out")


class Description(Facts):
    """What `describe` returns; printing it gives the text."""

    def __str__(self) -> str:
        return self.as_text()

    def as_text(self) -> str:
        """Lines for a terminal, without a line break at the end."""
        from data_prep import description_text

        return description_text.as_text(self)

    def as_json(self) -> str:
        """One JSON object with the fields of `Facts`."""
        return json.dumps(asdict(self), indent=2)

    def draw(self) -> Figure:
        """Panels of the lengths of histories, of popularity and, if the manifest has a histogram of times, of times."""
        from data_prep import description_picture  # late: matplotlib

        return description_picture.draw(self)

    def save_picture(self, path: str | Path) -> None:
        """Write `draw` to a file, in the format of its suffix (.png, .svg, .pdf).

        Raises:
            ValueError: another suffix.
            OSError: the file cannot be written.
        """
        from data_prep import description_picture  # late: matplotlib

        description_picture.save(self, Path(path))


def _parameters(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, with the threshold that was used where the manifest has it."""
    source, parameters = manifest.get("source", {}), manifest.get("parameters", {})
    return {**parameters, **({"threshold": source["threshold"]} if "threshold" in source else {})}


def _manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if folder.is_file():
        raise ValueError(f"{folder} is a file, expected the folder of a data set (--out of python -m data_prep)")
    if not folder.is_dir():
        raise ValueError(f"{folder} does not exist, expected the folder of a data set (--out of python -m data_prep)")
    if not path.is_file():
        raise ValueError(f"{folder} is no data set: it has no {MANIFEST}")
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); prepare the data set again with --overwrite") from None
    if (
        not isinstance(found, dict)
        or not isinstance(found.get("files"), dict)
        or "train.indptr.npy" not in found["files"]
    ):
        raise ValueError(f"{folder} is no data set: {MANIFEST} is another program's")
    for name, entry in found["files"].items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != entry["bytes"]:
            raise ValueError(f"{folder} is damaged ({name} is missing or cut); prepare it again with --overwrite")
    return found


def _blocks(array: npt.NDArray, overlap: int = 0) -> Iterator[npt.NDArray]:
    """Consecutive parts of a mapped array; with overlap 1 the last number of a part is the first of the next one."""
    for start in range(0, max(len(array) - overlap, 0), BLOCK):
        yield array[start : start + BLOCK + overlap]


def _add(total: Counts, more: Counts) -> Counts:
    """Sum of two histograms of different lengths."""
    if len(more) > len(total):
        total, more = more, total
    total[: len(more)] += more
    return total


def _rows_by_length(indptr: npt.NDArray) -> Counts:
    """[longest + 1] number of rows of each length."""
    total = np.zeros(1, np.int64)
    for block in _blocks(indptr, overlap=1):
        total = _add(total, np.bincount(np.diff(block)))
    return total


def _quantile(rows_by_length: Counts, share: float) -> int:
    """The smallest length that at least this share of the rows does not exceed."""
    below = np.cumsum(rows_by_length)
    return int(np.searchsorted(below, math.ceil(share * below[-1] - 1e-9)))


def _bins(rows_by_length: Counts) -> list[tuple[int, int, int]]:
    """(shortest, longest, rows) of 0, 1, 2 to 3, 4 to 7 and so on, from the first one that has rows."""
    found = [(0, 0, int(rows_by_length[0]))] if rows_by_length[0] else []
    start = 1
    while start < len(rows_by_length):
        rows = int(rows_by_length[start : 2 * start].sum())
        if rows or found:
            found.append((start, 2 * start - 1, rows))
        start *= 2
    return found


def _lengths(folder: Path, name: str) -> Lengths:
    indptr = np.load(folder / f"{name}.indptr.npy", mmap_mode="r")
    by_length = _rows_by_length(indptr)
    rows = int(by_length.sum())
    present = np.flatnonzero(by_length)
    total = int(indptr[-1])
    return Lengths(
        rows=rows,
        interactions=total,
        least=int(present[0]) if rows else 0,
        mean=total / rows if rows else 0.0,
        quantiles={f"{q:g}": _quantile(by_length, q) if rows else 0 for q in QUANTILES},
        largest=int(present[-1]) if rows else 0,
        bins=_bins(by_length),
    )


def _popularity(folder: Path, items: int) -> Counts:
    """[I] training interactions of the items, largest first."""
    counts = np.zeros(items, np.int64)
    for block in _blocks(np.load(folder / "train.indices.npy", mmap_mode="r")):
        counts += np.bincount(block, minlength=items)
    return np.sort(counts)[::-1]


def _heads(popularity: Counts) -> list[Head]:
    total = int(popularity.sum())
    heads = []
    for share in HEADS:
        items = max(1, math.ceil(share * len(popularity) - 1e-9)) if len(popularity) else 0
        part = int(popularity[:items].sum())
        heads.append(Head(share_of_items=share, items=items, share_of_interactions=part / total if total else 0.0))
    return heads


def _curve(popularity: Counts) -> list[tuple[int, int]]:
    """Some (rank, interactions) of the items that have any."""
    present = int(np.count_nonzero(popularity))
    if not present:
        return []
    ranks = np.arange(1, present + 1)
    if present > CURVE_POINTS:
        ranks = np.unique(np.geomspace(1, present, CURVE_POINTS).round().astype(np.int64))
    return [(int(rank), int(popularity[rank - 1])) for rank in ranks]


def _held_out(folder: Path, part: str) -> HeldOut | None:
    if not (folder / f"{part}.fold_out.indptr.npy").is_file():
        return None
    candidates = folder / f"{part}.candidates.npy"
    return HeldOut(
        of_training_users=(folder / f"{part}.train_rows.npy").is_file(),
        shown=_lengths(folder, f"{part}.fold_in"),
        to_be_found=_lengths(folder, f"{part}.fold_out"),
        candidates=int(np.load(candidates, mmap_mode="r").shape[1]) if candidates.is_file() else 0,
    )


def _number_of_items(folder: Path) -> int:
    import pyarrow.parquet as pq  # late: takes long

    return pq.read_metadata(folder / "items.parquet").num_rows


def describe(folder: str | Path) -> Description:
    """What a data set holds.

    Args:
        folder: of the data set.

    Raises:
        ValueError: it is no data set, or it is damaged.
    """
    folder = Path(folder)
    manifest = _manifest(folder)
    lengths, items = _lengths(folder, "train"), _number_of_items(folder)
    popularity = _popularity(folder, items)
    parts = {part: _held_out(folder, part) for part in ("valid", "test")}
    pairs = lengths.rows * items
    return Description(
        folder=str(folder),
        users=lengths.rows,
        items=items,
        interactions=lengths.interactions,
        density=lengths.interactions / pairs if pairs else 0.0,
        lengths=lengths,
        heads=_heads(popularity),
        unseen_items=int(np.count_nonzero(popularity == 0)),
        popularity=_curve(popularity),
        held_out={part: found for part, found in parts.items() if found is not None},
        times=manifest.get("times") or {},
        parameters=_parameters(manifest),
        counts=manifest.get("counts", {}),
        source_files=manifest.get("source", {}).get("files", []),
        warnings=manifest.get("warnings", []),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m data_prep describe DIR``: print the description; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m data_prep describe", description="Describe a prepared data set.")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the data set")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw it too: .png, .svg or .pdf")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")
    args = parser.parse_args(argv)
    try:
        found = describe(args.folder)
        print(found.as_json() if args.json else found.as_text())
        if args.picture:
            found.save_picture(args.picture)
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
