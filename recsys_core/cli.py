"""The frame of every command that works on ranks: errors become one line and an exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TypeVar

from recsys_core import distributed
from recsys_core.errors import SharedExit, UserError

C = TypeVar("C")
INTERRUPTED = 130
"""The shell's status for Ctrl-C."""


def _say(error: Exception) -> None:
    if distributed.rank_hint() == 0:
        print(f"error: {error}", file=sys.stderr, flush=True)


def run(parse: Callable[[], C], work: Callable[[C, distributed.World], int]) -> int:
    """Parse, join the ranks, work.

    Args:
        parse: reads arguments and files; any ValueError of it is the user's.
        work: what every rank does; returns the exit status.

    Returns:
        What `work` returned; 2 for bad input or a full disk; the status of a `SharedExit`; 130 after Ctrl-C.
    """
    try:
        request = parse()
    except ValueError as error:
        _say(error)
        return UserError.exit_status
    try:
        with distributed.session() as world:
            return work(request, world)
    except (UserError, SharedExit) as error:
        _say(error)
        return error.exit_status
    except KeyboardInterrupt:
        return INTERRUPTED
