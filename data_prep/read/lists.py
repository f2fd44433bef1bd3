"""Lists: one line a user, its id and those of its items, as LightGCN and NGCF publish their data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from data_prep.read.asked import Asked
from data_prep.read.cutting import Block, Span, Text, blocks, bytes_of_share, rows_by_length, shares
from data_prep.read.encodings import encoding_of, mark_of
from data_prep.read.formats import first_text
from data_prep.read.rows import Place
from data_prep.read.schema import Schema
from data_prep.read.streams import Entry
from data_prep.read.tables import MOST_SAMPLED, SAMPLE_ROWS, Piece, WiderType

NAMES = ("user", "item")
_CANONICAL = r"^(0|-?[1-9][0-9]*)$"


class Lists:
    """The files of lists of a source."""

    typed = False
    unit = "B"
    hint = "a list has the user first and then its items (--format csv reads rows of columns); "
    names = NAMES

    def __init__(self, entries: Sequence[Entry], asked: Asked) -> None:
        """Read the first lines.

        Raises:
            ValueError: there are no rows.
        """
        self._delimiter = asked.delimiter
        self.texts = [
            Text(
                entry=entry,
                encoding=encoding_of(entry, asked.encoding),
                skip=len(mark_of(first_text(entry, asked, 1 << 16))[0]),
                quotes=False,
            )
            for entry in entries
        ]
        self.sample, self._row_bytes = self._sampled()
        if not self.sample.num_rows:
            more = f" and {len(entries) - 1} other files" if len(entries) > 1 else ""
            raise ValueError(f"{entries[0].shown}{more} holds no rows: no user has an item")

    def _sampled(self) -> tuple[pa.Table, float]:
        tables, rows, size = [], 0, 0
        for text in self.texts[:MOST_SAMPLED]:
            head = next(blocks(Span(text=text, start=text.skip, end=None), 1 << 20), None)
            if head is None:
                continue
            table, _ = _pairs(head, self._delimiter)
            tables.append(table)
            rows += table.num_rows
            size += len(head.content)
            if rows >= SAMPLE_ROWS:
                break
        empty = pa.table({name: pa.array([], pa.string()) for name in NAMES})
        return pa.concat_tables([empty, *tables]).slice(0, SAMPLE_ROWS), size / max(rows, 1)

    def rows_estimate(self) -> int:
        """From the length of the first rows."""
        return rows_by_length(self.texts, self._row_bytes, 4)

    def total(self, rank: int, size: int) -> int:
        """Bytes of the share of a rank; 0 where some of it is compressed."""
        return bytes_of_share(self.texts, rank, size)

    def check(self, schema: Schema) -> None:
        """Nothing: every file has a user and items."""

    def pieces(self, schema: Schema, rank: int, size: int, columns: Sequence[str]) -> Iterator[Piece]:
        """The share of a rank in blocks."""
        for span in shares(self.texts, rank, size):
            for block in blocks(span):

                def parse(block: Block = block) -> tuple[pa.Table, Place]:
                    table, line_of_row = _pairs(block, self._delimiter)

                    def place(row: int) -> str:
                        return f"{block.text.shown}, line {block.line(int(line_of_row[row]))}"

                    return _typed(table, schema), place

                yield Piece(parse=parse, amount=len(block.content))


def _pairs(block: Block, delimiter: str) -> tuple[pa.Table, np.ndarray]:
    """The (user, item) rows of whole lines, as texts; and of each row, which line that is not empty it is from.

    Raises:
        ValueError: the text is not UTF-8.
    """
    try:
        text = block.content.decode()
    except UnicodeDecodeError as error:
        row = block.content[: error.start].count(b"\n")
        raise ValueError(
            f"{block.text.shown}, line {block.line() + row}: not UTF-8; name the encoding with --encoding, as latin-1"
        ) from None
    lines = pa.array([line for line in text.split("\n") if line.rstrip("\r")], pa.string())
    lines = pc.utf8_trim_whitespace(lines)
    fields = pc.split_pattern(lines, delimiter) if delimiter.strip() else pc.utf8_split_whitespace(lines)
    counts = pc.list_value_length(fields).to_numpy(zero_copy_only=False).astype(np.int64)
    starts = np.cumsum(counts) - counts
    flat = pc.list_flatten(fields)
    is_item = np.ones(len(flat), bool)
    is_item[starts[counts > 0]] = False
    line_of_row = np.repeat(np.arange(len(counts)), np.maximum(counts - 1, 0))
    users = flat.take(pa.array(starts[line_of_row]))
    items = flat.filter(pa.array(is_item))
    return pa.table([users, items], names=list(NAMES)), line_of_row


def _typed(table: pa.Table, schema: Schema) -> pa.Table:
    """The columns in the types of the schema.

    Raises:
        WiderType: an id is no whole number of 64 bits, or is not written as one.
    """
    for k, name in enumerate(NAMES):
        if not pa.types.is_int64(schema.types[name]):
            continue
        column = table[name]
        wrong = pc.invert(pc.match_substring_regex(column, _CANONICAL))
        if pc.any(wrong).as_py():
            raise WiderType(name, [column.filter(wrong)[0].as_py()])
        try:
            table = table.set_column(k, name, column.cast(pa.int64()))
        except pa.ArrowInvalid:
            longest = column.filter(pc.greater(pc.binary_length(column), 18))
            raise WiderType(name, [longest[0].as_py()]) from None
    return table
