"""The evaluation files published with He et al. 2017: NAME.train.rating, NAME.test.rating, NAME.test.negative.

Ratings are lines `user TAB item TAB rating TAB time` (rating and time may be missing), negatives are lines
`(user,item) TAB item TAB item ...` in the order of the test ratings. Ids are whole numbers from 0 and may have gaps:
only those that occur are users and items. Each file may be gzipped.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from data_prep.given.lists import Pairs, assemble, factorize, hold_out_validation
from data_prep.split.result import Split
from data_prep.split.rules import SplitRules
from data_prep.write.feature_spec import LARGEST_ID

SUFFIXES = (".train.rating", ".test.rating", ".test.negative")
COLUMNS = ("user", "item", "rating", "time")
_NUMBER = re.compile(r"-?\d{1,18}", re.ASCII)
_PAIR = re.compile(r"\((\d+),\s*(\d+)\)")


def source_files(folder: Path) -> list[Path]:
    """The three files of the format in a folder.

    Raises:
        ValueError: one is missing, or there are several of a kind.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is no folder, expected one with *{', *'.join(SUFFIXES)}")
    files = []
    for suffix in SUFFIXES:
        found = sorted([*folder.glob(f"*{suffix}"), *folder.glob(f"*{suffix}.gz")])
        if len(found) != 1:
            names = ", ".join(f.name for f in found) or "none"
            raise ValueError(f"{folder} holds {names} for *{suffix}, expected one file")
        files.append(found[0])
    return files


@dataclass(frozen=True, kw_only=True)
class Ratings:
    """Rows of a rating file."""

    users: npt.NDArray[np.int64]
    items: npt.NDArray[np.int64]
    times: npt.NDArray[np.int64] | None


def _lines(path: Path) -> Iterator[str]:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            yield from file
    except (EOFError, zlib.error, gzip.BadGzipFile, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged: {error}") from None


def read_ratings(path: Path) -> Ratings:
    """Read a rating file.

    Raises:
        ValueError: it is empty, or a row is broken.
    """
    first = next(_lines(path), "")
    width = len(first.rstrip("\n").split("\t"))
    if not first.strip() or not 2 <= width <= len(COLUMNS):
        shown = first.strip()[:60]
        raise ValueError(
            f"{path}, line 1: {shown!r}, expected user, item and perhaps rating and time separated by tabs"
        )
    types = dict(zip(COLUMNS, (pa.int64(), pa.int64(), pa.float32(), pa.int64()), strict=True))
    try:
        table = csv.read_csv(
            path,
            read_options=csv.ReadOptions(column_names=list(COLUMNS[:width]), use_threads=False),
            parse_options=csv.ParseOptions(delimiter="\t"),
            convert_options=csv.ConvertOptions(column_types={name: types[name] for name in COLUMNS[:width]}),
        )
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: {' '.join(str(error).split())[:200]}") from None
    for name in COLUMNS[:width]:
        if table[name].null_count:
            line = int(np.argmax(table[name].is_null().to_numpy())) + 1
            raise ValueError(f"{path}, line {line}: {name} is empty")
    users, items = table["user"].to_numpy(), table["item"].to_numpy()
    for name, values in (("user", users), ("item", items)):
        if (wrong := (values < 0) | (values > LARGEST_ID)).any():
            line = int(np.argmax(wrong)) + 1
            expected = "0 or more" if values[line - 1] < 0 else f"{LARGEST_ID} at most"
            raise ValueError(f"{path}, line {line}: {name} {values[line - 1]}, expected {expected}")
    return Ratings(users=users, items=items, times=table["time"].to_numpy() if width == len(COLUMNS) else None)


def read_negatives(path: Path, test: Ratings) -> npt.NDArray[np.int32]:
    """int32 [S, N] the negatives of every test rating.

    Raises:
        ValueError: a line is broken, belongs to another pair, or is longer or shorter than the first.
    """
    rows: list[npt.NDArray[np.int64]] = []
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}, line {number}"
        pair, *items = line.rstrip("\n").split("\t")
        match = _PAIR.fullmatch(pair.strip())
        if match is None:
            raise ValueError(f"{where}: begins with {pair[:40]!r}, expected (user,item)")
        if number > len(test.users) or (int(match[1]), int(match[2])) != (
            test.users[number - 1],
            test.items[number - 1],
        ):
            wanted = f"({test.users[number - 1]},{test.items[number - 1]})" if number <= len(test.users) else "no more"
            raise ValueError(f"{where}: negatives of {pair}, expected {wanted} as in the test ratings")
        given = [item for item in items if item]
        if wrong := [item for item in given if not _NUMBER.fullmatch(item)]:
            raise ValueError(f"{where}: {wrong[0][:40]!r} is not an item id")
        row = np.array([int(item) for item in given], np.int64)
        if rows and len(row) != len(rows[0]):
            raise ValueError(
                f"{where}: {len(row)} negatives, the first line has {len(rows[0])}; lists must be equally long"
            )
        if len(row) and not 0 <= row.min() <= row.max() <= LARGEST_ID:
            low = row.min() < 0
            expected = "0 or more" if low else f"{LARGEST_ID} at most"
            raise ValueError(f"{where}: item {row.min() if low else row.max()}, expected {expected}")
        rows.append(row)
    if len(rows) != len(test.users) or not rows or not len(rows[0]):
        raise ValueError(f"{path}: {len(rows)} lists of negatives for {len(test.users)} test ratings, expected as many")
    return np.stack(rows).astype(np.int32)


