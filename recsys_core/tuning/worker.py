"""A worker of a search: a process, or the ranks of a Horovod job, that trains one trial after another.

TensorFlow starts once for all of its trials. Rank 0 reads a JSON object a line from the standard input and answers
on the standard output:

    in   {"data": ..., "preset": ..., "metric": ..., "seed": ..., "evaluate_every": ..., "folder": ...}    first line
    out  {"ready": true}                      or {"error": text}, and the process ends
    in   {"number": n, "settings": {...}}     a trial
    out  {"epoch": e, "value": v}             an evaluation; the answer is {"prune": true or false}
    out  {"value": v, "error": s, "epoch": e, "pruned": false}      its end, or {"failed": text, "diverged": true};
         "full": true besides, when the process has grown so much that a new one is to go on

The end of the input is the end of the worker, at once: the command that started it is gone.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import shutil
import sys
import threading
import warnings
from pathlib import Path
from typing import Any

import psutil

from recsys_core.config import ModelSpec
from recsys_core.errors import NonFiniteError, UserError
from recsys_core.world import World, rank_hint, session

MOST_GROWTH = 2**30
"""Bytes by which a worker may grow after its first trial. TensorFlow 2.17 does not free every graph of a `while_loop`:
a trial leaves about 15 MB behind."""


class Channel:
    """Lines from and to the command that started this process; rank 0 only."""

    def __init__(self) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what libraries print goes to the log
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in sys.stdin:
            self._lines.put(json.loads(line))
        os._exit(0)

    def receive(self) -> dict[str, Any]:
        """The next line."""
        return self._lines.get()

    def send(self, **values: Any) -> None:
        """Answer with a line."""
        self._out.write(json.dumps(values) + "\n")
        self._out.flush()


def main(spec: ModelSpec) -> int:
    """Train trials until the input ends; does not return on rank 0 but with an error."""
    warnings.simplefilter("ignore")
    channel = Channel() if rank_hint() == 0 else None
    own = channel.receive() if channel else None
    try:
        with session() as world:
            from recsys_core import devices

            devices.configure(world)
            task, folder = _prepared(spec, world.broadcast(own), world)
            if channel:
                channel.send(ready=True)
            memory = Memory()
            while True:
                given = world.broadcast(channel.receive() if channel else None)
                assert given is not None
                ended = _trial(task, given, folder / f"{given['number']:05d}", channel, world)
                if channel:
                    channel.send(**ended, full=memory.is_full())
    except UserError as error:
        if channel:
            channel.send(error=str(error))
        return error.exit_status


def _prepared(spec: ModelSpec, given: Any, world: World) -> tuple[Any, Path]:
    """What trials have in common, and the folder for their files."""
    from recsys_core.agreement import check_data
    from recsys_core.dataset import Dataset
    from recsys_core.tuning.trial import Task, without_test_users

    data = world.run_on_all(lambda: without_test_users(Dataset.open(given["data"])))
    check_data(data, world)
    task = Task(
        spec=spec,
        preset=given["preset"],
        data=data,
        metric=given["metric"],
        seed=given["seed"],
        evaluate_every=given["evaluate_every"],
    )
    return task, Path(given["folder"])


class Memory:
    """How much this process has grown since its first trial."""

    def __init__(self) -> None:
        self._first: int | None = None

    def is_full(self) -> bool:
        """Whether it has grown too much; called after each trial."""
        now = psutil.Process().memory_info().rss
        self._first = now if self._first is None else self._first
        return now - self._first > MOST_GROWTH


def _trial(task: Any, given: dict[str, Any], folder: Path, channel: Channel | None, world: World) -> dict[str, Any]:
    """Make a trial; returns how it ended. Its files are removed."""
    from recsys_core.tuning.pruning import Prune
    from recsys_core.tuning.trial import run

    def tell(epoch: float, value: float) -> bool:
        assert channel is not None
        channel.send(epoch=epoch, value=value)
        return bool(channel.receive()["prune"])

    prune = Prune(tell if channel else None)
    settings = {name: tuple(v) if isinstance(v, list) else v for name, v in given["settings"].items()}
    try:
        found = run(task, settings, folder, prune, world)
        ended: dict[str, Any] = {"value": found.value, "error": found.error, "epoch": found.epoch}
        ended["pruned"] = prune.pruned and not found.is_whole
    except (ValueError, NonFiniteError) as error:
        ended = {"failed": str(error), "diverged": isinstance(error, NonFiniteError)}
    gc.collect()  # a model and its graphs refer to each other
    if channel:
        shutil.rmtree(folder, ignore_errors=True)
    return ended
