"""A program for ranks: exchanges until it is told to stop.

python -m tests.ranks.waiting FOLDER    rank 0 holds Python's lock for the seconds in FOLDER/hold, once, and the ranks
                                        end when there is FOLDER/stop
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

from recsys_core import cli, devices
from recsys_core.world import session


def main() -> int:
    folder = Path(sys.argv[1])
    with cli.command() as status, session() as world:
        devices.configure(world)
        world.name_run(folder)
        (folder / f"pid-{world.rank}").write_text(str(os.getpid()))
        while not world.broadcast((folder / "stop").exists()):
            hold = folder / "hold"
            if world.is_rank0 and hold.exists():
                ctypes.PyDLL(None).sleep(int(hold.read_text()))  # a PyDLL does not give the lock away
                hold.unlink()
            time.sleep(0.05)
        print(f"rank {world.rank} ended", flush=True)
    return status.code


if __name__ == "__main__":
    sys.exit(main())