def _without_repeats(rows: Ratings, n_items: int) -> tuple[Ratings, int]:
    """Every pair once, at its earliest time, in the order of the file; and how many rows went."""
    by_time = np.arange(len(rows.users)) if rows.times is None else np.argsort(rows.times, kind="stable")
    first = np.unique((rows.users * n_items + rows.items)[by_time], return_index=True)[1]
    kept = np.sort(by_time[first])
    times = None if rows.times is None else rows.times[kept]
    return Ratings(users=rows.users[kept], items=rows.items[kept], times=times), len(rows.users) - len(kept)


def read(folder: Path, rules: SplitRules) -> Split:
    """The published split, with an item of every user drawn from training for validation.

    Raises:
        ValueError: a file is broken, a test user has no training row, or a test pair is in training.
    """
    train_path, test_path, negatives_path = source_files(folder)
    train, test = read_ratings(train_path), read_ratings(test_path)
    negatives = read_negatives(negatives_path, test)
    width = int(max(train.items.max(), test.items.max(), negatives.max())) + 1
    train, repeated = _without_repeats(train, width)
    keys = train.users * width + train.items
    if not (has_rows := np.isin(test.users, train.users)).all():
        line = int(np.argmin(has_rows)) + 1
        raise ValueError(
            f"{test_path}, line {line}: user {test.users[line - 1]} has no training row in {train_path.name}; "
            "a model knows nothing of such a user"
        )
    if (both := np.isin(test.users * width + test.items, keys)).any():
        line = int(np.argmax(both)) + 1
        pair = f"({test.users[line - 1]},{test.items[line - 1]})"
        raise ValueError(f"{test_path}, line {line}: {pair} is in the training file too")
    users, user_ids = factorize(train.users)
    codes, item_ids = factorize(np.concatenate([train.items, test.items, negatives.ravel()]))
    items, test_items, negative_items = np.split(codes, [len(train.items), len(train.items) + len(test.items)])
    kept, valid = hold_out_validation(users, items, train.times, rules.seed)
    order = np.argsort(test.users, kind="stable")
    return assemble(
        kept,
        valid,
        Pairs(users=np.searchsorted(user_ids, test.users[order]), items=test_items[order]),
        user_ids=user_ids,
        item_ids=item_ids,
        rules=replace(rules, negatives=negatives.shape[1]),
        counts={
            "rows_read": len(users) + repeated + len(test.users),
            "duplicates_dropped": repeated,
            "events": len(users) + len(test.users),
        },
        test_negatives=negative_items.reshape(negatives.shape)[order],
    )
