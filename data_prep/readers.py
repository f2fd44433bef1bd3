"""The readers of the three families of files: delimited text, Netflix, Parquet. Each reads this rank's share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from data_prep import netflix
from data_prep.interactions import Interactions
from data_prep.parallel import Ranks
from data_prep.text import Layout, blocks, from_columns, parse_block, read_header, share_of


def _bar(total: int, ranks: Ranks, unit: str) -> tqdm:
    return tqdm(
        total=total,
        unit=unit,
        unit_scale=True,
        desc="reading",
        leave=False,
        disable=None if ranks.is_first else True,
        mininterval=0.5,
    )


def _check_names(path: Path, names: Sequence[str]) -> None:
    if twice := [n for n in dict.fromkeys(names) if list(names).count(n) > 1]:
        raise ValueError(f"{path}: column {twice[0]!r} is there twice, every column needs its own name")


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
    wanted = [user, item, *([rating] if rating else []), *([time] if time else [])]
    if missing := [c for c in wanted if c not in names]:
        raise ValueError(
            f"{path}: no column {', '.join(map(repr, missing))} among {', '.join(map(repr, names))[:200]}; check the "
            f"delimiter ({delimiter!r}, change it with --delimiter) or name the columns with --user-column, "
            "--item-column, --rating-column, --time-column"
        )
    rating = rating or _column(names, "rating")
    time = _column(names, "timestamp") if time == "" else time
    return Layout(delimiter=delimiter, columns=names, user=user, item=item, rating=rating, time=time, header=True), skip


def read_text(path: Path, layout: Layout, skip: int, threshold: float, ranks: Ranks) -> list[Interactions]:
    """Events of one delimited file, whole on rank 0.

    Raises:
        ValueError: the file is empty or a row is broken.
    """
    if path.stat().st_size <= skip:
        raise ValueError(f"{path} holds no rows")
    mine = share_of([path], ranks.rank, ranks.size, skip)
    parts = []
    with _bar(sum(s.end - s.start for s in mine), ranks, "B") as bar, ThreadPoolExecutor(1) as parser:
        waiting = None
        for span in mine:
            for offset, block in blocks(span):  # the next block is read while this one is parsed
                parsed = parser.submit(parse_block, block, offset, path, layout, threshold)
                if waiting is not None:
                    parts.append(waiting.result())
                waiting = parsed
                bar.update(len(block))
        if waiting is not None:
            parts.append(waiting.result())
    return ranks.gather_events(Interactions.concatenate(parts))


def _netflix_parts(
    files: Sequence[Path], small: bool, threshold: float, with_times: bool, ranks: Ranks
) -> Iterator[netflix.Part]:
    if small:
        mine = [files[k] for k in np.array_split(np.arange(len(files)), ranks.size)[ranks.rank]]
        yield from netflix.read_small_files(mine, threshold, with_times)
        return
    for span in share_of(files, ranks.rank, ranks.size):
        yield from netflix.read_span(span, threshold, with_times)


def read_netflix(folder: Path, threshold: float, ranks: Ranks, with_times: bool = False) -> list[Interactions]:
    """Events of the Netflix Prize data, whole on rank 0.

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
    with _bar(0, ranks, "row") as bar:
        for part in _netflix_parts(files, small, threshold, with_times, ranks):
            parts.append(part)
            bar.update(part.events.rows_read)
    mine = netflix.merge(parts)
    del parts
    movies, gathered = ranks.gather(mine.last_movie), ranks.gather_events(mine.events)
    pieces = [netflix.Part(events=e, last_movie=m) for e, m in zip(gathered, movies, strict=True)]
    whole = netflix.merge(pieces).events
    if len(whole.items) and int(whole.items.min()) < 0:
        raise ValueError(f"{files[0]} begins with rows, expected a line 'movie:' first")
    return [whole] if ranks.is_first else []


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
    path: Path, user: str, item: str, rating: str | None, threshold: float, ranks: Ranks, time: str | None = None
) -> list[Interactions]:
    """Events of a Parquet file, whole on rank 0; row groups are shared among ranks.

    Args:
        rating, time: as in `text_layout`.

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
    if missing := [c for c in [user, item, *([rating] if rating else []), *([time] if time else [])] if c not in names]:
        raise ValueError(
            f"{path}: no column {', '.join(map(repr, missing))} among {', '.join(map(repr, names))}; "
            "name them with --user-column, --item-column, --rating-column, --time-column"
        )
    rating = rating or _column(names, "rating")
    time = _column(names, "timestamp") if time == "" else time
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
        with _bar(file.metadata.num_rows, ranks, "row") as bar:
            for batch in file.iter_batches(batch_size=1 << 20, row_groups=mine, columns=columns) if mine else ():
                table = pa.Table.from_batches([batch])
                users, items = table[user].cast(pa.int64()), table[item].cast(pa.int64())

                def where(row: int, done: int = done) -> str:
                    return f"{path}, row {done + row + 1}{' of this rank' if ranks.size > 1 else ''}"

                times = table[time] if time else None
                if times is not None and not pa.types.is_integer(times.type):
                    times = _as_numbers(times, path, str(time))
                parts.append(from_columns(users, items, table[rating] if rating else None, threshold, where, times))
                done += batch.num_rows
                bar.update(batch.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"{path} is damaged: {str(error).splitlines()[0]}") from None
    return ranks.gather_events(Interactions.concatenate(parts))
