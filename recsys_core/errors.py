"""Errors that are not defects of the program: reported in one line, each with its exit status.

Other exceptions are defects and keep their traceback, a ValueError of TensorFlow included.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

MOST_NAMED = 3
"""Ranks that one message names at most."""


class UserError(ValueError):
    """Something the user gave, or their disk, is wrong; it may have been found on one rank only."""

    exit_status = 2


class SharedExit(Exception):
    """Something that every rank raises at the same place, so that all can part in good order."""

    exit_status = 1


class SharedError(UserError, SharedExit):
    """A user's error that every rank raises."""

    exit_status = 2


class Stopped(SharedExit):
    """A signal came where there was nothing to save."""

    def __init__(self, text: str, exit_status: int) -> None:
        super().__init__(text)
        self.exit_status = exit_status


class NonFiniteError(SharedExit):
    """A loss or a gradient is infinite or not a number; says where."""

    exit_status = 4


def os_message(error: OSError) -> str:
    """One line for an error of the operating system: the file and the reason."""
    reason = error.strerror or str(error)
    return f"{error.filename}: {reason}" if error.filename else reason


def outcome(work: Callable[[], Any]) -> tuple[Any, str | None]:
    """The result of `work` and None, or None and the line of the user's error that it raised."""
    try:
        return work(), None
    except ValueError as error:
        return None, str(error)
    except OSError as error:
        return None, os_message(error)


def place(rank: int, host: str) -> str:
    """A rank and its host, for messages."""
    return f"rank {rank} on {host}"


def errors_of_ranks(found: Sequence[tuple[str, str | None]]) -> str:
    """One line for the errors of several ranks: that of rank 0, then others with rank and host.

    Args:
        found: host and error of each rank; None for a rank without one.
    """
    first: dict[tuple[str, str], int] = {}  # of the ranks of a host with the same error one is named
    for rank, (host, text) in enumerate(found):
        if text is not None and (rank == 0 or text != found[0][1]):
            first.setdefault((host, text), rank)
    return one_line([text if rank == 0 else f"{place(rank, host)}: {text}" for (host, text), rank in first.items()])


def one_line(texts: Sequence[str]) -> str:
    """The first texts of a list, and how many more there are."""
    more = len(texts) - MOST_NAMED
    return "; ".join(texts[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
