"""The Netflix Prize format: a line ``movie:`` and then that movie's rows ``user,rating,date``.

The same bytes come as four ``combined_data_*.txt`` files or as 17,770 ``mv_*.txt`` files, so one parser serves both.
A block may begin in the middle of a movie; such rows wait for the header that came before them (`merge`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data_prep.interactions import Interactions
from data_prep.text import BLOCK_BYTES, Layout, Span, blocks, parse_block

COLON, NEWLINE, RETURN = 58, 10, 13
BODY = Layout(
    delimiter=",", columns=("user", "rating", "date"), user="user", item="rating", rating="rating", header=False
)


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
    """
    raw = np.frombuffer(block, np.uint8)
    colons = np.flatnonzero(raw == COLON)
    if not len(colons):
        return block, np.empty(0, np.int64), np.empty(0, np.int64)
    newlines = np.flatnonzero(raw == NEWLINE)
    line_of_header = np.searchsorted(newlines, colons)
    starts = np.where(line_of_header > 0, newlines[line_of_header - 1] + 1, 0)
    body, movies = raw.copy(), np.zeros(len(colons), np.int64)
    for digit in range(int((colons - starts).max(initial=0))):  # one pass a decimal place, not one a header
        place = starts + digit
        inside = place < colons
        values = raw[np.minimum(place, len(raw) - 1)].astype(np.int64) - 48
        if ((values < 0) | (values > 9))[inside].any():
            bad = int(np.argmax(inside & ((values < 0) | (values > 9))))
            text = block[starts[bad] : colons[bad] + 1].decode(errors="replace")
            raise ValueError(f"{text!r} is not a movie header, expected a whole number and ':'")
        movies = np.where(inside, movies * 10 + values, movies)
        body[place[inside]] = NEWLINE
    body[colons] = NEWLINE
    return body.tobytes(), movies, line_of_header - np.arange(len(colons))


def parse_movies(block: bytes, offset: int, path: Path, threshold: float) -> Part:
    """Parse whole lines of the format into positive events.

    Raises:
        ValueError: a broken header or row, with file and line.
    """
    try:
        body, movies, rows_before = split_headers(block)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
    everything = parse_block(body, offset, path, BODY, -np.inf)  # the "item" column holds the rating here
    counts = np.diff(np.append(rows_before, everything.rows_read), prepend=0)
    if (counts < 0).any():
        raise ValueError(f"{path}: empty lines between rows, expected headers and rows only")
    # Rows in front of the first header belong to the movie of the block before: -1 until `merge`.
    owner = np.repeat(np.append(-1, movies), np.append(rows_before[:1], counts[1:]) if len(movies) else counts)
    kept = everything.items > threshold
    return Part(
        events=Interactions(
            users=everything.users[kept], items=owner[kept].astype(np.int32), rows_read=everything.rows_read
        ),
        last_movie=int(movies[-1]) if len(movies) else -1,
    )


def merge(parts: Iterable[Part]) -> Part:
    """Join parts in order: rows in front of a part's first header get the last movie of the parts before it.

    Rows in front of the very first header keep item -1, for a merge with what another rank read before.
    """
    movie, joined = -1, []
    for part in parts:
        events = part.events
        if movie >= 0 and (waiting := events.items == -1).any():
            items = np.where(waiting, np.int32(movie), events.items)
            events = Interactions(users=events.users, items=items, rows_read=events.rows_read)
        joined.append(events)
        movie = part.last_movie if part.last_movie >= 0 else movie
    return Part(events=Interactions.concatenate(joined), last_movie=movie)


def read_span(span: Span, threshold: float) -> Iterator[Part]:
    """The parts of one byte range of a combined file, or of one movie file."""
    for offset, block in blocks(span):
        yield parse_movies(block, offset, span.path, threshold)


def read_small_files(paths: Sequence[Path], threshold: float) -> Iterator[Part]:
    """The parts of many one-movie files, parsed a block's worth of files at a time."""
    pending, size = [], 0
    for k, path in enumerate(paths):
        content = path.read_bytes()
        pending.append(content if content.endswith(b"\n") else content + b"\n")
        size += len(content)
        if size >= BLOCK_BYTES or k == len(paths) - 1:
            yield parse_movies(b"".join(pending), 0, path.parent, threshold)
            pending, size = [], 0
