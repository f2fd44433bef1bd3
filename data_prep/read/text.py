"""Reading delimited text by blocks: bounded memory, columnar parsing, errors with file and line.

A file is cut into byte ranges at line ends, so that MPI ranks can share it and no rank holds more than one block.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from data_prep.read.interactions import Interactions, Keep, Place, select
from data_prep.read.layout import Layout

BLOCK_BYTES = 16 << 20


@dataclass(frozen=True, kw_only=True)
class Span:
    """A byte range of a file; it owns the lines that start in it."""

    path: Path
    start: int
    end: int


def share_of(files: Sequence[Path], rank: int, size: int, skip: int = 0) -> list[Span]:
    """The byte ranges of one rank: all files laid end to end and cut into `size` consecutive ranges.

    Args:
        skip: bytes of a header at the start of each file that nobody reads.
    """
    lengths = [path.stat().st_size for path in files]
    total, before = sum(lengths), 0
    first, last = total * rank // size, total * (rank + 1) // size
    mine = []
    for path, length in zip(files, lengths, strict=True):
        start, end = max(first - before, skip), min(last - before, length)
        if start < end:
            mine.append(Span(path=path, start=start, end=end))
        before += length
    return mine


def blocks(span: Span, block_bytes: int | None = None) -> Iterator[tuple[int, bytes]]:
    """Yield (offset, whole lines) for the lines that start inside the span."""
    with span.path.open("rb") as file:
        offset = span.start
        if offset:
            file.seek(offset - 1)
            offset += len(file.readline()) - 1  # a line that began before belongs to the span before
        file.seek(offset)
        while offset < span.end:
            block = file.read(min(block_bytes or BLOCK_BYTES, span.end - offset))
            if not block:
                return
            block += file.readline() if not block.endswith(b"\n") else b""
            yield offset, block
            offset += len(block)


def line_number(path: Path, offset: int) -> int:
    """1-based number of the line that starts at a byte offset (only walked when there is an error to report)."""
    lines = 1
    with path.open("rb") as file:
        while offset > 0 and (block := file.read(min(BLOCK_BYTES, offset))):
            lines += block.count(b"\n")
            offset -= len(block)
    return lines


def read_header(path: Path, delimiter: str) -> tuple[tuple[str, ...], int]:
    """The names in the first line and the offset of the second.

    Raises:
        ValueError: the file is empty.
    """
    with path.open("rb") as file:
        line = file.readline()
    if not line.strip():
        state = "begins with an empty line" if line else "is empty"
        raise ValueError(f"{path} {state}, expected a header line and rows separated by {delimiter!r}")
    names = line.decode("utf-8-sig", errors="replace").rstrip("\r\n").split(delimiter)
    return tuple(name.strip().strip('"') for name in names), len(line)


def row_offset(block: bytes, row: int) -> int:
    """Where in the block the row-th row starts, from 0; the parser counts no empty lines."""
    position = 0
    for line in block.splitlines(keepends=True):
        if line.strip(b"\r\n"):
            if row == 0:
                return position
            row -= 1
        position += len(line)
    return position


def row_line(path: Path, offset: int, block: bytes, row: int) -> int:
    """1-based line of the file in which the row-th row of a block stands."""
    return line_number(path, offset + row_offset(block, row))


def _explain(error: pa.ArrowInvalid, path: Path, offset: int, block: bytes, layout: Layout) -> ValueError:
    """Turn the parser's message into one line: where, what was found, what was expected."""
    text = str(error).replace("\n", " ")
    found = re.search(r"Row #(\d+)", text)
    row = int(found[1]) - 1 if found else 0
    start = row_offset(block, row)
    line = block[start : start + 200].split(b"\n")[0].decode(errors="replace").strip()
    where, shown = f"{path}, line {row_line(path, offset, block, row)}", f": {line[:80]!r}"
    names = [c for c in layout.columns if not c.startswith("_gap")]
    if wrong := re.search(r"invalid value '(.*?)'", text):
        column = re.search(r"In CSV column #(\d+)", text)
        name = layout.columns[int(column[1])] if column else "?"
        return ValueError(f"{where}: {wrong[1][:40]!r} in column {name!r} is not a number that can be read{shown}")
    counts = re.search(r"Expected (\d+) columns, got (\d+)", text)
    gaps = len(layout.columns) - len(names)
    reason = "another number of columns" if gaps or not counts else f"{counts[2]} columns instead of {counts[1]}"
    mark = layout.delimiter * (2 if gaps else 1)
    expected = f"{', '.join(names)} separated by {mark!r}"
    return ValueError(f"{where}: {reason} (cut row or wrong delimiter?); expected {expected[:200]}{shown}")


