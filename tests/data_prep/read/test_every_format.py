"""Any table, written in any format, reads back as the same rows, on any number of ranks and in blocks of any size."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.read import columnar, cutting

from .reading import read

Table = dict[str, list[Any]]
_WORD = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=8).filter(str.strip)
_HARD = st.text(st.sampled_from(' ,;|:"\n\r\t0a{}é'), min_size=1, max_size=6).filter(str.strip)
_TEXT = st.one_of(_WORD, _HARD).map(str.strip)
_PLAIN = st.text(st.sampled_from("abcxyz0123456789-_.@é"), min_size=1, max_size=8)
_NUMBER = st.integers(-(2**63), 2**63 - 1)


def tables(ids: st.SearchStrategy[Any]) -> st.SearchStrategy[Table]:
    rows = st.lists(st.tuples(ids, ids, st.integers(0, 10).map(lambda k: k / 2)), min_size=1, max_size=30)
    return rows.map(
        lambda found: dict(zip(("user", "item", "rating"), map(list, zip(*found, strict=True)), strict=True))
    )


def delimited(table: Table, **options: Any) -> bytes:
    target = io.StringIO()
    writer = csv.writer(target, **options)
    writer.writerow(table)
    writer.writerows(zip(*table.values(), strict=True))
    return target.getvalue().encode()


def arrow(table: Table, write: Callable[[pa.Table, Any], None]) -> bytes:
    sink = io.BytesIO()
    write(pa.table(table), sink)
    return sink.getvalue()


def lines(table: Table) -> bytes:
    rows = zip(*table.values(), strict=True)
    return "".join(json.dumps(dict(zip(table, row, strict=True))) + "\n" for row in rows).encode()


WRITERS: dict[str, Callable[[Table], bytes]] = {
    "comma": delimited,
    "tab, LF, texts in quotes": lambda t: delimited(
        t, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
    ),
    "semicolon, all in quotes": lambda t: delimited(t, delimiter=";", quoting=csv.QUOTE_ALL),
    "pipe, gz": lambda t: gzip.compress(delimited(t, delimiter="|")),
    "comma, byte order mark, bz2": lambda t: bz2.compress(b"\xef\xbb\xbf" + delimited(t)),
    "comma, UTF-16": lambda t: delimited(t).decode().encode("utf-16"),
    "JSON lines": lines,
    "Parquet": lambda t: arrow(t, lambda table, sink: pq.write_table(table, sink, row_group_size=4)),
    "Arrow": lambda t: arrow(t, lambda table, sink: feather.write_feather(table, sink, chunksize=4)),
}


def expected(table: Table, is_text_format: bool) -> list[tuple[Any, ...]]:
    columns = dict(table)
    for name in ("user", "item"):
        numbers = is_text_format and all(is_canonical(str(value)) for value in table[name])
        columns[name] = [int(value) for value in table[name]] if numbers else table[name]
    return list(zip(*columns.values(), strict=True))


def is_canonical(text: str) -> bool:
    """Whether a text is a whole number of 64 bits, as it would be printed."""
    try:
        return str(int(text)) == text and -(2**63) <= int(text) < 2**63
    except ValueError:
        return False


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=st.one_of(tables(_TEXT), tables(_NUMBER), tables(_PLAIN)),
    ranks=st.integers(1, 4),
    block=st.sampled_from([1, 9, 64, 1 << 24]),
)
def test_a_table_reads_back(
    name: str, table: Table, ranks: int, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "BLOCK_BYTES", block)
    monkeypatch.setattr(columnar, "BATCH_ROWS", block)
    (tmp_path / "r").write_bytes(WRITERS[name](table))
    is_text = name not in ("JSON lines", "Parquet", "Arrow")
    asked = {"delimiter": {"t": "\t", "s": ";", "p": "|", "c": ","}[name[0]], "format": "csv"} if is_text else {}
    assert read(tmp_path / "r", ranks=ranks, **asked) == expected(table, is_text)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    users=st.lists(st.tuples(_NUMBER, st.lists(_NUMBER, max_size=5)), min_size=1, max_size=20),
    ranks=st.integers(1, 4),
    block=st.sampled_from([1, 9, 64, 1 << 24]),
)
def test_lists_read_back(
    users: list[tuple[int, list[int]]], ranks: int, block: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cutting, "BLOCK_BYTES", block)
    users = [*users, (1, [2])]
    (tmp_path / "r").write_text("".join(" ".join(map(str, [user, *items])) + "\n" for user, items in users))
    pairs = [(user, item) for user, items in users for item in items]
    assert read(tmp_path / "r", ranks=ranks, format="lists") == pairs
