"""The Netflix Prize format: a line ``movie:`` and then that movie's rows ``user,rating,date``.

The same bytes come as four ``combined_data_*.txt`` files or as 17,770 ``mv_*.txt`` files, so one parser serves both.
A block may begin in the middle of a movie; its first rows belong to the last header before it. Shape legend: R rows,
H headers of a block.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from data_prep import progress
from data_prep.read import paths
from data_prep.read.cutting import BLOCK_BYTES, Block, Span, Text, blocks, lines_before, shares
from data_prep.read.delimited import Layout, parsed
from data_prep.read.rows import Ids, Rows
from data_prep.read.schema import Schema
from data_prep.read.streams import Entry
from data_prep.read.tables import WiderType

T = TypeVar("T")
COLON, NEWLINE, RETURN = 58, 10, 13
MOST_DIGITS = 9
PARSERS = 2
"""Blocks that are parsed at a time, while the next one is read."""
ROW_BYTES = 21
"""About so many bytes has a row."""
LAYOUT = Layout(delimiter=",", names=("user", "rating", "date"))
TYPES = {"user": pa.int64(), "rating": pa.float32(), "date": pa.date32()}
SCHEMA = Schema(
    names=("movie", *LAYOUT.names),
    user="user",
    item="movie",
    value="rating",
    kind="rating",
    time="date",
    types={"movie": pa.int64(), **TYPES},
    time_unit="D",
)


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


class _Body(Block):
    """A block whose header lines are blanked: every byte stands where it stands in the file."""

    def line(self, row: int = 0) -> int:
        """1-based number of the line in which a row begins."""
        return lines_before(self.text, self.offset + self.row_offset(row)) + 1


def parse_movies(block: Block, before: int | None) -> Rows:
    """Parse whole lines of the format.

    Args:
        before: the movie of the last header before the block.

    Raises:
        ValueError: a broken header or row, with file and line.
    """
    content = block.content.rstrip() + b"\n"
    if before is None and not content.split(b"\n", 1)[0].rstrip().endswith(b":"):
        raise ValueError(f"{block.text.shown} begins with rows, expected a line 'movie:' first")
    try:
        body, movies, rows_before = split_headers(content)
    except ValueError as error:
        raise ValueError(f"{block.text.shown}: {error}") from None
    rows = content.count(b"\n") - len(movies)
    table = _table(_Body(text=block.text, offset=block.offset, content=body), rows)
    counts = np.diff(np.append(rows_before, rows), prepend=0)
    owner = np.repeat(np.append(0 if before is None else before, movies), counts)
    return Rows(
        users=Ids(keys=table["user"].to_numpy()),
        items=Ids(keys=owner.astype(np.int32)),
        values=table["rating"].to_numpy(),
        times=table["date"].cast(pa.int32()).to_numpy().astype(np.int64),
    )


def _table(body: _Body, rows: int) -> pa.Table:
    """The columns of the rows of a block.

    Raises:
        ValueError: there are more or fewer than `rows`, or one is broken.
    """
    options = csv.ConvertOptions(column_types=TYPES, strings_can_be_null=True)
    names = csv.ReadOptions(column_names=list(LAYOUT.names), block_size=1 << 20)
    if not rows:
        return pa.table({name: pa.array([], kind) for name, kind in TYPES.items()})
    try:
        table = csv.read_csv(pa.BufferReader(body.content), read_options=names, convert_options=options)
    except pa.ArrowInvalid:
        _explain(body)
        raise
    for name in LAYOUT.names:
        if table[name].null_count:
            row = int(np.argmax(table[name].is_null().to_numpy()))
            raise ValueError(f"{body.text.shown}, line {body.line(row)}: {name} is empty, every row needs one")
    if table.num_rows != rows:
        raise ValueError(
            f"{body.text.shown}, from line {body.line()}: {rows} lines hold {table.num_rows} rows; "
            "an unbalanced quote or an empty line between rows?"
        )
    return table


def _explain(body: _Body) -> None:
    """Raise ValueError with the place of what cannot be parsed."""
    try:
        parsed(body, LAYOUT, TYPES, SCHEMA)
    except WiderType as error:
        value = error.values[0]
        line = lines_before(body.text, body.offset + body.content.index(value.encode())) + 1
        raise ValueError(
            f"{body.text.shown}, line {line}: {value[:40]!r} in column {error.column!r} is no {error.column}"
        ) from None


def parse_files(parts: Sequence[Block], before: int | None) -> Iterator[Rows]:
    """The rows of one block, or of many small files, which are parsed together where all are sound."""
    if len(parts) == 1:
        yield parse_movies(parts[0], before)
        return
    contents = [part.content.rstrip() + b"\n" for part in parts]
    headed = all(content.split(b"\n", 1)[0].rstrip().endswith(b":") for content in contents)
    try:
        together = Block(text=parts[0].text, offset=0, content=b"".join(contents))
        found = parse_movies(together, None) if headed else None
    except ValueError:
        found = None
    if found is not None:
        yield found
        return
    for part in parts:  # one by one, to name the broken file and its line
        yield parse_movies(part, None)


def last_movie(content: bytes) -> int | None:
    """The movie of the last header, None where there is none (or it is broken, which parsing finds)."""
    end = content.rfind(b":")
    start = content.rfind(b"\n", 0, max(end, 0)) + 1
    text = content[start:end]
    return int(text) if end >= 0 and text.isdigit() else None


class NetflixSource:
    """The files of the Netflix Prize."""

    def __init__(self, place: Path) -> None:
        """Find the files.

        Raises:
            ValueError: there are none.
        """
        self.schema = SCHEMA
        found = sorted(place.rglob("combined_data_*.txt")) if place.is_dir() else [place]
        found = found or sorted(place.rglob("mv_*.txt"))
        if not found:
            raise ValueError(f"{place} holds neither combined_data_*.txt nor mv_*.txt, the files of the Netflix Prize")
        self._files = paths.find([str(path) for path in found])
        self._texts = [Text(entry=Entry(file=f, length=f.size), quotes=False) for f in self._files if f.size]

    @property
    def files(self) -> Sequence[str]:
        """The files."""
        return [file.shown for file in self._files]

    def stamp(self) -> str:
        """A digest of names, sizes and times."""
        return paths.stamps(self._files)

    def digest(self) -> str:
        """SHA-256 over the contents."""
        return paths.contents(self._files)

    def rows_estimate(self) -> int:
        """From the sizes."""
        return sum(file.size for file in self._files) // ROW_BYTES

    def widen(self, column: str, values: Sequence[str]) -> None:
        """Every type is as published.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{values[0][:40]!r} in column {column!r} is not a number")

    def read(self, rank: int, size: int, use: Callable[[Rows], T], *, with_times: bool = True) -> Iterator[T]:
        """As `source.Source.read`."""
        del with_times
        spans = shares(self._texts, rank, size)
        waiting: deque[Future[list[T]]] = deque()

        def work(parts: Sequence[Block], before: int | None) -> list[T]:
            return [use(rows) for rows in parse_files(parts, before)]

        total = sum((span.end or 0) - span.start for span in spans)
        with progress.bar("reading", total, "B") as bar, ThreadPoolExecutor(PARSERS) as parsers:
            try:
                for parts, before in _pieces(spans):
                    waiting.append(parsers.submit(work, parts, before))
                    if len(waiting) > PARSERS:
                        yield from waiting.popleft().result()
                    bar.update(sum(len(part.content) for part in parts))
                while waiting:
                    yield from waiting.popleft().result()
            finally:
                for one in waiting:
                    one.cancel()


def _pieces(spans: Sequence[Span]) -> Iterator[tuple[list[Block], int | None]]:
    """Blocks that are parsed together, and the movie of the last header before them."""
    small: list[Block] = []
    held = 0
    for span in spans:
        before = _movie_before(span) if span.start else None
        for block in blocks(span):
            if not span.start and span.end is not None and span.end == len(block.content) < BLOCK_BYTES // 4:
                small.append(block)
                held += len(block.content)
                if held >= BLOCK_BYTES:
                    yield small, None
                    small, held = [], 0
                continue
            yield [block], before
            found = last_movie(block.content)
            before = before if found is None else found
    if small:
        yield small, None


def _movie_before(span: Span) -> int | None:
    """The movie of the last header that begins before a span; looks back piece by piece."""
    end, rest = span.start, b""
    with span.text.open() as stream:
        while end > 0:
            start = max(0, end - (1 << 16))
            stream.seek(start)
            rest = stream.read(end - start) + rest[:64]
            if (at := rest.rfind(b":")) >= 0:
                line = rest.rfind(b"\n", 0, at)
                if line >= 0 or start == 0:
                    return int(rest[line + 1 : at]) if rest[line + 1 : at].isdigit() else None
            end = start
    return None
