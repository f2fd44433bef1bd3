"""The Netflix Prize format: a line ``movie:`` and then that movie's rows ``user,rating,date``.

The same bytes come as four ``combined_data_*.txt`` files or as 17,770 ``mv_*.txt`` files, so one parser serves both.
A block may begin in the middle of a movie; such rows wait for the header that came before them (`merge`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.read.interactions import Ids, Interactions, Keep, kept
from data_prep.read.layout import Layout
from data_prep.read.text import BLOCK_BYTES, Span, blocks, parse_block

COLON, NEWLINE, RETURN = 58, 10, 13
MOST_DIGITS = 9
_BODY = Layout(
    delimiter=",",
    columns=("user", "rating", "date"),
    user="user",
    item="rating",
    rating="rating",
    header=False,
    dates=True,
)
_EVERY_ROW = Keep(threshold=-np.inf)


@dataclass(frozen=True, kw_only=True)
class Part:
    """What one block held; rows before its first header have item -1."""

    events: Interactions
    last_movie: int
    """The movie of the block's last header, -1 if it has none."""


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


def parse_movies(block: bytes, offset: int, path: Path, keep: Keep, with_times: bool = False) -> Part:
    """Parse whole lines of the format into the events to keep.

    Args:
        with_times: whether the dates are read too.

    Raises:
        ValueError: a broken header or row, with file and line.
    """
    block = block.rstrip() + b"\n"
    if offset == 0 and not block.split(b"\n", 1)[0].rstrip().endswith(b":"):
        raise ValueError(f"{path} begins with rows, expected a line 'movie:' first")
    try:
        body, movies, rows_before = split_headers(block)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    rows = block.count(b"\n") - len(movies)
    # The rating stands in the "item" column here, and every row is kept, so that owners can be counted off.
    layout = replace(_BODY, time="date") if with_times else _BODY
    everything = parse_block(body, offset, path, layout, _EVERY_ROW, rows) if rows else Interactions.concatenate([])
    counts = np.diff(np.append(rows_before, rows), prepend=0)
    # Rows in front of the first header belong to the movie of the block before: -1 until `merge`.
    owner = np.repeat(np.append(-1, movies), counts)
    positive = everything.items > keep.threshold
    return Part(
        events=kept(everything.users, owner.astype(np.int32), positive, keep, everything.times),
        last_movie=int(movies[-1]) if len(movies) else -1,
    )


def merge(parts: Iterable[Part]) -> Part:
    """Join parts in order: rows in front of a part's first header get the last movie of the parts before it.

    Rows in front of the very first header keep item -1, for a merge with what another rank read before.
    """
    movie, joined = -1, []
    for part in parts:
        events = part.events
        if movie >= 0:
            low = None if events.low_items is None else _of_movie(movie, events.low_items)
            events = replace(events, items=_of_movie(movie, events.items), low_items=low)
        joined.append(events)
        movie = part.last_movie if part.last_movie >= 0 else movie
    return Part(events=Interactions.concatenate(joined), last_movie=movie)


def _of_movie(movie: int, items: Ids) -> Ids:
    """Items, those that were not known yet (-1) replaced by the movie."""
    waiting = items == -1
    return np.where(waiting, np.int32(movie), items) if waiting.any() else items


def read_span(span: Span, keep: Keep, with_times: bool = False) -> Iterator[Part]:
    """The parts of one byte range of a combined file, or of one movie file."""
    for offset, block in blocks(span):
        yield parse_movies(block, offset, span.path, keep, with_times)


def read_small_files(paths: Sequence[Path], keep: Keep, with_times: bool = False) -> Iterator[Part]:
    """The parts of many one-movie files, parsed a block's worth of files at a time."""
    for together in _batches(paths):
        contents = [path.read_bytes().rstrip() + b"\n" for path in together]
        headed = all(content.split(b"\n", 1)[0].rstrip().endswith(b":") for content in contents)
        try:
            joined = b"".join(contents)
            part = parse_movies(joined, 0, together[0].parent, keep, with_times) if headed else None
        except (ValueError, OSError):
            part = None
        if part is not None:
            yield part
            continue
        for path, content in zip(together, contents, strict=True):  # one by one, to name the broken file and its line
            yield parse_movies(content, 0, path, keep, with_times)


def _batches(paths: Sequence[Path]) -> Iterator[list[Path]]:
    """Consecutive files of about a block's size together."""
    together: list[Path] = []
    size = 0
    for path in paths:
        together.append(path)
        size += path.stat().st_size
        if size >= BLOCK_BYTES:
            yield together
            together, size = [], 0
    if together:
        yield together


def joined_ranks(pieces: Sequence[Part], source: Path) -> Interactions:
    """The events of all ranks, of their parts in rank order.

    Raises:
        ValueError: the source begins with rows.
    """
    whole = merge(pieces).events
    if len(whole.items) and int(whole.items.min()) < 0:
        raise ValueError(f"{source} begins with rows, expected a line 'movie:' first")
    return whole
