"""Data sets in memory: ids of any type, the splits of `data_prep`, errors that say what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp

from recsys_core import Dataset
from recsys_core.errors import UserError

ROWS = [
    ("ann@example.org", "sku-2", 30),
    ("ann@example.org", "sku-1", 10),
    ("bob@example.org", "sku-1", 5),
    ("ann@example.org", "sku-1", 40),  # again: the earliest counts
    ("bob@example.org", "sku-3", 6),
]


def frame() -> pd.DataFrame:
    return pd.DataFrame(ROWS, columns=["email", "sku", "bought_at"])


def tables() -> list[Any]:
    import polars as pl

    return [frame(), pa.Table.from_pandas(frame()), pl.from_pandas(frame())]


@pytest.mark.parametrize("kind", [0, 1, 2], ids=["pandas", "pyarrow", "polars"])
def test_a_table_of_text_ids(kind: int) -> None:
    data = Dataset.from_frame(tables()[kind], user="email", item="sku", time="bought_at")
    assert data.users["user_id"].tolist() == ["ann@example.org", "bob@example.org"]
    assert data.items["item_id"].tolist() == ["sku-1", "sku-2", "sku-3"]
    assert data.items["count"].tolist() == [2, 1, 1]
    assert data.train.to_scipy().toarray().tolist() == [[1, 1, 0], [1, 0, 1]]
    assert data.events is not None
    assert data.events.block.items.tolist() == [0, 1, 0, 2]  # ann's at 10 and 30, bob's at 5 and 6
    assert not data.is_split


@pytest.mark.parametrize("ids", [[1_234_567_890, 9_876_543_210, -5], [2**62, 2**62 + 1, 7], [True, False, True]])
def test_ids_keep_their_type(ids: list[Any]) -> None:
    data = Dataset.from_frame(pd.DataFrame({"user": ids, "item": ids}))
    assert data.users["user_id"].tolist() == sorted(set(ids))
    assert data.items["item_id"].dtype == pd.Series(ids).dtype


def test_titles_come_along() -> None:
    named = frame().assign(name=["two", "one", "one", "one", "three"])
    data = Dataset.from_frame(named, user="email", item="sku", title="name")
    assert data.items["title"].tolist() == ["one", "two", "three"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"user": "mail"}, r"no column 'mail' for user; its columns are: email, sku, bought_at"),
        ({"time": "when"}, "no column 'when' for time"),
    ],
)
def test_a_column_that_is_not_there(change: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Dataset.from_frame(frame(), **{"user": "email", "item": "sku"} | change)


def test_rows_that_cannot_be_used() -> None:
    lacking = frame()
    lacking.loc[1, "sku"] = None
    with pytest.raises(UserError, match="1 of 5 rows have no item; remove these rows first"):
        Dataset.from_frame(lacking, user="email", item="sku")
    with pytest.raises(UserError, match="the table has no rows"):
        Dataset.from_frame(frame().iloc[:0], user="email", item="sku")
    with pytest.raises(UserError, match="the table is a int, expected a pandas, pyarrow or polars one"):
        Dataset.from_frame(3, user="email", item="sku")


def test_a_matrix_with_ids() -> None:
    matrix = sp.csr_matrix(np.array([[0, 5, 0], [1, 0, 1]]))
    data = Dataset.from_csr(matrix, user_ids=["a", "b"], item_ids=[10, 20, 30])
    assert data.train.indices.tolist() == [1, 0, 2]
    assert data.items["item_id"].tolist() == [10, 20, 30]
    with pytest.raises(UserError, match="user_ids holds 1 ids, expected 2 as in the matrix"):
        Dataset.from_csr(matrix, user_ids=["a"])


def events(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    pairs = pd.DataFrame({"user": rng.integers(1, 90, 1500), "item": rng.zipf(1.3, 1500) % 70}).drop_duplicates()
    return pairs.assign(time=rng.integers(0, 10**6, len(pairs)))


def prepared(folder: Path, protocol: str, *words: str) -> Dataset:
    """The same events, prepared by the command."""
    from data_prep.__main__ import main

    events().rename(columns={"user": "userId", "item": "movieId", "time": "timestamp"}).assign(rating=5.0)[
        ["userId", "movieId", "rating", "timestamp"]
    ].to_csv(folder / "ratings.csv", index=False)
    line = ["csv", "--raw", str(folder / "ratings.csv"), "--protocol", protocol, "--out", str(folder / "data"), *words]
    assert main(line) == 0
    return Dataset.open(folder / "data")


def same(ours: Dataset, theirs: Dataset) -> None:
    for split in ("valid", "test"):
        for part in ("fold_in", "fold_out"):
            one, other = (getattr(d.held_out(split), part) for d in (ours, theirs))
            assert one.indptr.tolist() == other.indptr.tolist()
            assert one.indices.tolist() == other.indices.tolist()
    assert ours.train.indices.tolist() == theirs.train.indices.tolist()
    assert ours.items["item_id"].tolist() == theirs.items["item_id"].tolist()
    for name in ("train", "valid", "test"):
        mine, command = (d.users[d.users["split"] == name]["user_id"].tolist() for d in (ours, theirs))
        assert mine == command


def test_users_are_held_out_as_the_command_does(tmp_path: Path) -> None:
    theirs = prepared(tmp_path, "default", "--held-out-users", "12")
    same(Dataset.from_frame(events()).split("users", held_out=12), theirs)


def test_items_are_held_out_as_the_command_does(tmp_path: Path) -> None:
    theirs = prepared(tmp_path, "leave-one-out", "--negatives", "20")
    ours = Dataset.from_frame(events(), time="time").split("leave-one-out", negatives=20)
    same(ours, theirs)
    for split in ("valid", "test"):
        mine, command = ours.held_out(split), theirs.held_out(split)
        assert mine.train_rows is not None and command.train_rows is not None
        assert mine.train_rows.tolist() == command.train_rows.tolist()
        assert mine.candidates is not None and command.candidates is not None
        assert mine.candidates.tolist() == command.candidates.tolist()


@pytest.mark.parametrize(
    ("protocol", "rules", "message"),
    [
        ("random", {}, "unknown protocol 'random', known are: users, leave-one-out, time, per-user"),
        ("users", {"share": 0.1}, "unknown rule 'share' of split.'users'., known are: held_out, fold_out, seed"),
        ("users", {"held_out": 60}, "cannot hold out 60 users for validation and 60 for test"),
        ("users", {"min_user_items": 1000}, "no user has 1000 items"),
        ("leave-one-out", {"negatives": 69}, "negatives is 69, but a user has only"),
    ],
)
def test_a_split_that_cannot_be(protocol: str, rules: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Dataset.from_frame(events()).split(protocol, **rules)


def test_ratings_as_the_documentation_says_are_what_the_command_keeps(tmp_path: Path) -> None:
    """Repeated ratings: the latest of each pair, then those above the threshold."""
    from data_prep.__main__ import main

    rng = np.random.default_rng(3)
    columns = {"user": rng.integers(1, 40, 2000), "item": rng.integers(1, 30, 2000), "time": rng.permutation(2000)}
    table = pd.DataFrame({**columns, "rating": rng.integers(1, 6, 2000)})
    names = ["--user-column", "user", "--item-column", "item", "--time-column", "time"]
    table.to_csv(tmp_path / "r.csv", index=False)
    line = ["csv", "--raw", str(tmp_path / "r.csv"), *names, "--held-out-users", "5", "--out", str(tmp_path / "data")]
    assert main(line) == 0
    latest = table.sort_values("time").drop_duplicates(["user", "item"], keep="last")
    same(Dataset.from_frame(latest[latest["rating"] > 3.5]).split("users", held_out=5), Dataset.open(tmp_path / "data"))


def test_a_split_is_made_once() -> None:
    data = Dataset.from_frame(events()).split("users")
    with pytest.raises(UserError, match="is split already"):
        data.split("users")


def test_the_fingerprint_tells_contents_apart() -> None:
    one, same_again, other = Dataset.from_frame(events()), Dataset.from_frame(events()), Dataset.from_frame(events(1))
    assert one.fingerprint == same_again.fingerprint != other.fingerprint
    assert one.split("users").fingerprint != one.fingerprint


def test_a_file_without_permission_is_one_line(
    tiny_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may read everything, so the refusal of the operating system is made by hand."""

    def refuse(self: Path, *args: Any, **options: Any) -> str:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UserError, match="manifest.json cannot be read: Permission denied; check its permissions"):
        Dataset.open(tiny_data)


