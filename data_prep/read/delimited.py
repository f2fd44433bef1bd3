"""Delimited text: a header line or given names, then rows. Arrow parses blocks, and only the wanted columns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from data_prep.read.asked import Asked
from data_prep.read.cutting import Block, Span, Text, blocks, shares
from data_prep.read.encodings import encoding_of, mark_of
from data_prep.read.formats import SHOWN, delimiter_of, fields, first_text, lines_of
from data_prep.read.leading_zeros import has_leading_zero
from data_prep.read.rows import Place
from data_prep.read.schema import Schema
from data_prep.read.streams import Entry
from data_prep.read.tables import MOST_SAMPLED, SAMPLE_ROWS, Piece, WiderType, with_partition

STAND_IN = "\x1f"
"""The character that a delimiter of several characters is replaced by, for a parser that knows only one."""
PACKED = 4
"""About how much longer a text is than its compressed file."""
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_NUMBER = re.compile(r"[+-]?[0-9]+([.,][0-9]+)?$")
_CANONICAL = r"^[ \t]*(0|-?[1-9][0-9]*)[ \t]*$"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the rows of all files are written."""

    delimiter: str
    names: tuple[str, ...]
    """The columns of a row, without those of partitions."""

    @property
    def is_wide(self) -> bool:
        """Whether the delimiter has several characters; fields are never in quotes then."""
        return len(self.delimiter) > 1


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
            raise ValueError(f"{entries[0].shown}{more} holds no rows")

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
            found = len(fields(lines[0], delimiter))
            if found != len(asked.header):
                raise ValueError(
                    f"{entry.shown} has {found} columns divided by {delimiter!r}, but {len(asked.header)} names were "
                    f"given for them ({', '.join(asked.header)}): {lines[0][:80]!r}"
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
        size = sum(t.entry.length * (PACKED if t.entry.compression else 1) for t in self.texts)
        return round(size / self._row_bytes) if self._row_bytes else 0

    def total(self, rank: int, size: int) -> int:
        """Bytes of the share of a rank; 0 where some of it is compressed."""
        spans = shares(self.texts, rank, size)
        return sum((s.end or 0) - s.start for s in spans) if all(s.end for s in spans) else 0

    def check(self, schema: Schema) -> None:
        """Nothing: all files have the same header."""

    def pieces(self, schema: Schema, rank: int, size: int, columns: Sequence[str]) -> Iterator[Piece]:
        """The share of a rank in blocks."""
        types = {name: schema.types[name] for name in columns if name in self.layout.names}
        for span in shares(self.texts, rank, size):
            for block in blocks(span):

                def parse(block: Block = block) -> tuple[pa.Table, Place]:
                    table = parsed(block, self.layout, types, schema)
                    table = with_partition(table, block.text.entry, dict(schema.types), columns)
                    return table, lambda row: f"{block.text.shown}, line {block.line(row)}"

                yield Piece(parse=parse, amount=len(block.content))


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


def parsed(block: Block, layout: Layout, types: dict[str, pa.DataType], schema: Schema | None) -> pa.Table:
    """The columns of `types` of a block.

    Args:
        schema: None: columns are text, nothing is checked but the number of fields.

    Raises:
        ValueError: a row has too few or too many fields, a value is none of its type, a quote is not closed.
        WiderType: a wider type can hold the value.
    """
    content = block.content
    if layout.is_wide:
        content = content.replace(layout.delimiter.encode(), STAND_IN.encode())
    lines, rows = _counts(content, not layout.is_wide)
    spans_lines = rows != lines
    table = columns_of(content, block, layout, types, schema, spans_lines=spans_lines)
    if table.num_rows not in (lines, rows) and table.num_rows != count_rows(content):
        raise ValueError(
            f"{block.text.shown}, from line {block.line()}: {lines} lines hold {table.num_rows} rows; "
            "an unbalanced quote or an empty line between rows?"
        )
    if schema is not None:
        _check_canonical(content, layout, types, schema, table)
    return table


def columns_of(
    content: bytes,
    block: Block,
    layout: Layout,
    types: dict[str, pa.DataType],
    schema: Schema | None,
    *,
    spans_lines: bool = False,
) -> pa.Table:
    """`parsed` without a look at the number of rows and at leading zeros.

    Args:
        content: that of the block, with a delimiter of one character.
        spans_lines: whether there are line ends in quotes.
    """
    try:
        return _table(content, layout, types, threads=schema is not None, spans_lines=spans_lines)
    except pa.ArrowInvalid:
        try:  # the sequential parser is the one that knows the row
            _table(content, layout, types, threads=False, spans_lines=spans_lines)
        except pa.ArrowInvalid as error:
            raise _explained(error, block, layout, schema) from None
        raise


def _table(
    content: bytes, layout: Layout, types: dict[str, pa.DataType], *, threads: bool, spans_lines: bool
) -> pa.Table:
    read_types = {name: _DICTIONARY if pa.types.is_string(kind) and threads else kind for name, kind in types.items()}
    return csv.read_csv(
        pa.BufferReader(content),
        read_options=csv.ReadOptions(
            column_names=list(layout.names),
            use_threads=threads,
            # a row in quotes may be longer than a block of the parser
            block_size=max(1 << 20, len(content) if spans_lines else 0),
        ),
        parse_options=csv.ParseOptions(
            delimiter=STAND_IN if layout.is_wide else layout.delimiter,
            quote_char=False if layout.is_wide else '"',
            newlines_in_values=spans_lines,
        ),
        convert_options=csv.ConvertOptions(
            include_columns=list(types),
            column_types=read_types,
            null_values=[""],
            strings_can_be_null=threads,
        ),
    )


def _counts(content: bytes, quotes: bool) -> tuple[int, int]:
    """Line ends of a block, and those of them that are not inside of quotes."""
    raw = np.frombuffer(content, np.uint8)
    ends = raw == 10
    lines = int(np.count_nonzero(ends)) + (not content.endswith(b"\n"))  # faster than bytes.count
    if not quotes or b'"' not in content:
        return lines, lines
    at = np.flatnonzero(ends)
    before = np.searchsorted(np.flatnonzero(raw == 34), at)
    return lines, lines - int(np.count_nonzero(before % 2))


def count_rows(content: bytes) -> int:
    """Lines that are not empty (walked only where the line ends are no rows)."""
    return sum(1 for line in content.splitlines() if line)


def _check_canonical(
    content: bytes, layout: Layout, types: dict[str, pa.DataType], schema: Schema, table: pa.Table
) -> None:
    """Raise WiderType if an id that was read as a number is not written as one: 007 and 0x1f are texts."""
    numbers = [c for c in dict.fromkeys((schema.user, schema.item)) if c in types and pa.types.is_int64(types[c])]
    negative = any((pc.min(table[name]).as_py() or 0) < 0 for name in numbers)
    mark = STAND_IN if layout.is_wide else layout.delimiter
    if not numbers or not has_leading_zero(content, mark, negative):
        return
    text = _table(content, layout, dict.fromkeys(numbers, pa.string()), threads=False, spans_lines=b'"' in content)
    for name in numbers:
        wrong = pc.invert(pc.match_substring_regex(text[name], _CANONICAL))
        if pc.any(wrong).as_py():
            raise WiderType(name, [text[name].filter(wrong)[0].as_py()])


def _explained(error: pa.ArrowInvalid, block: Block, layout: Layout, schema: Schema | None) -> Exception:
    """The parser's message as one line: where, what was found, what was expected; or WiderType."""
    text = str(error).replace("\n", " ")
    found = re.search(r"Row #(\d+)", text)
    row = int(found[1]) - 1 if found else 0
    where, shown = f"{block.text.shown}, line {block.line(row)}", f": {block.line_text(row)!r}"
    if "invalid UTF8" in text or "UTF8" in text:
        return ValueError(f"{where}: not UTF-8; name the encoding with --encoding, as latin-1{shown}")
    if (wrong := re.search(r"invalid value '(.*)'", text)) and schema is not None:
        column = re.search(r"In CSV column #(\d+)", text)
        name = layout.names[int(column[1])] if column else "?"
        return unfit(schema, name, [wrong[1]], where, shown)
    counts = re.search(r"Expected (\d+) columns, got (\d+)", text)
    reason = f"{counts[2]} columns instead of {counts[1]}" if counts else f"another number of columns ({text[:80]})"
    expected = f"{', '.join(layout.names)} separated by {layout.delimiter!r}"
    return ValueError(f"{where}: {reason} (cut row or wrong delimiter?); expected {expected[:200]}{shown}")


def unfit(schema: Schema, name: str, values: Sequence[str], where: str, shown: str) -> Exception:
    """WiderType, or the ValueError of a column for which there is no wider type."""
    from data_prep.read.columns import widened

    try:
        widened(schema, name, values)
    except ValueError as error:
        return ValueError(f"{where}: {error}{shown}")
    return WiderType(name, values)
