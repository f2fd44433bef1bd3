"""A block of delimited text as a table: Arrow parses it, and a row that it cannot read is found and explained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from data_prep.read.cutting import Block
from data_prep.read.leading_zeros import has_leading_zero
from data_prep.read.schema import Schema
from data_prep.read.tables import WiderType

STAND_IN = "\x1f"
"""The character that a delimiter of several bytes is replaced by, for a parser that knows only one."""
_DICTIONARY = pa.dictionary(pa.int32(), pa.string())
_CANONICAL = r"^[ \t]*(0|-?[1-9][0-9]*)[ \t]*$"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the rows of all files are written."""

    delimiter: str
    names: tuple[str, ...]
    """The columns of a row, without those of partitions."""

    @property
    def is_wide(self) -> bool:
        """Whether the delimiter has several bytes; fields are never in quotes then."""
        return len(self.delimiter.encode()) > 1


def parsed(block: Block, layout: Layout, types: dict[str, pa.DataType], schema: Schema | None) -> pa.Table:
    """The columns of `types` of a block.

    Args:
        schema: None: columns are text, nothing is checked but the number of fields.

    Raises:
        ValueError: a row has too few or too many fields, a value is none of its type, a quote is not closed.
        WiderType: a wider type can hold the value.
    """
    content = block.content
    if b"\0" in content:
        row = content.count(b"\n", 0, content.index(b"\0"))
        raise ValueError(
            f"{block.text.shown}, line {block.line() + row}: holds the byte 0, which is no text; write the file again"
        )
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
        return _table(content, layout, types, typed=schema is not None, spans_lines=spans_lines)
    except pa.ArrowInvalid as error:
        if "straddl" in str(error) and not spans_lines:  # a row is longer than a block of the parser
            return columns_of(content, block, layout, types, schema, spans_lines=True)
        raise _explained(error, block, layout, schema) from None


def _table(
    content: bytes, layout: Layout, types: dict[str, pa.DataType], *, typed: bool, spans_lines: bool
) -> pa.Table:
    read_types = {name: _DICTIONARY if pa.types.is_string(kind) and typed else kind for name, kind in types.items()}
    return csv.read_csv(
        pa.BufferReader(content),
        read_options=csv.ReadOptions(
            column_names=list(layout.names),
            # Arrow's parallel reader can wait for itself after an error (apache/arrow#48741), and does not know the row
            use_threads=False,
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
            strings_can_be_null=typed,
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
    text = _table(content, layout, dict.fromkeys(numbers, pa.string()), typed=False, spans_lines=b'"' in content)
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
