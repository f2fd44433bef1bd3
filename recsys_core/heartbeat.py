"""A small process beside each rank that tells rank 0 that the rank runs, and hears the same from rank 0.

A process of its own, because a thread would be silent while C code holds Python's lock, as a long factorisation does.
It looks at the state of its rank in /proc, so a rank that is stopped (SIGSTOP) counts as silent; where there is no
/proc, only hosts and networks are watched. Run by its path, with the standard library only; `watchdog` starts it and
describes the lines on standard input and output. Between the processes, over TCP:

    hello TOKEN RANK    from a rank          hello TOKEN    the answer, so that another program's port is not taken
    .                   the rank runs        s              the rank is stopped; this process is not
    bye                 the rank has ended its work
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

if __package__:
    from recsys_core.other_processes import SECONDS_TO_END, end_launcher, is_stopped, parent_of, passes
    from recsys_core.silence import SILENT, Silence
else:  # run by its path, without the packages beside it
    sys.path.append(str(Path(__file__).resolve().parent))
    from other_processes import SECONDS_TO_END, end_launcher, is_stopped, parent_of, passes  # type: ignore[no-redef]
    from silence import SILENT, Silence  # type: ignore[no-redef]

CONNECT_SECONDS = 2.0
LONGEST_LINE = 1 << 12
"""Bytes. Anybody can connect to the port of rank 0; a peer that sends more without a line's end is left."""
UNREACHED_SECONDS = 30.0
"""Time after which rank 0 tells which ranks never reached it."""


class Link:
    """A connection that is read by lines and never waited for."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection, self._rest = connection, b""
        self.rank: int | None = None

    def send(self, line: str) -> None:
        """Send a line; what a peer does not take is lost, as it does not answer anyway."""
        with contextlib.suppress(OSError):
            self.connection.send(f"{line}\n".encode())

    def lines(self) -> list[str] | None:
        """The lines that came; None at the end of the connection, or where it is to be ended."""
        try:
            data = self.connection.recv(1 << 16)
        except BlockingIOError:
            return []
        except OSError:
            return None
        if not data:
            return None
        *whole, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > LONGEST_LINE:
            return None
        return [line.decode(errors="replace") for line in whole]


class Heartbeat:
    """What the processes of rank 0 and of the others have in common."""

    def __init__(self, given: dict[str, Any]) -> None:
        """
        Args:
            given: rank, hosts of all ranks, limit, token; and of rank 0 its addresses and port.
        """
        self.rank, self.hosts, self.token = given["rank"], given["hosts"], given["token"]
        self.parent, self.run = os.getppid(), given.get("run", "")
        self.interval = min(5.0, given["limit"] / 10)
        watched = range(1, len(self.hosts)) if self.rank == 0 else [0]
        self.silence = Silence({rank: self.hosts[rank] for rank in watched}, given["limit"])
        self.selector = selectors.DefaultSelector()
        self.stopped = False
        self._rest = b""
        os.set_blocking(0, False)
        self.selector.register(0, selectors.EVENT_READ, lambda: self._command())

    def beat(self, word: str) -> None:
        """Tell the others that the rank runs (".") or is stopped ("s")."""
        raise NotImplementedError

    def farewell(self) -> None:
        """Tell the others that the rank has ended its work."""
        raise NotImplementedError

    def hear(self, rank: int, word: str) -> None:
        """Note a line of a rank."""
        if word == "." and (line := self.silence.heard(rank, time.monotonic())):
            say(f"watchdog: {line}")

    def loop(self) -> None:
        """Beat and listen until the rank ends."""
        last = time.monotonic()
        while os.getppid() == self.parent:
            before = time.monotonic()
            ready = self.selector.select(self.interval / 2)
            waited = time.monotonic() - before
            if waited > 3 * self.interval + 1:  # this process itself was stopped, as all of its host
                self.silence.shift(waited)
            for key, _ in ready:
                key.data()
            now = time.monotonic()
            if now - last < self.interval / 2:
                continue
            was_stopped, self.stopped = self.stopped, is_stopped(self.parent)
            if was_stopped or self.stopped:  # a rank that is stopped judges nobody
                self.silence.shift(now - last)
            last = now
            self.beat("s" if self.stopped else ".")
            if not self.stopped:
                self.judge(now)

    def judge(self, now: float) -> None:
        """Name ranks that are silent; end the job where one was silent for too long."""
        if line := self.silence.word(now):
            say(f"watchdog: {line}")
        if line := self.silence.verdict(now - self.patience):
            say(f"error: {line}{self._hint()}")
            tell(end=True)
            self.end_parent()

    @property
    def patience(self) -> float:
        """Seconds that this rank waits longer than others, so that one of them speaks."""
        return 0.2 * min(self.rank, 50)

    def end_parent(self) -> None:
        """Give the rank time to end the job; then kill it. Does not return."""
        launcher = parent_of(self.parent)
        if not passes(lambda: os.getppid() != self.parent, SECONDS_TO_END):
            os.kill(self.parent, signal.SIGKILL)
        end_launcher(launcher, SILENT)
        sys.exit(0)

    def _hint(self) -> str:
        """How to go on, where there is a run to go on with."""
        if not self.run or (self.rank == 0 and not (Path(self.run) / "run.json").is_file()):
            return ""
        return f"; go on from the last checkpoint with --resume {self.run}"

    def _command(self) -> None:
        """A line of the rank, or its end."""
        data = os.read(0, 1 << 16)
        if not data:
            sys.exit(0)
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            given = json.loads(line)
            self.run = given.get("run", self.run)
            if given.get("bye"):
                self.farewell()
                sys.exit(0)


class First(Heartbeat):
    """The process of rank 0: all others connect to it."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__(given)
        self._links: dict[int, Link] = {}
        self._started, self._told_unreached = time.monotonic(), False
        self._server = socket.create_server(("", given.get("port", 0)), backlog=1024)
        self._server.setblocking(False)
        self.selector.register(self._server, selectors.EVENT_READ, self._accept)
        self._port = self._server.getsockname()[1]
        tell(port=self._port)

    def beat(self, word: str) -> None:
        for link in self._links.values():
            link.send(word)

    def farewell(self) -> None:
        self.beat("bye")

    def judge(self, now: float) -> None:
        if not self._told_unreached and now - self._started > UNREACHED_SECONDS:
            self._told_unreached = True
            if missing := self.silence.unheard():
                names = ", ".join(f"{rank} on {self.hosts[rank]}" for rank in missing[:3])
                more = f" and {len(missing) - 3} more" if missing[3:] else ""
                say(
                    f"watchdog: rank {names}{more} did not reach port {self._port} of {self.hosts[0]}; the job goes "
                    "on, but nothing is said if it falls silent"
                )
        super().judge(now)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            link = Link(self._server.accept()[0])
            self.selector.register(link.connection, selectors.EVENT_READ, lambda: self._read(link))

    def _read(self, link: Link) -> None:
        lines = link.lines()
        for line in lines or ():
            if link.rank is None and not self._greet(link, line):
                lines = None
                break
            assert link.rank is not None
            if line == "bye":
                self.silence.left(link.rank)
                self._links.pop(link.rank, None)
            else:
                self.hear(link.rank, line)
        if lines is None:
            self.selector.unregister(link.connection)
            link.connection.close()
            if link.rank is not None and self._links.get(link.rank) is link:
                del self._links[link.rank]
                tell(lost=link.rank)

    def _greet(self, link: Link, line: str) -> bool:
        """Take a rank of this job; False for anybody else."""
        word, _, rest = line.partition(" ")
        token, _, rank = rest.partition(" ")
        if word != "hello" or token != self.token or not rank.isdigit() or int(rank) >= len(self.hosts):
            return False
        link.rank = int(rank)
        self._links[link.rank] = link
        tell(back=link.rank)
        link.send(f"hello {self.token}")
        self.hear(link.rank, ".")
        return True


