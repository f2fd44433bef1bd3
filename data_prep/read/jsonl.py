"""JSON lines: an object a line. Arrow parses blocks of them; only the wanted columns become arrays."""

from __future__ import annotations

import json as python_json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
from pyarrow import json

from data_prep.read.asked import Asked
from data_prep.read.cutting import Block, Span, Text, blocks, bytes_of_share, rows_by_length, shares
from data_prep.read.encodings import encoding_of, mark_of
from data_prep.read.formats import first_text
from data_prep.read.rows import Place
from data_prep.read.schema import Schema
from data_prep.read.streams import Entry
from data_prep.read.tables import MOST_SAMPLED, SAMPLE_ROWS, Piece, with_partition


class JsonLines:
    """The files of JSON lines of a source."""

    typed = True
    unit = "B"
    hint = ""

    def __init__(self, entries: Sequence[Entry], asked: Asked) -> None:
        """Read the first rows.

        Raises:
            ValueError: a file is no JSON, or there are no rows.
        """
        self.texts = [_text(entry, asked) for entry in entries]
        self._mixed: dict[str, str] = {}  # column with values of several types -> the error, if it is used
        self.sample, self._row_bytes = self._sampled()
        self.names = tuple(self.sample.column_names)
        if not self.sample.num_rows:
            more = f" and {len(entries) - 1} other files" if len(entries) > 1 else ""
            raise ValueError(f"{entries[0].shown}{more} holds no rows")

    def _sampled(self) -> tuple[pa.Table, float]:
        tables, rows, size = [], 0, 0
        for text in self.texts[:MOST_SAMPLED]:
            head = next(blocks(Span(text=text, start=text.skip, end=None), 1 << 20), None)
            if head is None or not head.content.strip():
                continue
            table = as_strings(head, self._first_rows(head))
            size += len(head.content)
            rows += table.num_rows
            tables.append(with_partition(table.slice(0, SAMPLE_ROWS), text.entry, {}, list(text.entry.partition)))
            if rows >= SAMPLE_ROWS:
                break
        if not tables:
            return pa.table({}), 0.0
        try:
            joined = pa.concat_tables(tables, promote_options="permissive")
        except pa.ArrowException as error:
            raise ValueError(
                f"{self.texts[0].shown} and other files have columns of different types: {str(error).splitlines()[0]}"
            ) from None
        return joined.slice(0, SAMPLE_ROWS), size / max(rows, 1)

    def _first_rows(self, head: Block) -> pa.Table:
        """All columns of a block; one with values of several types is empty, since it may be a column that is not used.

        Raises:
            ValueError: a line is no object.
        """
        try:
            return _parsed(head, None)
        except ValueError as error:
            table, mixed = _by_column(head)
            if not mixed:
                raise
            problem = str(error)
        self._mixed |= {name: _several_types(head, name) or problem for name in mixed}
        return table

    def rows_estimate(self) -> int:
        """From the length of the first rows."""
        return rows_by_length(self.texts, self._row_bytes, 8)

    def total(self, rank: int, size: int) -> int:
        """Bytes of the share of a rank; 0 where some of it is compressed."""
        return bytes_of_share(self.texts, rank, size)

    def check(self, schema: Schema) -> None:
        """Raise ValueError if a column that is used has values of several types in the first rows."""
        for name in schema.types:
            if name in self._mixed:
                raise ValueError(self._mixed[name])

    def pieces(self, schema: Schema, rank: int, size: int, columns: Sequence[str]) -> Iterator[Piece]:
        """The share of a rank in blocks."""
        for span in shares(self.texts, rank, size):
            for block in blocks(span):
                partition = block.text.entry.partition
                types = {name: self._read_type(name, schema) for name in columns if name not in partition}

                def parse(block: Block = block, types: dict[str, pa.DataType] = types) -> tuple[pa.Table, Place]:
                    table = _parsed(block, types)
                    table = with_partition(table, block.text.entry, dict(schema.types), columns)
                    return table, lambda row: f"{block.text.shown}, line {block.line(row)}"

                yield Piece(parse=parse, amount=len(block.content))

    def _read_type(self, name: str, schema: Schema) -> pa.DataType:
        """The type in which a column is read: that of the schema, or the one in which the file writes its numbers."""
        kind, written = schema.types[name], self.sample.schema.field(name).type
        if pa.types.is_integer(kind) and pa.types.is_floating(written):
            return written
        return written if pa.types.is_string(written) else kind


def _text(entry: Entry, asked: Asked) -> Text:
    head = first_text(entry, asked, 1 << 12)
    return Text(
        entry=entry, encoding=encoding_of(entry, asked.encoding), skip=len(mark_of(head)[0]), quotes=False, quoted=False
    )


def _read(content: bytes, types: dict[str, pa.DataType] | None) -> pa.Table:
    return json.read_json(
        pa.BufferReader(content),
        read_options=json.ReadOptions(use_threads=False, block_size=len(content) + 1),
        parse_options=json.ParseOptions(
            explicit_schema=None if types is None else pa.schema(list(types.items())),
            unexpected_field_behavior="infer" if types is None else "ignore",
        ),
    )