def _arrow_table(block: bytes | pa.Buffer, layout: Layout, threads: bool) -> pa.Table:
    types = {layout.user: pa.int64(), layout.item: pa.int64()}
    if layout.rating:
        types[layout.rating] = pa.float32()
    if layout.time:
        types[layout.time] = pa.date32() if layout.dates else pa.int64()
    return csv.read_csv(
        pa.BufferReader(block),
        read_options=csv.ReadOptions(column_names=list(layout.columns), use_threads=threads, block_size=1 << 20),
        parse_options=csv.ParseOptions(delimiter=layout.delimiter),
        convert_options=csv.ConvertOptions(include_columns=list(types), column_types=types),
    )


def count_lines(block: bytes) -> int:
    """Lines of a block that are not empty."""
    return sum(1 for line in block.splitlines() if line)


def _holds(block: bytes, rows: int) -> bool:
    """Whether a block has that many lines that are not empty (the exact count only where line ends differ)."""
    ends = int(np.count_nonzero(np.frombuffer(block, np.uint8) == ord("\n")))  # faster than bytes.count
    return rows == ends + (not block.endswith(b"\n")) or rows == count_lines(block)


def parse_block(
    block: bytes, offset: int, path: Path, layout: Layout, keep: Keep, rows: int | None = None
) -> Interactions:
    """Parse whole lines into the events to keep.

    Args:
        rows: rows that must come out (default: as many as there are lines).

    Raises:
        ValueError: a row with too few or too many columns, an id that is no whole number, an empty or NaN rating,
            or an unbalanced quote that would swallow rows.
    """
    try:
        table = _arrow_table(block, layout, threads=True)
    except pa.ArrowInvalid:
        try:  # the sequential parser is the one that knows the row
            _arrow_table(block, layout, threads=False)
        except pa.ArrowInvalid as error:
            raise _explain(error, path, offset, block, layout) from None
        raise
    if not (_holds(block, table.num_rows) if rows is None else table.num_rows == rows):
        lines = count_lines(block) if rows is None else rows
        raise ValueError(
            f"{path}, from line {line_number(path, offset)}: {lines} lines hold {table.num_rows} rows; "
            "an unbalanced quote or an empty line between rows?"
        )
    return from_columns(
        table[layout.user],
        table[layout.item],
        table[layout.rating] if layout.rating else None,
        keep,
        lambda row: f"{path}, line {row_line(path, offset, block, row)}",
        table[layout.time] if layout.time else None,
    )


def from_columns(
    users: pa.ChunkedArray,
    items: pa.ChunkedArray,
    ratings: pa.ChunkedArray | None,
    keep: Keep,
    where: Place,
    times: pa.ChunkedArray | None = None,
) -> Interactions:
    """Arrow columns (int64, int64, float32, times as int64 or dates) to the validated events to keep."""
    for name, column in (("user id", users), ("item id", items), ("time", times)):
        if column is not None and column.null_count:
            row = int(np.argmax(column.is_null().to_numpy()))
            raise ValueError(f"{where(row)}: {column.null_count} rows have an empty {name}, every row needs one")
    numbers = None
    if ratings is not None:
        numbers = np.asarray(ratings.cast(pa.float32()).to_numpy(), dtype=np.float32)
    when = None if times is None else times.cast(pa.int32()) if pa.types.is_date32(times.type) else times
    return select(
        users.to_numpy(),
        items.to_numpy(),
        numbers,
        keep,
        where,
        None if when is None else _as_times(when.to_numpy(), where),
    )


def _as_times(values: npt.NDArray, where: Place) -> npt.NDArray[np.int64] | npt.NDArray[np.float64]:
    """Times as int64, or as float64 where they have fractions.

    Raises:
        ValueError: one is not a number.
    """
    if values.dtype.kind != "f":
        return values.astype(np.int64, copy=False)
    if (wrong := ~np.isfinite(values)).any():
        row = int(np.argmax(wrong))
        raise ValueError(f"{where(row)}: time {values[row]}, expected a number")
    return values.astype(np.float64, copy=False)
