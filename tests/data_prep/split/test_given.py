"""Parts that are given: one line a user as LightGCN publishes them, or rows; with and without a validation part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.data_prep.conftest import Prepared

# User 0 has 10 training items; user 3 none at all; user 5 is in the test only; test item 99 is not in training;
# pair (1, 2) is in both; user 1 has item 4 twice.
TRAIN = "0 0 1 2 3 4 5 6 7 8 9\n1 1 2 4 4\n2 3 5\n3\n"
TEST = "0 10 99\n1 2 5\n2 0\n3\n5 1 2\n"
VALID = "0 11\n2 5 6\n"
LISTS = ("--protocol", "given", "--format", "lists", "--min-user-items", "1")


def pairs(data: Prepared, name: str) -> set[tuple[Any, Any]]:
    """(user, item) ids of a matrix; rows of held-out sets are training users."""
    users, items = data.users("train"), data.items["item_id"].tolist()
    indptr, indices = (np.load(data.folder / f"{name}.{part}.npy") for part in ("indptr", "indices"))
    if name != "train":
        rows = np.load(data.folder / f"{name.split('.')[0]}.train_rows.npy")
        users = [users[row] for row in rows]
    return {(u, items[i]) for k, u in enumerate(users) for i in indices[indptr[k] : indptr[k + 1]]}


def lists(text: str) -> set[tuple[int, int]]:
    return {(int(u), int(i)) for u, *items in map(str.split, text.splitlines()) for i in items}


def write(folder: Path, **texts: str) -> list[str | Path]:
    words: list[str | Path] = []
    for name, text in texts.items():
        (folder / f"{name}.txt").write_text(text)
        words += [f"--{name}", folder / f"{name}.txt"]
    return words


def test_with_validation_typed_by_hand(prepare: Any, tmp_path: Path) -> None:
    data = prepare("table", *write(tmp_path, train=TRAIN, valid=VALID, test=TEST), *LISTS)
    assert pairs(data, "train") == lists(TRAIN)
    assert data.users("train") == [0, 1, 2]
    assert pairs(data, "valid.fold_out") == {(0, 11), (2, 6)}
    assert pairs(data, "valid.fold_in") == {(u, i) for u, i in lists(TRAIN) if u in (0, 2)}
    assert pairs(data, "test.fold_out") == {(0, 10), (0, 99), (1, 5), (2, 0)}
    assert pairs(data, "test.fold_in") == lists(TRAIN) | {(0, 11), (2, 6)}
    assert data.items["item_id"].tolist() == [*range(12), 99]
    assert not (data.folder / "test.candidates.npy").exists()
    counts = data.manifest["counts"]
    assert (counts["rows_read"], counts["duplicates_dropped"]) == (16 + 3 + 7, 1)
    assert data.manifest["warnings"] == [
        "1 pairs of --valid are in a part before it too, and are left out of it",
        "1 pairs of --test are in a part before it too, and are left out of it",
        "1 users of --test have no training interaction and are left out",
        "1 repeated (user, item) pairs were kept once",
    ]


def test_without_validation(prepare: Any, tmp_path: Path) -> None:
    """A tenth of each user's training items is drawn: 1 of the 10 of user 0, none of users with fewer."""
    data = prepare("table", *write(tmp_path, train=TRAIN, test=TEST), *LISTS)
    drawn = pairs(data, "valid.fold_out")
    assert len(drawn) == 1
    assert drawn < {(0, i) for i in range(10)}
    assert pairs(data, "train") == lists(TRAIN) - drawn
    assert pairs(data, "test.fold_in") == lists(TRAIN)
    assert pairs(data, "test.fold_out") == {(0, 10), (0, 99), (1, 5), (2, 0)}


def _csv(text: str, user: str = "", item: str = "") -> str:
    return "user,item\n" + "".join(f"{user}{u},{item}{i}\n" for u, i in sorted(lists(text), reverse=True))


