"""The evaluation files published with He et al. 2017: tiny ones by hand, each error, and the real split of ML-1M."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from .lists import Lists, arrays, lists_of

# Items of every user with their times; user 1 has one training row, user 3 has no test row, item 9 is a negative only.
TRAIN = [
    (0, 1, 5, 30),
    (0, 2, 4, 10),
    (0, 3, 1, 20),
    (1, 4, 3, 7),
    (2, 0, 5, 2),
    (2, 4, 5, 1),
    (3, 5, 2, 3),
    (3, 6, 2, 4),
]
TEST = [(0, 4, 5, 99), (1, 5, 3, 98), (2, 6, 5, 97)]
NEGATIVES = ["(0,4)\t5\t6\t9", "(1,5)\t0\t1\t2", "(2,6)\t1\t2\t3"]
SEEN = {0: {1, 2, 3}, 1: {4}, 2: {0, 4}, 3: {5, 6}}


def tabs(rows: Sequence[Sequence[object]], width: int = 4) -> str:
    return "".join("\t".join(map(str, row[:width])) + "\n" for row in rows)


def publish(
    folder: Path,
    train: str | None = None,
    test: str | None = None,
    negatives: str | None = None,
    packed: Sequence[str] = (),
) -> Path:
    """Write the three files; those named in `packed` are gzipped."""
    folder.mkdir(exist_ok=True)
    contents = {
        "train.rating": tabs(TRAIN) if train is None else train,
        "test.rating": tabs(TEST) if test is None else test,
        "test.negative": "\n".join(NEGATIVES) + "\n" if negatives is None else negatives,
    }
    for name, content in contents.items():
        if name in packed:
            (folder / f"tiny.{name}.gz").write_bytes(gzip.compress(content.encode()))
        else:
            (folder / f"tiny.{name}").write_text(content)
    return folder


def without(data: Lists) -> dict[int, set[int]]:
    """Training and validation items together."""
    train, valid, _ = data.split()
    return {user: items | ({valid[user]} if user in valid else set()) for user, items in train.items()}


def test_the_contents(prepare: Any, tmp_path: Path) -> None:
    data = prepare("he2017", "--raw", publish(tmp_path / "raw"))
    found = lists_of(data)
    assert (found.users, found.items) == ([0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6, 9])
    assert found.split() == ({0: {2, 3}, 1: {4}, 2: {4}, 3: {5}}, {0: 1, 2: 0, 3: 6}, {0: 4, 1: 5, 2: 6})
    assert [one.candidates for one in found.lists("test")] == [[4, 5, 6, 9], [5, 0, 1, 2], [6, 1, 2, 3]]
    assert {one.user: one.shown for one in found.lists("test")} == {user: SEEN[user] for user in range(3)}
    assert {one.user: one.shown for one in found.lists("valid")} == {0: {2, 3}, 2: {4}, 3: {5}}
    history = {**SEEN, **{user: SEEN[user] | {item} for user, item, *_ in TEST}}
    for one in found.lists("valid"):
        assert len(set(one.candidates)) == 4
        assert not history[one.user] & set(one.candidates[1:])
    assert data.manifest["counts"] == {
        "rows_read": 11, "duplicates_dropped": 0, "events": 11, "users": 4, "items": 8, "train_users": 4,
        "train_items": 8, "train_events": 5, "held_out_users": 3, "validation_users": 3,
    }  # fmt: skip


def test_only_ids_that_occur_are_users_and_items(prepare: Any, tmp_path: Path) -> None:
    """Ids with gaps: item 7777 is in the test only, items 90, 30005 and 40005 are negatives only."""
    train = [(u, 1005 * i, 5, u + i) for u in (3, 10, 1_000_000_017) for i in (1, 2, 3, 4) if (u, i) != (3, 4)]
    test = [(3, 7777, 5, 9), (10, 30_000, 5, 9), (1_000_000_017, 30_000, 5, 9)]
    negatives = "(3,7777)\t90\t4020\n(10,30000)\t30005\t90\n(1000000017,30000)\t40005\t7777\n"
    data = prepare("he2017", "--raw", publish(tmp_path / "raw", tabs(train), tabs(test), negatives))
    found = lists_of(data)
    assert found.users == [3, 10, 1_000_000_017]
    assert found.items == [90, 1005, 2010, 3015, 4020, 7777, 30_000, 30_005, 40_005]
    assert without(found) == {
        3: {1005, 2010, 3015},
        10: {1005, 2010, 3015, 4020},
        1_000_000_017: {1005, 2010, 3015, 4020},
    }
    assert [one.candidates for one in found.lists("test")] == [
        [7777, 90, 4020], [30_000, 30_005, 90], [30_000, 40_005, 7777],
    ]  # fmt: skip
    assert all(len(set(one.candidates)) == 3 for one in found.lists("valid"))
    assert (data.manifest["counts"]["users"], data.manifest["counts"]["items"]) == (3, 9)


def test_errors_name_the_ids_of_the_files(refuse: Any, tmp_path: Path) -> None:
    train = tabs([(30, 1005), (30, 2010), (30, 77)], 2)
    raw = publish(tmp_path / "raw", train, "30\t77\n", "(30,77)\t9\n")
    assert "tiny.test.rating, line 1: (30,77) is in the training file too" in refuse("he2017", "--raw", raw)
    raw = publish(tmp_path / "b", train, "29\t78\n", "(29,78)\t9\n")
    assert "line 1: user 29 has no training row" in refuse("he2017", "--raw", raw)


@pytest.mark.parametrize(
    "packed", [["train.rating"], ["test.rating"], ["test.negative"], ["train.rating", "test.rating", "test.negative"]]
)
def test_gzipped_files(packed: list[str], prepare: Any, tmp_path: Path) -> None:
    plain = prepare("he2017", "--raw", publish(tmp_path / "raw"), out="plain")
    other = prepare("he2017", "--raw", publish(tmp_path / "packed", packed=packed), out="other")
    assert arrays(plain.folder) == arrays(other.folder)


def test_line_ends_of_windows(prepare: Any, tmp_path: Path) -> None:
    plain = prepare("he2017", "--raw", publish(tmp_path / "raw"), out="plain")
    parts = [text.replace("\n", "\r\n") for text in (tabs(TRAIN), tabs(TEST), "\n".join(NEGATIVES) + "\n")]
    folder = tmp_path / "windows"
    folder.mkdir()
    for name, text in zip(("train.rating", "test.rating", "test.negative"), parts, strict=True):
        (folder / f"tiny.{name}").write_bytes(text.encode())
    assert arrays(plain.folder) == arrays(prepare("he2017", "--raw", folder, out="other").folder)


@pytest.mark.parametrize("width", [2, 3])
def test_without_times_the_validation_is_drawn_by_seed(width: int, prepare: Any, tmp_path: Path) -> None:
    train = [(user, item, 5) for user in range(40) for item in range(user % 7, user % 7 + 6)]
    test = [(user, 30, 5) for user in range(40)]
    negatives = "".join(f"({user},30)\t{40 + user}\t20\n" for user in range(40))
    raw = publish(tmp_path / "raw", tabs(train, width), tabs(test, width), negatives)
    shuffled = publish(tmp_path / "shuffled", tabs(train[::-1], width), tabs(test, width), negatives)
    one, again, reordered, other = (
        lists_of(prepare("he2017", "--raw", path, "--seed", seed, out=f"o{k}"))
        for k, (path, seed) in enumerate([(raw, 1), (raw, 1), (shuffled, 1), (raw, 2)])
    )
    assert arrays(one.folder) == arrays(again.folder) == arrays(reordered.folder)
    assert one.positives("valid") != other.positives("valid")
    assert one.lists("test") == other.lists("test")
    for found in (one, other):
        assert without(found) == {user: set(range(user % 7, user % 7 + 6)) for user in range(40)}
        assert found.positives("valid").keys() == set(range(40))


def test_lists_are_put_in_the_order_of_users(prepare: Any, tmp_path: Path) -> None:
    order = [2, 0, 1]
    raw = publish(
        tmp_path / "raw", test=tabs([TEST[k] for k in order]), negatives="".join(NEGATIVES[k] + "\n" for k in order)
    )
    straight = prepare("he2017", "--raw", publish(tmp_path / "straight"), out="expected")
    assert arrays(prepare("he2017", "--raw", raw).folder) == arrays(straight.folder)


def test_repeated_training_rows_are_kept_once(prepare: Any, tmp_path: Path) -> None:
    data = prepare("he2017", "--raw", publish(tmp_path / "raw", train=tabs([*TRAIN, *TRAIN[:3]])))
    straight = prepare("he2017", "--raw", publish(tmp_path / "straight"), out="expected")
    assert arrays(data.folder) == arrays(straight.folder)
    assert data.manifest["counts"]["duplicates_dropped"] == 3


def test_equal_times_are_settled_by_the_order_of_the_file(prepare: Any, tmp_path: Path) -> None:
    train = [(0, 3, 5, 10), (0, 2, 5, 10), (0, 1, 5, 10), *TRAIN[3:]]
    found = lists_of(prepare("he2017", "--raw", publish(tmp_path / "raw", train=tabs(train))))
    assert found.positives("valid")[0] == 1


def test_the_earliest_of_repeated_rows_stays(prepare: Any, tmp_path: Path) -> None:
    train = [(0, 2, 4, 900), *TRAIN]
    found = lists_of(prepare("he2017", "--raw", publish(tmp_path / "raw", train=tabs(train))))
    assert found.positives("valid")[0] == 1


def test_mlperf_candidates_for_the_validation(prepare: Any, tmp_path: Path) -> None:
    data = lists_of(prepare("he2017", "--raw", publish(tmp_path / "raw"), "--candidates", "mlperf"))
    train = data.train()
    assert all(len(one.candidates) == 4 for one in data.lists("valid"))
    assert not any(train[one.user] & set(one.candidates[1:]) for one in data.lists("valid"))
    assert [one.candidates[1:] for one in data.lists("test")] == [[5, 6, 9], [0, 1, 2], [1, 2, 3]]


# Errors


@pytest.mark.parametrize("suffix", ["train.rating", "test.rating", "test.negative"])
def test_a_file_is_missing_or_there_twice(suffix: str, refuse: Any, tmp_path: Path) -> None:
    raw = publish(tmp_path / "raw")
    (raw / f"tiny.{suffix}.gz").write_bytes(gzip.compress(b""))
    message = refuse("he2017", "--raw", raw)
    assert f"holds tiny.{suffix}, tiny.{suffix}.gz for *.{suffix}, expected one file" in message
    (raw / f"tiny.{suffix}.gz").unlink()
    (raw / f"tiny.{suffix}").unlink()
    assert f"holds none for *.{suffix}, expected one file" in refuse("he2017", "--raw", raw)


def test_a_file_instead_of_the_folder(refuse: Any, tmp_path: Path) -> None:
    raw = publish(tmp_path / "raw")
    message = refuse("he2017", "--raw", raw / "tiny.train.rating")
    assert "is no folder, expected one with *.train.rating, *.test.rating, *.test.negative" in message


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"train": ""}, "tiny.train.rating, line 1: '', expected user, item and perhaps rating and time"),
        ({"train": "1,2,3\n"}, "tiny.train.rating, line 1: '1,2,3', expected user, item"),
        ({"test": "1\t2\t3\t4\t5\n"}, "tiny.test.rating, line 1: '1\\t2\\t3\\t4\\t5', expected user, item"),
        ({"train": "0\t1\n0\tx\n"}, "tiny.train.rating: In CSV column #1"),
        ({"train": "0\t1\n0\tx\n"}, "invalid value 'x'"),
        ({"train": "0\t1\n1.5\t1\n"}, "invalid value '1.5'"),
        ({"train": "0\t1\t5\t9\n0\t2\t5\tlate\n"}, "invalid value 'late'"),
        ({"train": "0\t1\t5\n0\t2\n"}, "tiny.train.rating: CSV parse error: "),
        ({"train": "0\t1\n0\t\n"}, "tiny.train.rating, line 2: item is empty"),
        ({"train": "0\t1\n-1\t2\n"}, "tiny.train.rating, line 2: user -1, expected 0 or more"),
        ({"test": "0\t-4\n"}, "tiny.test.rating, line 1: item -4, expected 0 or more"),
        ({"negatives": ""}, "tiny.test.negative: 0 lists of negatives for 3 test ratings, expected as many"),
        ({"negatives": "(0,4)\n(1,5)\n(2,6)\n"}, "tiny.test.negative: 3 lists of negatives for 3 test ratings"),
        ({"negatives": "\n".join(NEGATIVES[:2]) + "\n"}, "2 lists of negatives for 3 test ratings, expected as many"),
        (
            {"negatives": "\n".join([*NEGATIVES, NEGATIVES[0]]) + "\n"},
            "tiny.test.negative, line 4: negatives of (0,4), expected no more as in the test ratings",
        ),
        (
            {"negatives": "\n".join([NEGATIVES[0], "(1,6)\t0\t1\t2", NEGATIVES[2]]) + "\n"},
            "tiny.test.negative, line 2: negatives of (1,6), expected (1,5) as in the test ratings",
        ),
        (
            {"negatives": "\n".join([NEGATIVES[0], NEGATIVES[2], NEGATIVES[1]]) + "\n"},
            "line 2: negatives of (2,6), expected (1,5) as in the test ratings",
        ),
        (
            {"negatives": "\n".join([*NEGATIVES[:2], "(2,6)\t1\t2"]) + "\n"},
            "line 3: 2 negatives, the first line has 3; lists must be equally long",
        ),
        (
            {"negatives": "\n".join([*NEGATIVES[:2], "(2,6)\t1\t2\t3\t8"]) + "\n"},
            "line 3: 4 negatives, the first line has 3",
        ),
        (
            {"negatives": "\n".join([*NEGATIVES[:2], "(2,6)\t1\tmany\t3"]) + "\n"},
            "tiny.test.negative, line 3: 'many' is not an item id",
        ),
        (
            {"negatives": "\n".join([*NEGATIVES[:2], "(2,6)\t1\t-2\t3"]) + "\n"},
            "tiny.test.negative, line 3: item -2, expected 0 or more",
        ),
        ({"negatives": "0 4\t5\n"}, "tiny.test.negative, line 1: begins with '0 4', expected (user,item)"),
        (
            {"train": tabs([row for row in TRAIN if row[0] != 1])},
            "tiny.test.rating, line 2: user 1 has no training row in tiny.train.rating",
        ),
        ({"train": tabs([*TRAIN, (2, 6, 1, 1)])}, "tiny.test.rating, line 3: (2,6) is in the training file too"),
        ({"train": tabs([(0, 1), (1, 4), (2, 0)], 2)}, "no user has three items"),
    ],
)
def test_broken_files(changed: dict[str, str], message: str, refuse: Any, tmp_path: Path) -> None:
    assert message in refuse("he2017", "--raw", publish(tmp_path / "raw", **changed))


def test_a_test_user_beyond_the_training_users(refuse: Any, tmp_path: Path) -> None:
    raw = publish(tmp_path / "raw", test="0\t4\n7\t5\n", negatives="(0,4)\t5\n(7,5)\t1\n")
    assert "line 2: user 7 has no training row" in refuse("he2017", "--raw", raw)


@pytest.mark.parametrize("item", ["3000000000", "99999999999999999999"])
def test_an_id_that_is_too_large_is_refused(item: str, refuse: Any, tmp_path: Path) -> None:
    negatives = "\n".join([f"(0,4)\t5\t6\t{item}", *NEGATIVES[1:]]) + "\n"
    assert "line 1" in refuse("he2017", "--raw", publish(tmp_path / "raw", negatives=negatives))


def test_a_cut_gzip_file_is_refused(refuse: Any, tmp_path: Path) -> None:
    raw = publish(tmp_path / "raw", packed=["test.negative"])
    path = raw / "tiny.test.negative.gz"
    path.write_bytes(path.read_bytes()[:-12])
    assert "tiny.test.negative.gz" in refuse("he2017", "--raw", raw)


def test_a_digit_that_is_no_number(refuse: Any, tmp_path: Path) -> None:
    negatives = "\n".join(["(0,4)\t5\t6\t\u00b2", *NEGATIVES[1:]]) + "\n"
    assert "line 1: '\u00b2' is not an item id" in refuse(
        "he2017", "--raw", publish(tmp_path / "raw", negatives=negatives)
    )


def test_a_cut_training_file_is_named(refuse: Any, tmp_path: Path) -> None:
    raw = publish(tmp_path / "raw", packed=["train.rating"])
    path = raw / "tiny.train.rating.gz"
    path.write_bytes(path.read_bytes()[:-12])
    assert "tiny.train.rating.gz" in refuse("he2017", "--raw", raw)


def test_another_negative_file_is_another_data_set(prepare: Any, refuse: Any, tmp_path: Path) -> None:
    raw = publish(tmp_path / "raw")
    prepare("he2017", "--raw", raw)
    publish(raw, negatives="\n".join([*NEGATIVES[:2], "(2,6)\t1\t2\t9"]) + "\n")
    assert "the source files differ" in refuse("he2017", "--raw", raw, out=("out",))


# The published split


@pytest.fixture(scope="module")
def published(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The published files of ML-1M, the training file rebuilt: user = userId - 1, item = rank of first appearance."""
    folder = tmp_path_factory.mktemp("he2017")
    for name in ("ml-1m.test.rating", "ml-1m.test.negative.gz"):
        (folder / name).symlink_to(real_data / "ncf-ml-1m" / name)
    table = pd.read_parquet(real_data / "ml-1m" / "interactions.parquet")
    users, items = table["userId"].to_numpy() - 1, pd.factorize(table["movieId"])[0]
    test = pd.read_csv(folder / "ml-1m.test.rating", sep="\t", header=None)
    held_out = np.isin(users * 4000 + items, test[0].to_numpy() * 4000 + test[1].to_numpy())
    assert held_out.sum() == 6040
    rest = pd.DataFrame({"user": users[~held_out], "item": items[~held_out]})
    rest.to_csv(folder / "ml-1m.train.rating", sep="\t", header=False, index=False)
    return folder


def test_the_published_split_of_ml_1m(published: Path, prepare: Any) -> None:
    data = prepare("he2017", "--raw", published)
    counts = data.manifest["counts"]
    assert (counts["users"], counts["items"]) == (6040, 3706)
    assert counts["train_events"] + counts["validation_users"] == 994_169
    assert (counts["held_out_users"], counts["validation_users"], counts["duplicates_dropped"]) == (6040, 6040, 0)
    found = lists_of(data)
    assert found.array("test.candidates").shape == found.array("valid.candidates").shape == (6040, 100)
    with gzip.open(published / "ml-1m.test.negative.gz", "rt") as file:
        lines = [line.rstrip("\n").split("\t") for line in file]
    pairs = [tuple(map(int, pair.strip("()").split(","))) for pair, *_ in lines]
    assert found.array("test.train_rows").tolist() == [user for user, _ in pairs]
    expected = [[item, *map(int, negatives)] for (_, item), (_, *negatives) in zip(pairs, lines, strict=True)]
    assert found.array("test.candidates").tolist() == expected
    train = pd.read_csv(published / "ml-1m.train.rating", sep="\t", header=None)
    assert without(found) == train.groupby(0)[1].agg(set).to_dict()
