"""A program for ranks: they part, and rank 0 says when no process of the others is left.

python -m tests.ranks.part
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from recsys_core import devices
from recsys_core.world import session

WAIT_S = 60.0


def wait_for_end(processes: list[int]) -> bool:
    """Whether the processes end within WAIT_S."""
    end = time.monotonic() + WAIT_S
    while any(Path(f"/proc/{process}").exists() for process in processes):
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


with session() as ranks:
    devices.configure(ranks)
    others = ranks.gather(os.getpid())[1:]
    if ranks.part():
        print(f"{len(others)} others ended: {wait_for_end(others)}", flush=True)
        print(f"alone: {ranks.run_on_rank0(lambda: ranks.size)}, {ranks.broadcast('heard')}", flush=True)
