"""The readers of the three families of files: delimited text, Netflix, Parquet. Each reads this rank's share."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from data_prep import progress
from data_prep.parallel import Ranks
from data_prep.read import netflix
from data_prep.read.interactions import Interactions, Keep
from data_prep.read.layout import Layout
from data_prep.read.text import blocks, from_columns, parse_block, read_header, share_of

COLUMN_FLAGS = ("--user-column", "--item-column", "--rating-column", "--time-column")
PARSERS = 2
"""Blocks of text that are parsed at a time: one is cut into columns while the rows of the other are selected."""
MOST_LISTED = 1000
"""Characters of the columns that an error lists."""


def _check_names(path: Path, names: Sequence[str]) -> None:
    if twice := [n for n in dict.fromkeys(names) if list(names).count(n) > 1]:
        raise ValueError(f"{path}: column {twice[0]!r} is there twice, every column needs its own name")


def _check_wanted(path: Path, names: Sequence[str], wanted: Sequence[str | None], hint: str = "name ") -> None:
    """Raise ValueError if a column is missing, with the columns that there are and the flags to name others.

    Args:
        wanted: the columns of user, item, rating, time; "" and None: none is asked for.
    """
    missing = {flag: name for flag, name in zip(COLUMN_FLAGS, wanted, strict=True) if name and name not in names}
    if not missing:
        return
    raise ValueError(
        f"{path}: no column {', '.join(map(repr, missing.values()))} among {_listed(names)}; {hint}"
        f"{'the right one' if len(missing) == 1 else 'the right ones'} with {', '.join(missing)}"
    )


def _listed(names: Sequence[str]) -> str:
    """The columns of a file for a message, cut where they are very many."""
    listed = ", ".join(map(repr, names))
    if len(listed) <= MOST_LISTED:
        return listed
    return f"{listed[:MOST_LISTED].rsplit(', ', 1)[0]} and others ({len(names)} columns)"


def _column(names: Sequence[str], wanted: str) -> str | None:
    """The column of a name, however it is capitalised."""
    return next((n for n in names if n.lower() == wanted), None)


def text_layout(
    path: Path, delimiter: str, user: str, item: str, rating: str | None, time: str | None = None
) -> tuple[Layout, int]:
    """The layout of a file with a header line, and the length of that line.

    Args:
        rating: column name; None means "rating" if the file has it, else every row is a positive event.
        time: column name; "" means "timestamp" if the file has it; None: times are not read.

    Raises:
        ValueError: the file is empty, or a named column is not in it.
    """
    if len(delimiter) != 1:
        raise ValueError(f"--delimiter is {delimiter!r}, expected one character (a tab is written $'\\t')")
    if not path.is_file():
        raise ValueError(f"{path} is a folder or an archive, expected the CSV file itself")
    names, skip = read_header(path, delimiter)
    _check_names(path, names)
    hint = f"check the delimiter ({delimiter!r}, change it with --delimiter) or name "
    _check_wanted(path, names, (user, item, rating, time), hint)
    rating = rating or _column(names, "rating")
    time = _column(names, "timestamp") if time == "" else time
    return Layout(delimiter=delimiter, columns=names, user=user, item=item, rating=rating, time=time, header=True), skip


def known_layout(path: Path, known: Layout, name: str, time: str | None) -> tuple[Layout, int]:
    """`text_layout` of a file of a known data set.

    Args:
        known: the layout of the data set.
        name: the data set.
        time: None: times are not read.

    Raises:
        ValueError: the file is empty, or has other columns than the data set.
    """
    names, _ = read_header(path, known.delimiter)
    if missing := [c for c in (known.user, known.item, known.rating) if c and c not in names]:
        raise ValueError(
            f"{path}: no column {', '.join(map(repr, missing))} among {_listed(names)}, expected those of {name}; "
            "a file of your own is read with: python -m data_prep csv --raw FILE --user-column NAME --item-column NAME"
        )
    return text_layout(path, known.delimiter, known.user, known.item, known.rating, time)


def read_text(path: Path, layout: Layout, skip: int, keep: Keep, ranks: Ranks) -> Interactions:
    """This rank's share of the events of one delimited file.

    Raises:
        ValueError: the file is empty or a row is broken.
    """
    if path.stat().st_size <= skip:
        raise ValueError(f"{path} holds no rows")
    mine = share_of([path], ranks.rank, ranks.size, skip)
    parts = []
    size = sum(s.end - s.start for s in mine)
    waiting: deque[Future[Interactions]] = deque()
    with progress.bar("reading", size, "B") as bar, ThreadPoolExecutor(PARSERS) as parser:
        for span in mine:
            for offset, block in blocks(span):  # the next block is read while others are parsed
                waiting.append(parser.submit(parse_block, block, offset, path, layout, keep))
                if len(waiting) > PARSERS:
                    parts.append(waiting.popleft().result())
                bar.update(len(block))
        parts += [parsed.result() for parsed in waiting]
    return Interactions.concatenate(parts)


def _netflix_parts(
    files: Sequence[Path], small: bool, keep: Keep, with_times: bool, ranks: Ranks
) -> Iterator[netflix.Part]:
    if small:
        mine = [files[k] for k in np.array_split(np.arange(len(files)), ranks.size)[ranks.rank]]
        yield from netflix.read_small_files(mine, keep, with_times)
        return
    for span in share_of(files, ranks.rank, ranks.size):
        yield from netflix.read_span(span, keep, with_times)


def read_netflix(folder: Path, keep: Keep, ranks: Ranks, with_times: bool = False) -> netflix.Part:
    """This rank's share of the events of the Netflix Prize data; `netflix.joined_ranks` joins them.

    Args:
        with_times: whether the dates are read too, as days.

    Raises:
        ValueError: no files of the format, or broken ones.
    """
    files = sorted(folder.rglob("combined_data_*.txt")) if folder.is_dir() else [folder]
    small = not files
    files = files or sorted(folder.rglob("mv_*.txt"))
    if not files:
        raise ValueError(f"{folder} holds neither combined_data_*.txt nor mv_*.txt, the files of the Netflix Prize")
    parts = []
    with progress.bar("reading", None, "row") as bar:
        for part in _netflix_parts(files, small, keep, with_times, ranks):
            parts.append(part)
            bar.update(part.events.rows_read)
    return netflix.merge(parts)


def _as_numbers(times: pa.ChunkedArray, path: Path, name: str) -> pa.ChunkedArray:
    """Dates and time stamps as int64, in a unit that keeps their order; fractions as they are.

    Raises:
        ValueError: the column holds something else.
    """
    kind = times.type
    if pa.types.is_timestamp(kind) or pa.types.is_date64(kind):
        return times.cast(pa.int64())
    if pa.types.is_date32(kind) or pa.types.is_floating(kind):
        return times
    raise ValueError(f"{path}: column {name!r} is {kind}, expected whole numbers, dates or time stamps")


def read_parquet(
    path: Path,
    user: str,
    item: str,
    rating: str | None,
    keep: Keep,
    ranks: Ranks,
    time: str | None = None,
    read_times: bool = True,
) -> Interactions:
    """This rank's share of the events of a Parquet file: some of its row groups.

    Args:
        rating, time: as in `text_layout`.
        read_times: whether the column of times is read, or only looked for.

    Raises:
        ValueError: not a Parquet file, a named column is missing or not numeric, an id is missing.
    """
    if not path.is_file():
        raise ValueError(f"{path} is a folder or an archive, expected the Parquet file itself")
    try:
        file = pq.ParquetFile(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is not a readable Parquet file: {str(error).splitlines()[0]}") from None
    names = file.schema_arrow.names
    _check_names(path, names)
    _check_wanted(path, names, (user, item, rating, time))
    rating = rating or _column(names, "rating")
    time = _column(names, "timestamp") if time == "" else time
    time = time if read_times else None
    if (
        rating
        and not pa.types.is_floating(kind := file.schema_arrow.field(rating).type)
        and not pa.types.is_integer(kind)
    ):
        raise ValueError(f"{path}: column {rating!r} is {kind}, expected numbers as ratings")
    for column in (user, item):
        if not pa.types.is_integer(file.schema_arrow.field(column).type):
            kind = file.schema_arrow.field(column).type
            raise ValueError(f"{path}: column {column!r} is {kind}, expected whole numbers as ids")
    if file.metadata.num_rows == 0:
        raise ValueError(f"{path} holds no rows")
    mine = np.array_split(np.arange(file.num_row_groups), ranks.size)[ranks.rank].tolist()
    columns, parts = [user, item, *([rating] if rating else []), *([time] if time else [])], []
    done = 0
    try:
        with progress.bar("reading", file.metadata.num_rows // ranks.size, "row") as bar:
            for batch in file.iter_batches(batch_size=1 << 20, row_groups=mine, columns=columns) if mine else ():
                table = pa.Table.from_batches([batch])
                users, items = table[user].cast(pa.int64()), table[item].cast(pa.int64())

                def where(row: int, done: int = done) -> str:
                    return f"{path}, row {done + row + 1}{' of this rank' if ranks.size > 1 else ''}"

                times = table[time] if time else None
                if times is not None and not pa.types.is_integer(times.type):
                    times = _as_numbers(times, path, str(time))
                parts.append(from_columns(users, items, table[rating] if rating else None, keep, where, times))
                done += batch.num_rows
                bar.update(batch.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
    return Interactions.concatenate(parts)
