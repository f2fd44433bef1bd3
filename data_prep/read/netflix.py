"""The Netflix Prize format: a line ``movie:`` and then that movie's rows ``user,rating,date``.

The same bytes come as four ``combined_data_*.txt`` files or as 17,770 ``mv_*.txt`` files, so one parser serves both.
Shape legend: R rows, H headers of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.read.cutting import BLOCK_BYTES, Block, Span, Text, blocks, shares
from data_prep.read.delimited_rows import Layout, columns_of
from data_prep.read.rows import Place
from data_prep.read.schema import Schema
from data_prep.read.streams import Entry
from data_prep.read.tables import SAMPLE_ROWS, Piece, WiderType

COLON, NEWLINE, RETURN = 58, 10, 13
MOST_DIGITS = 9
NAMES = ("user", "item", "rating", "date")
ROW_BYTES = 21
"""About how long a row is."""
_LAYOUT = Layout(delimiter=",", names=("user", "rating", "date"))
_BACK = 1 << 20
SMALL_BYTES = BLOCK_BYTES // 4
"""Smaller files are parsed together."""
_TYPES = {"user": pa.int64(), "item": pa.int64(), "rating": pa.float32(), "date": pa.date32()}


def split_headers(block: bytes) -> tuple[bytes, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Separate movie headers from rows without a loop over lines.

    Returns:
        The block with its header lines blanked; the [H] movie ids; the [H] counts of rows before each header.

    Raises:
        ValueError: a header that is not a whole number of at most nine digits and ':' alone in its line.
    """
    raw = np.frombuffer(block, np.uint8)
    colons = np.flatnonzero(raw == COLON)
    if not len(colons):
        return block, np.empty(0, np.int64), np.empty(0, np.int64)
    newlines = np.flatnonzero(raw == NEWLINE)
    line_of_header = np.searchsorted(newlines, colons)
    starts = np.where(line_of_header > 0, newlines[line_of_header - 1] + 1, 0)
    width, after = colons - starts, raw[np.minimum(colons + 1, len(raw) - 1)]
    wrong = (width < 1) | (width > MOST_DIGITS) | ((after != NEWLINE) & (after != RETURN))
    body, movies = raw.copy(), np.zeros(len(colons), np.int64)
    for digit in range(min(int(width.max()), MOST_DIGITS)):  # one pass a decimal place, not one a header
        place = starts + digit
        inside = place < colons
        values = raw[np.minimum(place, len(raw) - 1)].astype(np.int64) - 48
        wrong |= inside & ((values < 0) | (values > 9))
        movies = np.where(inside, movies * 10 + values, movies)
        body[place[inside]] = NEWLINE
    if wrong.any():
        start = int(starts[np.argmax(wrong)])
        text = block[start : start + 40].split(b"\n")[0].decode(errors="replace")
        raise ValueError(f"{text!r} is not a movie header, expected a whole number and ':' alone in a line")
    body[colons] = NEWLINE
    return body.tobytes(), movies, line_of_header - np.arange(len(colons))


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
        small: list[Block] = []
        held = 0
        for span in shares(self.texts, rank, size):
            movie = -1
            for block in blocks(span):
                if not block.offset and span.end == len(block.content) < SMALL_BYTES:
                    small.append(block)
                    held += len(block.content)
                    if held >= BLOCK_BYTES:
                        yield _together(small, schema, columns)
                        small, held = [], 0
                    continue
                if small:
                    yield _together(small, schema, columns)
                    small, held = [], 0
                if movie < 0 and block.offset:
                    movie = _movie_before(block)

                def parse(block: Block = block, movie: int = movie) -> tuple[pa.Table, Place]:
                    return _movies(block, movie, schema, columns)

                yield Piece(parse=parse, amount=len(block.content))
                movie = _last_movie(block.content, movie)
        if small:
            yield _together(small, schema, columns)


def _together(files: Sequence[Block], schema: Schema, columns: Sequence[str]) -> Piece:
    """Whole small files that are parsed together; one by one where a file is broken, to name it and its line."""

    def parse() -> tuple[pa.Table, Place]:
        contents = [file.content.rstrip() + b"\n" for file in files]
        headed = all(content.split(b"\n", 1)[0].rstrip().endswith(b":") for content in contents)
        if headed and len(files) > 1:
            try:
                return _movies(Block(text=files[0].text, offset=0, content=b"".join(contents)), -1, schema, columns)
            except (ValueError, WiderType):
                pass
        tables = [_movies(file, -1, schema, columns) for file in files]
        return pa.concat_tables([table for table, _ in tables]), tables[0][1]

    return Piece(parse=parse, amount=sum(len(file.content) for file in files))


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
    block = replace(block, content=block.content.rstrip() + b"\n")
    if movie < 0 and not block.content.lstrip(b"\xef\xbb\xbf").split(b"\n", 1)[0].rstrip().endswith(b":"):
        raise ValueError(f"{shown} begins with rows, expected a line 'movie:' first")
    try:
        body, movies, before = split_headers(block.content)
    except ValueError as error:
        raise ValueError(f"{shown}: {error}") from None
    blanked = Block(text=block.text, offset=block.offset, content=body, written=block.content)
    types = {name: schema.types[name] for name in columns if name != "item"}
    lines = block.content.count(b"\n") - len(movies)
    if lines:
        table = columns_of(body, blanked, _LAYOUT, types, schema)
    else:
        table = pa.table({name: pa.array([], kind) for name, kind in types.items()})
    if table.num_rows != lines:
        raise ValueError(
            f"{shown}, from line {block.line()}: {lines} lines hold {table.num_rows} rows; "
            "an unbalanced quote or an empty line between rows?"
        )
    counts = np.diff(np.append(before, lines), prepend=0)
    owners = np.repeat(np.append(np.int64(movie), movies), counts)
    return table.append_column("item", pa.array(owners)), lambda row: f"{shown}, line {blanked.line(row)}"
