"""Answers as tables with original ids, and their files: Parquet, CSV and JSON lines.

Shape legend: P users of a part, I items, K recommended items, R rows: one for each recommended item.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serving.batch.scoring import Answers

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = ("parquet", "csv", "jsonl")
SUFFIXES = {".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
"""Ending of the name of a single file -> its format."""
ROW_GROUP = 1 << 20
"""Rows of a row group of a Parquet file."""


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """The items as the columns of a table show them."""

    item_ids: npt.NDArray
    """[I] original ids: int64, or str in an object array."""
    titles: Sequence[str] | None
    """[I]; None where the data set has no titles."""


def answers_table(ids: npt.NDArray, answers: Answers, catalogue: Catalogue, *, with_source: bool) -> pa.Table:
    """user, rank, item, score, title (where there are titles), source (if asked: "model" or "popular").

    Args:
        ids: [P] original ids of the users.
    """
    import pyarrow as pa

    users, ranks = np.nonzero(answers.items >= 0)
    items = answers.items[users, ranks]
    columns: dict[str, pa.Array] = {
        "user": _taken(ids, users),
        "rank": pa.array((ranks + 1).astype(np.int32)),
        "item": _taken(catalogue.item_ids, items),
        "score": pa.array(answers.scores[users, ranks]),
    }
    if catalogue.titles is not None:
        columns["title"] = _taken(catalogue.titles, items)
    if with_source:
        columns["source"] = _taken(("model", "popular"), answers.popular[users].astype(np.int32))
    return pa.table(columns)


def _taken(values: npt.NDArray | Sequence[str], places: npt.NDArray) -> pa.Array:
    """The values at some places: int64, or texts."""
    import pyarrow as pa

    if isinstance(values, np.ndarray) and values.dtype != object:
        return pa.array(values[places])
    return pa.array(list(values), pa.string()).take(pa.array(places))


def write_table(table: pa.Table, path: Path, file_format: str) -> None:
    """Write the file of a part.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    {"parquet": _write_parquet, "csv": _write_csv, "jsonl": _write_json_lines}[file_format](table, path)


def _write_parquet(table: pa.Table, path: Path) -> None:
    import pyarrow.parquet as pq

    coded = [name for name in table.column_names if name != "score"]
    pq.write_table(table, path, row_group_size=ROW_GROUP, use_dictionary=coded)


def _write_csv(table: pa.Table, path: Path) -> None:
    from pyarrow import csv

    csv.write_csv(table, path)


def _write_json_lines(table: pa.Table, path: Path) -> None:
    """A line such as {"user": 1, "rank": 1, "item": 5, "score": 2.5, "title": "Heat"} for each row."""
    import pyarrow.compute as pc

    parts: list[pa.Array | str] = []
    for name, column in zip(table.column_names, table.columns, strict=True):
        parts += [f'{"{" if not parts else ", "}"{name}": ', _json_values(_one_array(column))]
    lines = pc.binary_join_element_wise(*parts, "}\n", "")
    with path.open("wb") as file:
        for start in range(0, len(lines), ROW_GROUP):
            file.write("".join(lines.slice(start, ROW_GROUP).to_pylist()).encode())


def _one_array(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    found = column.combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)


def _json_values(column: pa.Array) -> pa.Array:
    """The values as JSON texts; each different text is written once."""
    import pyarrow as pa

    if not pa.types.is_string(column.type):
        return column.cast(pa.string())
    coded = column.dictionary_encode()
    texts = pa.array([json.dumps(v, ensure_ascii=False) for v in coded.dictionary.to_pylist()], pa.string())
    return texts.take(coded.indices)


def join_files(parts: Sequence[Path], path: Path, file_format: str) -> None:
    """Write the rows of files, one after another, as one file."""
    if file_format == "parquet":
        _join_parquet(parts, path)
        return
    with path.open("wb") as joined:
        for number, part in enumerate(parts):
            with part.open("rb") as file:
                if number and file_format == "csv":
                    file.readline()  # the names of the columns
                while block := file.read(1 << 22):
                    joined.write(block)


def _join_parquet(parts: Sequence[Path], path: Path) -> None:
    import pyarrow.parquet as pq

    schema = pq.read_schema(parts[0])
    coded = [name for name in schema.names if name != "score"]
    with pq.ParquetWriter(path, schema, use_dictionary=coded) as writer:
        for part in parts:
            writer.write_table(pq.read_table(part), row_group_size=ROW_GROUP)
