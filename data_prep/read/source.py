"""Sources of interactions: files of any format, and databases, behind one interface."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from data_prep import progress
from data_prep.read import columns, convert, formats, paths, streams
from data_prep.read.asked import Asked
from data_prep.read.columnar import Columnar
from data_prep.read.delimited import Delimited
from data_prep.read.jsonl import JsonLines
from data_prep.read.lists import Lists
from data_prep.read.netflix import Netflix
from data_prep.read.rows import Rows
from data_prep.read.schema import Schema
from data_prep.read.tables import Piece, Reader, WiderType

T = TypeVar("T")
PARSERS = max(2, min(4, os.cpu_count() or 1))
"""Blocks that are parsed at a time, while the next one is read."""


class Widens(Protocol):
    """A source whose types can turn out too narrow."""

    def widen(self, column: str, values: Sequence[str]) -> None:
        """As `Source.widen`."""


class Source(Protocol):
    """Interactions that can be read again and again, each rank its share."""

    schema: Schema

    @property
    def files(self) -> Sequence[str]:
        """What was found, without passwords."""

    def stamp(self) -> str:
        """A cheap identity: names, sizes and times of the files."""

    def digest(self) -> str:
        """SHA-256 over the contents."""

    def rows_estimate(self) -> int:
        """About how many rows there are; 0: not known."""

    def read(self, rank: int, size: int, use: Callable[[Rows], T], *, with_times: bool = True) -> Iterator[T]:
        """The results of `use` for the blocks of one rank, in order.

        Those of all ranks in rank order are those of the whole source in its order. `use` is called in threads.

        Raises:
            ValueError: a row is broken, in one line with its place.
            WiderType: the types of `schema` do not fit: read again after `widen`, as `read_all` does.
        """

    def widen(self, column: str, values: Sequence[str]) -> None:
        """Change the schema so that a column can hold values that did not fit.

        Raises:
            ValueError: no type can.
        """


class FileSource:
    """Files of one format."""

    def __init__(self, asked: Asked, netflix: bool = False) -> None:
        """Find the files, recognise their format, and choose the columns.

        Args:
            netflix: the files are those of the Netflix Prize.

        Raises:
            ValueError: there are no files, they are damaged, or columns are missing, in one line.
        """
        self._asked = asked
        self._found, entries = streams.entries(asked.raw)
        self._reader: Reader = Netflix(entries) if netflix else _reader(entries, asked)
        self.schema: Schema = columns.choose(
            self._reader.names,
            self._reader.sample,
            asked,
            entries[0].shown if len(entries) == 1 else f"{entries[0].shown} and {len(entries) - 1} more",
            hint=self._reader.hint,
            typed=self._reader.typed,
        )
        self._reader.check(self.schema)

    @property
    def files(self) -> Sequence[str]:
        """The files, without passwords."""
        return tuple(file.shown for file in self._found)

    def stamp(self) -> str:
        """A digest of names, sizes and times (of addresses: ETags)."""
        return paths.stamps(self._found)

    def digest(self) -> str:
        """SHA-256 over the files as they are stored: of one that of its contents, of several that of their digests."""
        return paths.contents(self._found)

    def rows_estimate(self) -> int:
        """From the first rows and the sizes; of Parquet exact."""
        return self._reader.rows_estimate()

    def widen(self, column: str, values: Sequence[str]) -> None:
        """Change the schema so that a column can hold values that did not fit.

        Raises:
            ValueError: no type can.
        """
        self.schema = columns.widened(self.schema, column, values)

    def read(self, rank: int, size: int, use: Callable[[Rows], T], *, with_times: bool = True) -> Iterator[T]:
        """As `Source.read`, with a bar of progress."""
        schema = self.schema
        wanted = [name for name in schema.types if with_times or name != schema.time]

        def work(piece: Piece) -> T:
            table, place = piece.parse()
            return use(convert.rows(table, schema, place, self._asked, with_times=with_times))

        total, unit = self._reader.total(rank, size), self._reader.unit
        waiting: deque[Future[T]] = deque()
        with progress.bar("reading", total, unit) as bar, ThreadPoolExecutor(PARSERS) as parsers:
            try:
                for piece in self._reader.pieces(schema, rank, size, wanted):
                    # the next piece is read while two are parsed
                    waiting.append(parsers.submit(work, piece))
                    if len(waiting) > PARSERS:
                        yield waiting.popleft().result()
                    bar.update(piece.amount)
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for one in waiting:
                    one.cancel()


def _reader(entries: Sequence[streams.Entry], asked: Asked) -> Reader:
    """The reader of the entries.

    Raises:
        ValueError: they are of different formats.
    """
    kind = formats.recognise(entries[0], asked)
    for entry in entries[1:]:
        if (other := formats.recognise(entry, asked)) != kind and {kind, other} != {"csv", "lists"}:
            raise ValueError(
                f"{entry.shown} is {other}, and {entries[0].shown} is {kind}; name files of one format with --raw"
            )
    if kind in ("parquet", "arrow"):
        return Columnar(entries, asked, kind)
    if kind == "json":
        return JsonLines(entries, asked)
    return Lists(entries, asked) if kind == "lists" else Delimited(entries, asked)


def open_source(asked: Asked, rank: int = 0, size: int = 1) -> Source:
    """The source that was asked for: files, or a database.

    Args:
        rank, size: of the process that asks; every rank opens the source by itself.

    Raises:
        ValueError: it cannot be read, in one line.
    """
    if asked.database or asked.sql:
        if asked.raw:
            raise ValueError("--raw does not go with --database and --sql, choose one of them")
        from data_prep.read.sql import SqlSource

        return SqlSource(asked)
    if not asked.raw:
        raise ValueError("nothing to read: name files with --raw, or a database with --database and --sql")
    return FileSource(asked)


def open_netflix(raw: str) -> FileSource:
    """The files of the Netflix Prize: combined_data_*.txt or mv_*.txt of a folder, or a file of them.

    Raises:
        ValueError: there are none, or they are broken, in one line.
    """
    folder = Path(raw)
    found = sorted(folder.rglob("combined_data_*.txt")) if folder.is_dir() else [folder]
    found = found or sorted(folder.rglob("mv_*.txt"))
    if not found:
        raise ValueError(f"{raw} holds neither combined_data_*.txt nor mv_*.txt, the files of the Netflix Prize")
    return FileSource(Asked(raw=tuple(map(str, found))), netflix=True)


def read_all(
    source: Widens,
    read: Callable[[], T],
    agree: Callable[[tuple[str, tuple[str, ...]] | None], tuple[str, tuple[str, ...]] | None] = lambda mine: mine,
) -> T:
    """The result of `read`, called again from the start each time a type turns out too narrow.

    Args:
        read: reads the source and returns what it made of it; it starts anew at each call.
        agree: gives every rank the same answer of all that they bring, one of the (column, values) or None.
    """
    while True:
        problem, result = None, None
        try:
            result = read()
        except WiderType as error:
            problem = (error.column, error.values)
        common = agree(problem)
        if common is None:
            return result  # type: ignore[return-value]
        source.widen(*common)
        progress.step(f"reading again: column {common[0]!r} also holds {common[1][0]!r}")
