"""At most one process at a time changes a model repository: `publish`, and `triton build`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "publish.lock"
WAIT_SECONDS = 300.0
"""How long a publisher waits for another one. It holds the lock while it copies files and the server loads them."""
CHECKED_EVERY = 0.2


@contextmanager
def publishing(repository: Path, wait: float = WAIT_SECONDS) -> Iterator[None]:
    """Hold the lock of a repository while the block runs. The lock of a process that has ended is taken over.

    Args:
        wait: seconds to wait for another process that holds it.

    Raises:
        UserError: another process holds it still (the message names it), or the folder cannot be written.
    """
    from recsys_core.run_lock import InUseError, RunLock

    deadline, waiting = time.monotonic() + wait, False
    while True:
        lock = RunLock(repository, LOCK, "try again when it has ended")
        try:
            note = lock.acquire()
            break
        except InUseError as error:
            if time.monotonic() >= deadline:
                raise
            if not waiting:
                print(f"waiting: {str(error).rpartition(';')[0]} ...", file=sys.stderr, flush=True)
                waiting = True
            time.sleep(CHECKED_EVERY)
    if note:
        print(f"note: {note}", file=sys.stderr)
    try:
        yield
    finally:
        lock.release()
