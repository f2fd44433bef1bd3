"""Parquet and Arrow: files, folders of parts, partitions, shares of ranks, parts that differ, damaged files."""

from __future__ import annotations

import datetime
import gzip
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from data_prep.read import columnar

from .reading import opened, read, rows_of

COUNT = 2_000
TABLE = pa.table(
    {
        "user": [f"u{k % 83}@x.org" for k in range(COUNT)],
        "item": pa.array([k % 41 for k in range(COUNT)], pa.int64()),
        "rating": pa.array([k % 5 + 0.5 for k in range(COUNT)], pa.float64()),
        "time": pa.array([1_000_000_000 + k for k in range(COUNT)], pa.int64()),
        "note": ["x"] * COUNT,
    }
)
ROWS = [(f"u{k % 83}@x.org", k % 41, k % 5 + 0.5, 1_000_000_000 + k) for k in range(COUNT)]


def write_stream(table: pa.Table, path: Path, rows: int) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table, max_chunksize=rows)


def write(kind: str, path: Path, table: pa.Table = TABLE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "parquet":
        pq.write_table(table, path, row_group_size=170)
    elif kind == "arrow":
        feather.write_feather(table, path, chunksize=170, compression="zstd")
    elif kind == "feather 1":
        feather.write_feather(table, path, version=1)
    elif kind == "stream":
        write_stream(table, path, 170)
    else:
        write(kind.removesuffix(".gz"), path, table)
        path.write_bytes(gzip.compress(path.read_bytes()))
    return path


@pytest.mark.parametrize("ranks", [1, 2, 5, 40])
@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream", "feather 1", "parquet.gz"])
def test_the_same_rows(kind: str, ranks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columnar, "BATCH_ROWS", 100)
    path = write(kind, tmp_path / "without a suffix")
    source = opened(path)
    assert source.rows_estimate() == COUNT
    assert rows_of(source, ranks=ranks) == ROWS


@pytest.mark.parametrize("ranks", [1, 3])
def test_a_folder_as_spark_writes_it(ranks: int, tmp_path: Path) -> None:
    for k in range(4):
        write("parquet", tmp_path / "t" / f"part-{k:05}-ab12-c000.snappy.parquet", TABLE.slice(k * 500, 500))
        (tmp_path / "t" / f".part-{k:05}-ab12-c000.snappy.parquet.crc").write_bytes(b"crc\0")
    write("parquet", tmp_path / "t" / "part-00009.parquet", TABLE.slice(0, 0))
    (tmp_path / "t" / "_SUCCESS").touch()
    assert read(tmp_path / "t", ranks=ranks) == ROWS
    assert read(tmp_path / "t" / "*.parquet", ranks=ranks) == ROWS


@pytest.mark.parametrize("ranks", [1, 2])
def test_partition_columns(ranks: int, tmp_path: Path) -> None:
    table = pa.table({"user": [3, 1, 2, 1], "item": ["a", "b", "c", "d"], "country": ["DE", "FR", "DE", "FR"]})
    ds.write_dataset(table, tmp_path / "t", format="parquet", partitioning=["country"], partitioning_flavor="hive")
    assert read(tmp_path / "t", ranks=ranks) == [(3, "a"), (2, "c"), (1, "b"), (1, "d")]
    assert read(tmp_path / "t", ranks=ranks, user="country") == [("DE", "a"), ("DE", "c"), ("FR", "b"), ("FR", "d")]
    ds.write_dataset(table, tmp_path / "u", format="parquet", partitioning=["user"], partitioning_flavor="hive")
    assert read(tmp_path / "u", ranks=ranks) == [(1, "b"), (1, "d"), (2, "c"), (3, "a")]


def test_integers_of_other_sizes_and_dictionaries_are_the_same_schema(tmp_path: Path) -> None:
    write("parquet", tmp_path / "t" / "a.parquet", pa.table({"user": pa.array([1], pa.int32()), "item": ["a"]}))
    item = pa.array(["b"]).dictionary_encode()
    write("parquet", tmp_path / "t" / "b.parquet", pa.table({"item": item, "user": pa.array([2**40], pa.int64())}))
    assert read(tmp_path / "t") == [(1, "a"), (2**40, "b")]


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"user": [1], "thing": [1]}, r"b\.x has no column 'item', which a\.x has; every part needs the same columns"),
        ({"user": ["x"], "item": [1]}, r"b\.x: column 'user' is string, and int64 in a\.x; every part needs the same"),
        ({"user": [1.0], "item": [1]}, r"b\.x: column 'user' is double, and int64 in a\.x"),
    ],
)
def test_a_part_with_another_schema(other: dict[str, Any], message: str, kind: str, tmp_path: Path) -> None:
    write(kind, tmp_path / "t" / "a.x", pa.table({"user": [1], "item": [2], "extra": [3]}))
    write(kind, tmp_path / "t" / "b.x", pa.table(other))
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "t")


def test_time_stamps_in_two_units(tmp_path: Path) -> None:
    for name, unit in (("a", "us"), ("b", "ms")):
        at = pa.array([datetime.datetime(2020, 1, 1)], pa.timestamp(unit, "UTC"))
        write("parquet", tmp_path / "t" / f"{name}.parquet", pa.table({"user": [1], "item": [2], "time": at}))
    assert read(tmp_path / "t") == [(1, 2, 1577836800_000000)] * 2


def test_a_null_id_has_its_place(tmp_path: Path) -> None:
    users = pa.array([1] * 900 + [None], pa.int64())
    write("parquet", tmp_path / "r.parquet", pa.table({"user": users, "item": [1] * 901}))
    with pytest.raises(ValueError, match=r"r\.parquet, row 901: 1 rows have an empty user id"):
        read(tmp_path / "r.parquet", ranks=2)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "stream"])
def test_files_that_are_cut_or_empty(kind: str, tmp_path: Path) -> None:
    path = write(kind, tmp_path / "r")
    whole = path.read_bytes()
    for length in (len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:length])
        if kind == "stream" and length > len(whole) // 2:
            continue  # its end is a mark that may be missing
        with pytest.raises(ValueError, match=r"r is not a readable (Parquet|Arrow) file: .*; it may be cut") as error:
            read(path)
        assert "\n" not in str(error.value)
    write(kind, path, TABLE.slice(0, 0))
    with pytest.raises(ValueError, match="r holds no rows"):
        read(path)


def test_damaged_pages(tmp_path: Path) -> None:
    path = write("parquet", tmp_path / "r.parquet")
    content = bytearray(path.read_bytes())
    content[40:400] = b"\x55" * 360
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"r\.parquet is not a readable Parquet file: .*; it may be cut or damaged"):
        read(path)


def test_a_column_that_is_there_twice(tmp_path: Path) -> None:
    table = pa.table([[1], [2], [3]], names=["user", "item", "user"])
    write("parquet", tmp_path / "r.parquet", table)
    with pytest.raises(ValueError, match=r"r\.parquet: column 'user' is there twice"):
        read(tmp_path / "r.parquet")


def test_a_format_that_is_named_wrongly(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,item\n1,2\n")
    with pytest.raises(ValueError, match=r"r\.csv is not a readable Parquet file"):
        read(tmp_path / "r.csv", format="parquet")