def test_rows_and_text_ids(prepare: Any, tmp_path: Path) -> None:
    of_lists = prepare("table", *write(tmp_path, train=TRAIN, valid=VALID, test=TEST), *LISTS, out="lists")
    texts = {"train": _csv(TRAIN), "valid": _csv(VALID), "test": _csv(TEST)}
    of_rows = prepare("table", *write(tmp_path, **texts), "--protocol", "given", out="rows")
    for name in ("train", "valid.fold_in", "valid.fold_out", "test.fold_in", "test.fold_out"):
        assert pairs(of_rows, name) == pairs(of_lists, name)
    texts = {"train": _csv(TRAIN, "u", "é"), "valid": _csv(VALID, "u", "é"), "test": _csv(TEST, "u", "é")}
    of_text = prepare("table", *write(tmp_path, **texts), "--protocol", "given", out="text")
    for name in ("train", "valid.fold_in", "valid.fold_out", "test.fold_in", "test.fold_out"):
        assert pairs(of_text, name) == {(f"u{u}", f"é{i}") for u, i in pairs(of_lists, name)}


def test_ratings_of_the_parts(prepare: Any, tmp_path: Path) -> None:
    header = "user,item,rating\n"
    words = write(
        tmp_path,
        train=header + "".join(f"{u},{i},{4.0 if i < 5 else 2.0}\n" for u in range(3) for i in range(8)),
        valid=header + "0,6,5.0\n0,7,1.0\n",
        test=header + "1,6,4.5\n2,5,3.5\n",
    )
    data = prepare("table", *words, "--protocol", "given")
    assert pairs(data, "train") == {(u, i) for u in range(3) for i in range(5)}
    assert pairs(data, "valid.fold_out") == {(0, 6)}
    assert pairs(data, "test.fold_out") == {(1, 6)}
    assert data.manifest["counts"]["rows_below_threshold"] == 9 + 1 + 1


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        (_csv(TRAIN), _csv(TEST, "u"), "the user ids of --train are whole numbers and those of --test are text"),
        (_csv(TRAIN, "", "x"), _csv(TEST), "the item ids of --test are whole numbers and those of --train are text"),
    ],
)
def test_ids_of_two_types(train: str, test: str, message: str, refuse: Any, tmp_path: Path) -> None:
    found = refuse("table", *write(tmp_path, train=train, test=test), "--protocol", "given")
    assert found == f"error: {message}; write them alike"


def test_ids_that_are_text_in_one_file_of_typed_ones(refuse: Any, tmp_path: Path) -> None:
    for name, kind in (("train", "int64"), ("test", "string")):
        frame = pd.DataFrame({"user": np.arange(20) // 2, "item": np.arange(20)})
        frame.astype({"user": kind}).to_parquet(tmp_path / f"{name}.parquet")
    words = ["--train", tmp_path / "train.parquet", "--test", tmp_path / "test.parquet", "--protocol", "given"]
    assert "are whole numbers and those of --test are text" in refuse("table", *words)


def test_nothing_is_left_of_a_part(refuse: Any, tmp_path: Path) -> None:
    words = write(tmp_path, train=TRAIN, test="0 1 2\n")
    assert "--test holds no interaction that is not in training already" in refuse("table", *words, *LISTS)
    words = write(tmp_path, train=TRAIN, test="77 1 2\n88 3\n")
    message = refuse("table", *words, *LISTS)
    assert "no user of --test has a training interaction; do --train and --test name users alike?" in message
    words = write(tmp_path, train="0 1 2\n1 3\n", test="0 3\n")
    assert "--valid holds no interaction" in refuse("table", *words, *LISTS)


def test_one_part_is_missing(refuse: Any, tmp_path: Path) -> None:
    words = write(tmp_path, train=TRAIN)
    assert "--protocol given needs --train FILE and --test FILE" in refuse("table", *words, *LISTS)
