"""The Netflix Prize format: a line ``movie:`` and then that movie's rows ``user,rating,date``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa

from data_prep.read.cutting import Block, Span, Text, blocks, shares
from data_prep.read.delimited import Layout, columns_of
from data_prep.read.netflix import split_headers
from data_prep.read.rows import Place
from data_prep.read.schema import Schema
from data_prep.read.streams import Entry
from data_prep.read.tables import SAMPLE_ROWS, Piece

NAMES = ("user", "item", "rating", "date")
ROW_BYTES = 21
"""About how long a row is."""
_LAYOUT = Layout(delimiter=",", names=("user", "rating", "date"))
_BACK = 1 << 20
_TYPES = {"user": pa.int64(), "item": pa.int64(), "rating": pa.float32(), "date": pa.date32()}


class Netflix:
    """The files of the Netflix Prize."""

    names = NAMES
    typed = True
    hint = ""
    unit = "B"

    def __init__(self, entries: Sequence[Entry]) -> None:
        """Read the first rows.

        Raises:
            ValueError: a file begins with rows, or there are none.
        """
        self.texts = [Text(entry=entry, quotes=False) for entry in entries]
        span = Span(text=self.texts[0], start=0, end=None)
        first = next(blocks(span, _BACK), None)
        if first is None:
            raise ValueError(f"{entries[0].shown} is empty, expected a line 'movie:' and rows")
        fixed = Schema(names=NAMES, user="user", item="item", value="rating", kind="rating", types=_TYPES)
        self.sample = _movies(first, -1, fixed, NAMES)[0].slice(0, SAMPLE_ROWS).select(list(NAMES))

    def rows_estimate(self) -> int:
        """From the sizes of the files."""
        return sum(text.entry.length for text in self.texts) // ROW_BYTES

    def total(self, rank: int, size: int) -> int:
        """Bytes of the share of a rank; 0 where some of it is compressed."""
        spans = shares(self.texts, rank, size)
        return sum((s.end or 0) - s.start for s in spans) if all(s.end for s in spans) else 0

    def check(self, schema: Schema) -> None:
        """Nothing: all files have the same columns."""

    def pieces(self, schema: Schema, rank: int, size: int, columns: Sequence[str]) -> Iterator[Piece]:
        """The share of a rank in blocks; each is parsed with the movie that it begins in."""
        for span in shares(self.texts, rank, size):
            movie = -1
            for block in blocks(span):
                if movie < 0 and block.offset:
                    movie = _movie_before(block)

                def parse(block: Block = block, movie: int = movie) -> tuple[pa.Table, Place]:
                    return _movies(block, movie, schema, columns)

                yield Piece(parse=parse, amount=len(block.content))
                movie = _last_movie(block.content, movie)


def _last_movie(content: bytes, before: int) -> int:
    """The movie of the last header of whole lines; `before` where there is none."""
    colon = content.rfind(b":")
    digits = content[content.rfind(b"\n", 0, max(colon, 0)) + 1 : max(colon, 0)]
    return int(digits) if digits.isdigit() else before


def _movie_before(block: Block) -> int:
    """The movie in whose rows a block begins, looked for backwards in the file."""
    content, start = b"", block.offset
    with block.text.open() as stream:
        while (start and (colon := content.rfind(b":")) < 0) or (start and b"\n" not in content[:colon]):
            length = min(_BACK, start)
            start -= length
            stream.seek(start)
            content = stream.read(length) + content
    return _last_movie(content, -1)


def _movies(block: Block, movie: int, schema: Schema, columns: Sequence[str]) -> tuple[pa.Table, Place]:
    """The rows of a block with the movie of each.

    Args:
        movie: that of the rows before the first header; -1: there may be none.

    Raises:
        ValueError: a broken header or row, with file and line.
    """
    shown = block.text.shown
    if movie < 0 and not block.content.lstrip(b"\xef\xbb\xbf").split(b"\n", 1)[0].rstrip().endswith(b":"):
        raise ValueError(f"{shown} begins with rows, expected a line 'movie:' first")
    try:
        body, movies, before = split_headers(block.content)
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from None
    blanked = Block(text=block.text, offset=block.offset, content=body, written=block.content)
    types = {name: schema.types[name] for name in columns if name != "item"}
    lines = sum(1 for line in block.content.split(b"\n") if line.strip(b"\r")) - len(movies)
    if lines:
        table = columns_of(body, blanked, _LAYOUT, types, schema)
    else:
        table = pa.table({name: pa.array([], kind) for name, kind in types.items()})
    if table.num_rows != lines:
        raise ValueError(
            f"{shown}, from line {block.line()}: {lines} lines hold {table.num_rows} rows; an unbalanced quote?"
        )
    counts = np.diff(np.append(before, lines), prepend=0)
    owners = np.repeat(np.append(np.int64(movie), movies), counts)
    return table.append_column("item", pa.array(owners)), lambda row: f"{shown}, line {blanked.line(row)}"
