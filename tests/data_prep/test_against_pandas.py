"""Random tables with repeats through the command, in every form, against a naive computation with pandas."""

from __future__ import annotations

import gzip
import json
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

Pair = tuple[Any, Any]
START = 1_500_000_000
ODD = ("", ",c", '"q', "\nl", " ", "é", "🎉", "NA")
"""Ends of ids that delimited text has to keep."""


def random_table(seed: int) -> pd.DataFrame:
    """Users, items, and perhaps values and times, each in one of its forms."""
    rng = np.random.default_rng(seed)
    rows, users, items = int(rng.integers(200, 600)), int(rng.integers(15, 40)), int(rng.integers(10, 30))
    make = {
        "whole": lambda k: int(k) - 7,
        "large": lambda k: int(k) + 2**62,
        "zeros": lambda k: f"{k:05d}",
        "odd": lambda k: f"id{k}{ODD[k % len(ODD)]}",
    }[str(rng.choice(["whole", "large", "zeros", "odd"]))]
    table = pd.DataFrame(
        {
            "user": [make(k) for k in rng.integers(0, users, rows)],
            "item": [make(k) for k in rng.integers(0, items, rows)],
        }
    )
    values = {
        "rating": rng.integers(-2, 11, rows) / 2,
        "clicked": rng.random(rows) < 0.6,
        "plays": rng.integers(0, 4, rows),
        "none": None,
    }
    name = str(rng.choice(list(values)))
    if values[name] is not None:
        table[name] = values[name]
    seconds = START + rng.integers(0, 40, rows) * 86_400
    times = {
        "s": seconds,
        "ms": seconds * 1000 + rng.integers(0, 1000, rows),
        "iso": pd.to_datetime(seconds, unit="s").strftime("%Y-%m-%dT%H:%M:%SZ"),
        "date": pd.to_datetime(seconds, unit="s").strftime("%Y-%m-%d"),
        "none": None,
    }
    unit = str(rng.choice(list(times)))
    if times[unit] is not None:
        table["time"] = times[unit]
    return table


def positive_pairs(table: pd.DataFrame, threshold: float, min_items: int) -> set[Pair]:
    """As docs/data.md says: the latest rating or label counts, and the sum of counts."""
    if "plays" in table:
        total = table.groupby(["user", "item"])["plays"].sum()
        pairs = total[total > threshold].reset_index()
    elif value := next((name for name in ("rating", "clicked") if name in table), None):
        ordered = table.sort_values("time", kind="stable") if "time" in table else table
        latest = ordered.drop_duplicates(["user", "item"], keep="last")
        pairs = latest[latest[value].astype(float) > threshold]
    else:
        pairs = table.drop_duplicates(["user", "item"])
    lengths = pairs.groupby("user")["item"].transform("size")
    return set(pairs.loc[lengths >= min_items, ["user", "item"]].itertuples(index=False, name=None))


def write(table: pd.DataFrame, form: str, folder: Path) -> list[str]:
    """Write the table; returns the flags that read it."""
    if form == "csv":
        table.to_csv(folder / "a.csv", index=False)
        return ["--raw", str(folder / "a.csv")]
    if form == "gz":
        with gzip.open(folder / "b.csv.gz", "wt") as file:
            table.to_csv(file, index=False, sep=";")
        return ["--raw", str(folder / "b.csv.gz")]
    if form == "parquet":
        (folder / "p").mkdir()
        for k, start in enumerate(range(0, len(table), 150)):
            table[start : start + 150].to_parquet(folder / "p" / f"part-{k}.parquet", index=False, row_group_size=50)
        return ["--raw", str(folder / "p")]
    if form == "json":
        lines = [
            json.dumps({name: getattr(v, "item", lambda v=v: v)() for name, v in row.items()})
            for row in table.to_dict("records")
        ]
        (folder / "c.jsonl").write_text("".join(f"{line}\n" for line in lines))
        return ["--raw", str(folder / "c.jsonl")]
    with sqlite3.connect(folder / "s.db") as database:
        table.to_sql("t", database, index=False)
    return ["--database", f"sqlite:///{folder / 's.db'}", "--sql", "t"]


def all_pairs(folder: Path) -> tuple[set[Pair], set[Any]]:
    """The pairs of all parts of a data set, and its training users; read with NumPy and pandas only."""
    items = pd.read_parquet(folder / "items.parquet")["item_id"].tolist()
    users = pd.read_parquet(folder / "users.parquet")
    pairs: list[Pair] = []
    for matrix in ("train", "valid.fold_in", "valid.fold_out", "test.fold_in", "test.fold_out"):
        starts, indices = (np.load(folder / f"{matrix}.{part}.npy") for part in ("indptr", "indices"))
        own = users[users["split"] == matrix.split(".")[0]].sort_values("index")["user_id"].tolist()
        for user, start, end in zip(own, starts[:-1], starts[1:], strict=True):
            pairs += [(user, items[item]) for item in indices[start:end]]
    assert len(set(pairs)) == len(pairs)
    return set(pairs), set(users.loc[users["split"] == "train", "user_id"])


FORMS: Sequence[str] = ("csv", "gz", "parquet", "json", "sqlite")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(8))
def test_the_pairs_are_those_of_pandas(seed: int, form: str, prepare: Any, tmp_path: Path) -> None:
    table = random_table(seed)
    threshold, min_items = (1.5 if "rating" in table else 0.0), 1 + seed % 3
    if form == "sqlite" and "time" in table:  # of equal times the row with the largest value comes last
        table = table.sort_values(["time", *(n for n in ("rating", "clicked") if n in table)], kind="stable")
    elif form == "sqlite":
        table = table.sort_values(["user", "item", *(n for n in ("rating", "clicked") if n in table)], kind="stable")
    expected = positive_pairs(table, threshold, min_items)
    words = ["--threshold", str(threshold), "--min-user-items", str(min_items), "--held-out-users", "2"]
    done = prepare("table", *write(table, form, tmp_path), *words)
    found, training = all_pairs(done.folder)
    assert found <= expected
    known = {item for user, item in expected if user in training}
    assert expected - found == {(u, i) for u, i in expected if u not in training and i not in known}
    counts = done.manifest["counts"]
    assert (counts["rows_read"], counts["events"]) == (len(table), len(expected))
