"""The parent of one rank under Gloo, on the rank's host: python -m horovod_launch.keeper

Standard input brings a line of JSON with the rank's command, variables and folder, then a line with a number for each
signal to send to it. The end of the input means that the launcher or the connection to it has ended: the rank is asked
to stop, and killed where it does not.

Exit status: that of the rank; 128 + N where signal N ended it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable

from horovod_launch.jobs import KILLED, dies_with, shell_status

GRACE_S = 10


def _follow(lines: Iterable[str], rank: subprocess.Popen[bytes], over: threading.Event) -> None:
    """Send the signals that are asked for; at the end of the input, end the rank."""
    for line in lines:
        if line.strip().isdigit():
            _signal(rank, int(line))
    _signal(rank, signal.SIGTERM)
    over.wait(GRACE_S)
    _signal(rank, signal.SIGKILL)


def _signal(rank: subprocess.Popen[bytes], number: int) -> None:
    try:
        if number == signal.SIGKILL:
            os.killpg(rank.pid, number)  # with the processes that it started
        else:
            rank.send_signal(number)
    except ProcessLookupError:
        pass


def main() -> int:
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        # Signals come as lines. A handler that does nothing, because a rank would inherit that a signal is ignored.
        signal.signal(number, lambda *_: None)
    line = sys.stdin.readline()
    if not line.endswith("\n"):  # the launcher has ended already
        return KILLED + signal.SIGTERM
    order = json.loads(line)
    os.chdir(order["folder"])
    rank = subprocess.Popen(
        order["command"],
        env={**os.environ, **order["env"]},
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=dies_with(os.getpid(), signal.SIGKILL),
    )
    over = threading.Event()
    threading.Thread(target=_follow, args=(sys.stdin, rank, over), daemon=True).start()
    status = shell_status(rank.wait())
    over.set()
    sys.stdout.flush()
    os._exit(status)  # the thread may still read


if __name__ == "__main__":
    sys.exit(main())
