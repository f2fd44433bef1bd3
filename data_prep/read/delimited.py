"""Delimited text: a header line or given names, then rows. Arrow parses blocks, and only the wanted columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pyarrow as pa

from data_prep.read.asked import Asked
from data_prep.read.cutting import Block, Span, Text, blocks, bytes_of_share, rows_by_length, shares
from data_prep.read.delimited_rows import Layout, parsed
from data_prep.read.encodings import encoding_of, mark_of
from data_prep.read.formats import SHOWN, delimiter_of, fields, first_text, lines_of
from data_prep.read.rows import Place
from data_prep.read.schema import Schema
from data_prep.read.streams import Entry
from data_prep.read.tables import MOST_SAMPLED, SAMPLE_ROWS, Piece, with_partition

PACKED = 4
"""About how much longer a text is than its compressed file."""
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?$")


class Delimited:
    """The delimited files of a source."""

    typed = False
    unit = "B"

    def __init__(self, entries: Sequence[Entry], asked: Asked) -> None:
        """Find the delimiter, and read the header of every file and the first rows.

        Raises:
            ValueError: files have different columns, or there are no rows.
        """
        first = first_text(entries[0], asked)
        lines = lines_of(first)
        if not lines:
            raise ValueError(f"{entries[0].shown} is empty, expected a header line and rows")
        self._asked = asked
        self.layout = self._layout(entries[0], lines, first)
        self.texts = [self._text(entry, first if k == 0 else None) for k, entry in enumerate(entries)]
        partition = [name for name in entries[0].partition if name not in self.layout.names]
        self.names = (*self.layout.names, *partition)
        self.hint = f"check the delimiter ({self.layout.delimiter!r}, change it with --delimiter) or "
        self.sample, self._row_bytes = self._sampled()
        if not self.sample.num_rows:
            more = f" and {len(entries) - 1} other files" if len(entries) > 1 else ""
            raise ValueError(
                f"{entries[0].shown}{more} holds no rows, expected a header line and a row for each interaction"
            )

    def _layout(self, entry: Entry, lines: Sequence[str], first: bytes) -> Layout:
        asked = self._asked
        delimiter = asked.delimiter or delimiter_of(lines, entry.name) or _of_header(lines[0])
        if "\n" in delimiter or "\r" in delimiter or '"' in delimiter:
            raise ValueError(f"--delimiter is {delimiter!r}, expected characters that stand between fields")
        if not delimiter:
            raise ValueError(
                f"{entry.shown}: no delimiter divides its lines into fields (tried {', '.join(SHOWN.values())}); name "
                f"it with --delimiter: {lines[0][:80]!r}"
            )
        if asked.header:
            found = [name.strip() for name in fields(lines[0], delimiter)]
            if len(found) != len(asked.header):
                raise ValueError(
                    f"{entry.shown} has {len(found)} columns divided by {delimiter!r}, but {len(asked.header)} names "
                    f"were given for them ({', '.join(asked.header)}): {lines[0][:80]!r}"
                )
            if [name.lower() for name in found] == [name.lower() for name in asked.header]:
                raise ValueError(
                    f"{entry.shown} begins with the line {lines[0][:80]!r}, which names its columns; leave --header out"
                )
            return Layout(delimiter=delimiter, names=asked.header)
        _, header = _header_line(first)
        names = tuple(name.strip() for name in fields(header, delimiter))
        if not header.strip():
            raise ValueError(
                f"{entry.shown} begins with an empty line, expected a header line and rows separated by {delimiter!r}"
            )
        if len(names) > 1 and sum(bool(_NUMBER.match(name)) for name in names) * 2 >= len(names):
            raise ValueError(
                f"{entry.shown} begins with {header[:80]!r}, expected a line with the names of the columns; give them "
                "with --header NAME,NAME,..."
            )
        return Layout(delimiter=delimiter, names=names)

    def _text(self, entry: Entry, first: bytes | None) -> Text:
        """The text of an entry behind its header line.

        Raises:
            ValueError: its columns are not those of the first file.
        """
        encoding = encoding_of(entry, self._asked.encoding)
        head = first_text(entry, self._asked, 1 << 16) if first is None else first
        skip = len(mark_of(head)[0])
        if not self._asked.header:
            skip, header = _header_line(head)
            names = tuple(name.strip() for name in fields(header, self.layout.delimiter))
            if first is None and names != self.layout.names and head.strip():
                raise ValueError(f"{entry.shown} {self._difference(names)}; every file needs the same columns")
        quoted = b'"' in head[skip:]
        return Text(entry=entry, encoding=encoding, skip=skip, quotes=not self.layout.is_wide, quoted=quoted)

    def _difference(self, names: Sequence[str]) -> str:
        wanted = self.layout.names
        if missing := [n for n in wanted if n not in names]:
            return f"has no column {', '.join(map(repr, missing[:5]))}, which the first file has (it has {_few(names)})"
        if more := [n for n in names if n not in wanted]:
            return f"has a column {', '.join(map(repr, more[:5]))}, which the first file has not"
        return f"has its columns in another order than the first file: {_few(names)} instead of {_few(wanted)}"

    def _sampled(self) -> tuple[pa.Table, float]:
        """The first rows, all columns as text; and how many bytes a row has."""
        tables, rows, size = [], 0, 0
        types = dict.fromkeys(self.layout.names, pa.string())
        if len(types) < len(self.layout.names):  # a name is there twice: `choose` says so
            return pa.table([pa.array([""])] * len(self.names), names=list(self.names)), 0.0
        for text in self.texts[:MOST_SAMPLED]:
            head = next(blocks(Span(text=text, start=text.skip, end=None), 1 << 20), None)
            if head is None:
                continue
            table = parsed(head, self.layout, types, None)
            size += len(head.content)
            rows += table.num_rows
            tables.append(with_partition(table.slice(0, SAMPLE_ROWS), text.entry, {}, self.names))
            if rows >= SAMPLE_ROWS:
                break
        if not tables:
            return pa.table({name: pa.array([], pa.string()) for name in self.names}), 0.0
        return pa.concat_tables(tables).slice(0, SAMPLE_ROWS).select(list(self.names)), size / max(rows, 1)

    def rows_estimate(self) -> int:
        """From the length of the first rows."""
        return rows_by_length(self.texts, self._row_bytes, PACKED)

    def total(self, rank: int, size: int) -> int:
        """Bytes of the share of a rank; 0 where some of it is compressed."""
        return bytes_of_share(self.texts, rank, size)

    def check(self, schema: Schema) -> None:
        """Nothing: all files have the same header."""

    def pieces(self, schema: Schema, rank: int, size: int, columns: Sequence[str]) -> Iterator[Piece]:
        """The share of a rank in blocks."""
        types = {name: schema.types[name] for name in columns if name in self.layout.names}
        for span in shares(self.texts, rank, size):
            for block in blocks(span):

                def parse(block: Block = block) -> tuple[pa.Table, Place]:
                    table = self._parsed(block, types, schema)
                    table = with_partition(table, block.text.entry, dict(schema.types), columns)
                    return table, lambda row: f"{block.text.shown}, line {block.line(row)}"

                yield Piece(parse=parse, amount=len(block.content))

    def _parsed(self, block: Block, types: dict[str, pa.DataType], schema: Schema) -> pa.Table:
        """A block; an error in the first line of a file without a header line says what may be wrong."""
        try:
            return parsed(block, self.layout, types, schema)
        except ValueError as error:
            if not self._asked.header or ", line 1: " not in str(error):
                raise
            raise ValueError(f"{error}; if that line names the columns, leave --header out") from None


def _few(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} others" if len(names) > 10 else "")


def _header_line(head: bytes) -> tuple[int, str]:
    """The length of the first line with the byte order mark, and its text without. It may have line ends in quotes."""
    position = 0
    while True:
        end = head.find(b"\n", position) + 1 or len(head)
        if end == len(head) or head.count(b'"', 0, end) % 2 == 0:
            mark, _ = mark_of(head)
            return end, head[len(mark) : end].decode(errors="replace").rstrip("\r\n")
        position = end


def _of_header(line: str) -> str:
    """The delimiter with the most fields in the first line; "" where none divides it."""
    best = max(SHOWN, key=lambda d: len(fields(line, d)))
    return best if len(fields(line, best)) > 1 else ""
