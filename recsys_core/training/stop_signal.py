"""Signals that ask a run to save a checkpoint and stop."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class StopSignal:
    """Remembers that SIGTERM or SIGUSR1 arrived, so that the run can stop where its state is whole.

    mpirun passes SIGUSR1 on to its ranks and waits for them; SIGTERM it follows with SIGKILL.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1)

    def __init__(self) -> None:
        self.received = False

    @contextmanager
    def listening(self) -> Iterator[StopSignal]:
        """Catch the signals while the block runs (only the main thread can)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {s: signal.signal(s, lambda *_: setattr(self, "received", True)) for s in self.SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
