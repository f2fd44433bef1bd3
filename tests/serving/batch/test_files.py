"""Files of users and of histories, and the files that a batch writes."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from serving.batch.scoring import Answers
from serving.batch.tables import FORMATS, Catalogue, answers_table, join_files, write_table
from serving.batch.user_files import HistoryFile, read_users
from serving.recommend.id_files import read_items
from tests.serving.batch.linear import Items

NUMBERS, TEXTS = [10, 7_000_000_123, -5], ["a", "b,c", 'd"e\n']
QUOTED = 'user,item\nu1,"b,c"\nu2,a\nu1,a\nu1,zzz\nu1,"b,c"\n'


@pytest.fixture
def export(tmp_path: Path) -> Any:
    return Items(tmp_path, NUMBERS, int)


@pytest.fixture
def texts(tmp_path: Path) -> Any:
    return Items(tmp_path, TEXTS, str)


def _written(path: Path, content: str) -> Path:
    if path.suffix == ".gz":
        with gzip.open(path, "wt") as file:
            file.write(content)
    else:
        path.write_text(content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ids.txt", "3\n1\n3\n7000000001\n"),
        ("ids.csv", "user_id\n3\n1\n3\n7000000001\n"),
        ("ids.csv", "name,User\nx,3\ny,1\nz,3\nz,7000000001\n"),
        ("ids.tsv", "user\tname\n3\tx\n1\ty\n3\tz\n7000000001\tz\n"),
        ("ids.csv.gz", "user\n3\n1\n3\n7000000001\n"),
    ],
)
def test_users_of_a_text_file(name: str, content: str, tmp_path: Path) -> None:
    ids, _, repeated = read_users(_written(tmp_path / name, content), int)
    assert (ids.tolist(), ids.dtype, repeated) == ([3, 1, 7_000_000_001], np.int64, 1)


@pytest.mark.parametrize("values", [[3, 1], ["3", "1"], [3.0, 1.0]])
def test_users_of_a_parquet_file(values: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "ids.parquet"
    pd.DataFrame({"other": 0, "user": values}).to_parquet(path)
    assert read_users(path, int)[0].tolist() == [3, 1]
    if not isinstance(values[0], float):
        assert read_users(path, str)[0].tolist() == ["3", "1"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("ids.csv", "user\n3\nann\n", "row 2 holds 'ann', which is no whole number within int64"),
        ("ids.csv", "user\n99999999999999999999\n", "no whole number within int64"),
        ("ids.csv", "a,b\n1,2\n", "has no column user or user_id"),
        ("ids.parquet", "no parquet", "cannot be read"),
        ("ids.csv", "user,b\n,2\n", "row 1 has no id"),
    ],
)
def test_a_bad_file_of_users_is_one_line(name: str, content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_users(_written(tmp_path / name, content), int)
    assert "\n" not in str(error.value) and f"--users {tmp_path / name}" in str(error.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--users .*/none.csv does not exist"):
        read_users(tmp_path / "none.csv", int)


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl", "jsonl.gz"])
def test_histories_keep_the_order_and_the_last_of_repeated_items(kind: str, texts: Any, tmp_path: Path) -> None:
    path = tmp_path / f"h.{kind}"
    if kind == "csv":
        path.write_text(QUOTED)
    elif kind == "parquet":
        items = ["b,c", "a", "a", "zzz", "b,c"]
        pd.DataFrame({"item": items, "user": ["u1", "u2", "u1", "u1", "u1"]}).to_parquet(path)
    else:
        lines = [{"user": "u1", "items": ["b,c", "a"]}, {"user": "u2", "items": ["a"]}]
        lines.append({"user": "u1", "items": ["zzz", "b,c"]})
        _written(path, "\n".join(map(json.dumps, lines)) + "\n\n")
    source = HistoryFile(path, texts, None)
    block = source.block(0, len(source))
    assert block.ids.tolist() == ["u1", "u2"] and source.unknown_items == 1
    assert [block.histories.row(k).tolist() for k in (0, 1)] == [[0, 1], [0]]
    assert source.block(1, 2).histories.row(0).tolist() == [0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"user": 1}', "line 2 is .*expected"),
        ("[1, 2]", "line 2 is .*expected"),
        ('{"user": 1, "items": 3}', "line 2: items is '3', expected a list"),
        ('{"user": 1, "items": ["x"]}', "line 2 holds the id 'x', expected whole numbers"),
        ('{"user": true, "items": [10]}', "line 2 holds the id 'True'"),
        ('{"user": 9999999999999999999, "items": [10]}', "line 2 holds the id"),
    ],
)
def test_a_bad_line_of_histories_is_named(line: str, message: str, export: Any, tmp_path: Path) -> None:
    path = _written(tmp_path / "h.jsonl", f'{{"user": 1, "items": [10]}}\n{line}\n')
    with pytest.raises(ValueError, match=message):
        HistoryFile(path, export, None)


def _answers() -> Answers:
    items = np.array([[2, 0], [-1, -1], [1, -1]], np.int32)
    scores = np.array([[1.5, 0.1], [-np.inf, -np.inf], [1e-7, -np.inf]], np.float32)
    return Answers(items=items, scores=scores, popular=np.array([False, False, True]))


@pytest.mark.parametrize("file_format", FORMATS)
@pytest.mark.parametrize("users", [[1, 2, 7_000_000_001], ["ä", "b", 'c"\n']])
@pytest.mark.parametrize("items", [NUMBERS, TEXTS])
def test_files_hold_ids_in_their_own_type(file_format: str, users: list[Any], items: list[Any], tmp_path: Path) -> None:
    def array(ids: list[Any]) -> Any:
        return np.array(ids, np.int64 if isinstance(ids[0], int) else object)

    catalogue = Catalogue(item_ids=array(items), titles=["One", "", 'Two, "2"'])
    table = answers_table(array(users), _answers(), catalogue, with_source=True)
    paths = [tmp_path / f"{k}.{file_format}" for k in (0, 1)]
    for path in paths:
        write_table(table, path, file_format)
    joined = tmp_path / f"joined.{file_format}"
    join_files(paths, joined, file_format)
    if file_format == "parquet":
        found = pq.read_table(joined).to_pandas()
        types = {"user": int, "item": int, "rank": int, "score": float, "title": str, "source": str}
        types |= {"user": type(users[0]), "item": type(items[0])}
        assert {name: type(found[name].tolist()[0]) for name in found} == types
    elif file_format == "csv":
        found = pd.read_csv(joined, keep_default_na=False)
    else:
        found = pd.DataFrame([json.loads(line) for line in joined.read_text().splitlines()])
    expected = [
        [users[0], 1, items[2], 1.5, 'Two, "2"', "model"],
        [users[0], 2, items[0], 0.1, "One", "model"],
        [users[2], 1, items[1], 1e-7, "", "popular"],
    ]
    assert list(found.columns) == ["user", "rank", "item", "score", "title", "source"]
    assert found["score"].tolist() == pytest.approx([row[3] for row in expected * 2], rel=1e-6)
    assert found.drop(columns="score").to_numpy().tolist() == [[*row[:3], *row[4:]] for row in expected * 2]


def test_the_titles_are_left_out_where_there_are_none() -> None:
    catalogue = Catalogue(item_ids=np.array(NUMBERS), titles=None)
    assert answers_table(np.arange(3), _answers(), catalogue, with_source=False).column_names == [
        "user",
        "rank",
        "item",
        "score",
    ]


def test_lists_of_items(export: Any, tmp_path: Path) -> None:
    path = _written(tmp_path / "i.txt", "-5\n10\n999\n")
    assert read_items(path, "--allow", export).tolist() == [True, False, True]
    with pytest.raises(ValueError, match=r"--deny .*i\.txt names none of the items of the model"):
        read_items(_written(path, "item\n999\n"), "--deny", export)