def as_strings(block: Block, table: pa.Table) -> pa.Table:
    """The table with the texts that Arrow took for times as they are written."""
    written = {f.name: pa.string() for f in table.schema if pa.types.is_timestamp(f.type)}
    if not written:
        return table
    texts = _read(block.content, written)
    for name in written:
        table = table.set_column(table.column_names.index(name), name, texts[name])
    return table


def _parsed(block: Block, types: dict[str, pa.DataType] | None) -> pa.Table:
    """The columns of a block; None: all.

    Raises:
        ValueError: a line is no object, or a value is of another type than in the first rows.
        WiderType: a wider type can hold the value.
    """
    if not block.content.strip():
        return pa.table({name: pa.array([], kind) for name, kind in (types or {}).items()})
    read_types = None if types is None else {n: _as_written(k) for n, k in types.items()}
    try:
        return _read(block.content, read_types)
    except pa.ArrowInvalid as error:
        raise _explained(error, block, types) from None


def _objects(block: Block) -> list[dict[str, Any]]:
    """The objects of a block; none where one of its lines is no object."""
    try:
        found = [python_json.loads(line) for line in block.content.split(b"\n") if line.strip()]
    except ValueError:
        return []
    return found if all(isinstance(one, dict) for one in found) else []


def _by_column(block: Block) -> tuple[pa.Table, list[str]]:
    """The table of a block, and the columns of it whose values are of several types, which are empty in it."""
    objects = _objects(block)
    columns, mixed = dict[str, pa.Array](), list[str]()
    for name in dict.fromkeys(key for one in objects for key in one):
        column = _of_one_type([one.get(name) for one in objects])
        columns[name] = pa.nulls(len(objects)) if column is None else column
        if column is None:
            mixed.append(name)
    return pa.table(columns), mixed


def _of_one_type(found: list[Any]) -> pa.Array | None:
    try:
        return pa.array(found)
    except (pa.ArrowException, OverflowError):
        return None


def _several_types(block: Block, name: str) -> str:
    """The first row whose value is of another type than those before, for an error."""
    seen: dict[str, type] = {}
    for row, one in enumerate(_objects(block)):
        if problem := _other_type(name, one.get(name), seen):
            return f"{block.text.shown}, line {block.line(row)}: {problem}: {block.line_text(row)!r}"
    return ""


def _as_written(kind: pa.DataType) -> pa.DataType:
    """The type in which Arrow reads a value: times that are texts stay texts."""
    return pa.string() if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else kind


def _explained(error: pa.ArrowInvalid, block: Block, types: dict[str, pa.DataType] | None) -> Exception:
    """The first line that cannot be read, found by reading line by line."""
    lines = [line for line in block.content.split(b"\n") if line.strip(b"\r")]
    seen: dict[str, type] = {}
    for row, line in enumerate(lines):
        if problem := _problem(line, types, seen):
            return ValueError(f"{block.text.shown}, line {block.line(row)}: {problem}: {block.line_text(row)!r}")
    return ValueError(f"{block.text.shown}, from line {block.line()}: {str(error).splitlines()[0]}")


def _problem(line: bytes, types: dict[str, pa.DataType] | None, seen: dict[str, type]) -> str:
    """What is wrong with a line, "" if nothing is.

    Args:
        seen: the types of the columns in the lines before; those of this line are added.
    """
    try:
        value = python_json.loads(line)
    except ValueError as wrong:
        return f"no JSON ({str(wrong).split(': line')[0]}); expected an object a line"
    if not isinstance(value, dict):
        return f"a JSON {type(value).__name__}, expected an object"
    for name in value if types is None else types:
        found = value.get(name)
        if found is None:
            continue
        if types is not None and (reason := _unfit(types[name], found)):
            return f"column {name!r} is {found!r}, {reason}"
        if reason := _other_type(name, found, seen):
            return reason
    return ""


def _other_type(name: str, found: object, seen: dict[str, type]) -> str:
    """Why a value is of another type than those before, "" if it is not; its type is added to `seen`."""
    kind = float if type(found) is int else type(found)
    if found is None or seen.setdefault(name, kind) is kind:
        return ""
    return f"column {name!r} is {found!r}, and {_word(seen[name])} before; every row needs the same type"


def _word(kind: type) -> str:
    return {float: "a number", str: "a text", bool: "true or false", list: "a list", dict: "an object"}.get(kind, "?")


def _unfit(kind: pa.DataType, found: object) -> str:
    """Why a value is none of its type, "" if it is."""
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    if pa.types.is_integer(kind) and not (is_number and isinstance(found, int)):
        return "a whole number in the rows before"
    if pa.types.is_integer(kind) and not -(1 << 63) <= int(str(found)) < 1 << 63:
        return "too large for 64 bits; write such ids as texts in all rows"
    if pa.types.is_floating(kind) and not is_number:
        return "a number in the rows before"
    if pa.types.is_boolean(kind) and not isinstance(found, bool):
        return "true or false in the rows before"
    if (pa.types.is_string(kind) or pa.types.is_timestamp(kind)) and not isinstance(found, str):
        return "a text in the rows before"
    return ""