class Other(Heartbeat):
    """The process of another rank: it keeps a connection to that of rank 0."""

    def __init__(self, given: dict[str, Any]) -> None:
        super().__init__(given)
        self._addresses, self._port = given["addresses"], given["port"]
        self._link: Link | None = None
        self._over = False
        """Whether rank 0 has ended its work."""
        self._seen: float | None = None
        """When something last came from rank 0's process; None before the first time."""
        self._connect()

    def beat(self, word: str) -> None:
        """A connection over which nothing comes is made anew: after a cut cable TCP waits ever longer by itself."""
        quiet = time.monotonic() - self._seen if self._seen is not None else 0.0
        is_due = time.monotonic() - self._tried > 2 * self.interval and not self._over
        if is_due and (self._link is None or quiet > 3 * self.interval):
            self._connect()
        if self._link is not None:
            self._link.send(word)
        if self.stopped and quiet > self.silence.limit:  # the job has ended without this rank
            os.kill(self.parent, signal.SIGKILL)

    def farewell(self) -> None:
        if self._link is not None:
            self._link.send("bye")

    def _connect(self) -> None:
        """Try the addresses of rank 0 in turn; the first that answers with the token is taken."""
        for address in self._addresses:
            with contextlib.suppress(OSError):
                connection = socket.create_connection((address, self._port), CONNECT_SECONDS)
                connection.settimeout(CONNECT_SECONDS)
                connection.sendall(f"hello {self.token} {self.rank}\n".encode())
                expected = f"hello {self.token}\n".encode()
                if connection.recv(len(expected), socket.MSG_WAITALL) == expected:
                    self._take(Link(connection))
                    break
                connection.close()
        self._tried = time.monotonic()

    def _take(self, link: Link) -> None:
        self._close()
        self._link, self._seen = link, time.monotonic()
        self.selector.register(link.connection, selectors.EVENT_READ, lambda: self._read(link))
        self.hear(0, ".")
        tell(back=0)

    def _close(self) -> None:
        if self._link is not None:
            self.selector.unregister(self._link.connection)
            self._link.connection.close()
            self._link = None

    def _read(self, link: Link) -> None:
        lines = link.lines()
        if lines is None:
            self._close()
            if not self._over:
                tell(lost=0)
            return
        for line in lines:
            self._seen = time.monotonic()
            if line == "bye":
                self._over = True
                self.silence.left(0)
            else:
                self.hear(0, line)


def say(line: str) -> None:
    """A line for the user."""
    with contextlib.suppress(OSError):
        os.write(2, f"{line}\n".encode())


def tell(**values: Any) -> None:
    """A line for the rank."""
    with contextlib.suppress(OSError):
        os.write(1, f"{json.dumps(values)}\n".encode())


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):  # for the rank; this process ends with it
        signal.signal(number, signal.SIG_IGN)
    given = json.loads(sys.stdin.buffer.raw.readline())  # type: ignore[union-attr]
    (First if given["rank"] == 0 else Other)(given).loop()


if __name__ == "__main__":
    main()
