"""A program for ranks: trains and evaluates, and prints what rank 1 asked the file system below RUN.

python -m tests.ranks.files DATA RUN
"""

from __future__ import annotations

import os
import sys
from typing import Any

from recsys_core.world import rank_hint

DATA, RUN = sys.argv[1:3]
asked: list[str] = []


def note(path: Any, event: str) -> None:
    if isinstance(path, str | bytes | os.PathLike) and os.fsdecode(path).startswith(RUN):
        asked.append(f"{event} {os.fsdecode(path)}")


def watched(name: str) -> None:
    """Note the calls of a function of `os` that raises no audit event."""
    function = getattr(os, name)

    def called(path: Any, *args: Any, **options: Any) -> Any:
        note(path, name)
        return function(path, *args, **options)

    setattr(os, name, called)


if rank_hint() == 1:
    sys.addaudithook(lambda event, args: note(args[0], event) if args and event.startswith(("open", "os.")) else None)
    for function in ("stat", "lstat", "access"):
        watched(function)

import ncf_tf.evaluate  # noqa: E402
import ncf_tf.train  # noqa: E402

NCF = ("--preset", "quick", "--batch-size", "4000", "--epochs", "1", "--gate", "hr@10>=2")
statuses = [
    ncf_tf.train.main(["--data", DATA, "--run-dir", RUN, *NCF, "--pretrain", "--pretrain-epochs", "1"]),
    ncf_tf.evaluate.main(["--run-dir", RUN, "--baselines"]),
]
print(f"rank {rank_hint()}: statuses {statuses}, asked {asked}", flush=True)