@pytest.mark.parametrize(
    ("times", "order"),
    [
        (["7", "12", "9"], [0, 2, 1]),  # numbers as text
        (["2024-02-01T10:00:00+02:00", "2024-02-01T09:00:00Z", "2024-01-31"], [2, 0, 1]),
        ([pd.Timestamp("2024-03-01"), pd.Timestamp("2023-03-01"), pd.Timestamp("2024-01-01")], [1, 2, 0]),
    ],
)
def test_times_of_any_kind_are_ordered_by_time(times: list[Any], order: list[int]) -> None:
    rows = pd.DataFrame({"user": [1, 1, 1], "item": [0, 1, 2], "time": times})
    data = Dataset.from_frame(rows, time="time")
    assert data.events is not None
    assert data.events.block.items.tolist() == order
    with pytest.raises(UserError, match="the times cannot be read"):
        Dataset.from_frame(rows.assign(time=["soon", "later", "now"]), time="time")


def test_tables_that_cannot_be_read_say_so() -> None:
    import polars as pl

    twice = pd.DataFrame([[1, 2, 3]], columns=["user", "item", "item"])
    with pytest.raises(UserError, match="the table has 2 columns 'item'; rename one of them"):
        Dataset.from_frame(twice)
    with pytest.raises(UserError, match=r"call .collect\(\) on it first"):
        Dataset.from_frame(pl.LazyFrame({"user": [1], "item": [2]}))
    with pytest.raises(UserError, match="the matrix is a list, expected a scipy sparse matrix"):
        Dataset.from_csr([[1, 0]])  # type: ignore[arg-type]
    with pytest.raises(UserError, match="user_ids holds an id twice, or none"):
        Dataset.from_csr(sp.eye(2).tocsr(), user_ids=["a", "a"])
    assert Dataset.from_csr(np.array([[0, 1], [1, 1]])).train.indices.tolist() == [1, 0, 1]
