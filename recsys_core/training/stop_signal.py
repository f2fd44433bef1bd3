"""Signals that ask a run to save a checkpoint and stop. Imports little: commands listen before all other imports."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from recsys_core.world import World

_listening: list[StopSignal] = []


def has_come() -> bool:
    """Whether a stop signal came that some run of this process has not answered yet."""
    return any(stop.received for stop in _listening)


def sent_to_launcher() -> str:
    """Name of the signal that `horovod_launch run` got on this host and passed on as SIGUSR1; "" without one."""
    try:
        text = Path(os.environ["RECSYS_LAUNCHER_NOTE"]).read_text()
    except (KeyError, OSError):
        return ""
    return text if text in {number.name for number in StopSignal.SIGNALS} else ""


class StopSignal:
    """Remembers that SIGTERM, SIGUSR1 or Ctrl-C (SIGINT) came, so that the run can stop where its state is whole.

    mpirun passes SIGUSR1 on to its ranks and waits for them; SIGTERM it follows with SIGKILL. A second Ctrl-C ends the
    process at once.
    """

    SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT)

    def __init__(self) -> None:
        self.received = False
        self.number = 0
        """Of the signal; 0 where none came."""
        self._remembers_interrupts = True

    @property
    def name(self) -> str:
        """As SIGTERM; the one that `horovod_launch run` got, where it passed it on."""
        return sent_to_launcher() or (signal.Signals(self.number).name if self.number else "a request")

    @property
    def is_interrupt(self) -> bool:
        """Whether it was Ctrl-C."""
        return self.number == signal.SIGINT

    def forget(self) -> None:
        """Start anew."""
        self.received, self.number = False, 0

    def on_some_rank(self, world: World) -> bool:
        """Whether a signal came on some rank; then every rank has it."""
        if not world.any(self.received):
            return False
        self.received = True
        self.number = next((number for number in world.gather(self.number) if number), 0)
        return True

    def raise_interrupts(self) -> None:
        """From now on Ctrl-C raises KeyboardInterrupt at once, also one that came before: there is nothing to save."""
        self._remembers_interrupts = False
        if self.is_interrupt:
            raise KeyboardInterrupt

    @contextmanager
    def listening(self) -> Iterator[StopSignal]:
        """Catch the signals while the block runs (only the main thread can)."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {s: signal.getsignal(s) or signal.SIG_DFL for s in self.SIGNALS}
        if before[signal.SIGINT] == signal.SIG_IGN:  # a job in the background of a shell
            del before[signal.SIGINT]
        _listening.append(self)
        try:
            for number in before:
                signal.signal(number, self._take)
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            _listening.remove(self)

    @contextmanager
    def in_fit(self, *, listens: bool) -> Iterator[None]:
        """Remember Ctrl-C too while a model is trained.

        Args:
            listens: whether the signals are caught here, and not by the caller. Then Ctrl-C is raised at the end of the
                block, when the state is saved: the caller's own loop is to end too.
        """
        before, self._remembers_interrupts = self._remembers_interrupts, True
        try:
            if listens:
                with self.listening():
                    yield
            else:
                yield
        finally:
            self._remembers_interrupts = before
        if listens and self.is_interrupt:
            raise KeyboardInterrupt

    def _take(self, number: int, frame: Any) -> None:
        del frame
        if number == signal.SIGINT and not self._remembers_interrupts:
            raise KeyboardInterrupt
        if not self.received:
            self.received, self.number = True, number
        if number == signal.SIGINT:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            os.write(2, b"\nstopping at the next step (Ctrl-C again ends at once) ...\n")
