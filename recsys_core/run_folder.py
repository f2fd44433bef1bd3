"""The folder of a run: its configuration, environment, log, and results."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from recsys_core import devices
from recsys_core.distributed import World
from recsys_core.errors import UserError
from recsys_core.files import write_json, write_text


def create(folder: Path, config_yaml: str, *, resume: bool, world: World) -> None:
    """Make the folder on rank 0, or check that it can be resumed.

    Raises:
        SharedError: it exists without --resume, or --resume finds no run there.
    """

    def work() -> None:
        if resume:
            if not (folder / "config.yaml").is_file():
                raise ValueError(f"--resume: {folder} holds no run (no config.yaml)")
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"--run-dir {folder} exists; add --resume to go on with it, or choose another")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"--run-dir {folder} cannot be made: {error.strerror}") from None
        write_json(folder / "environment.json", devices.describe(world))
        if not resume:
            write_text(folder / "config.yaml", config_yaml)

    world.on_first(work)


class RunLog:
    """`metrics.jsonl` and TensorBoard; writes on rank 0 only."""

    def __init__(self, folder: Path, world: World) -> None:
        self._writing = world.is_first
        self._path = folder / "metrics.jsonl"
        self._board = tf.summary.create_file_writer(str(folder / "tensorboard")) if self._writing else None

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append one line and one point a value.

        Raises:
            UserError: the disk is full.
        """
        if not self._writing:
            return
        line = {"time_unix_s": round(time.time(), 3), "kind": kind, "step": step, **values}
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
            assert self._board is not None
            with self._board.as_default():
                for name, value in values.items():
                    if isinstance(value, float):
                        tf.summary.scalar(f"{kind}/{name}", value, step=step)
        except (OSError, tf.errors.OpError) as error:  # TensorBoard's writer has errors of its own
            reason = error.strerror if isinstance(error, OSError) else str(error.message).splitlines()[0]
            raise UserError(f"cannot write {self._path} or tensorboard beside it: {reason}") from error

    def close(self) -> None:
        if self._board is not None:
            self._board.close()
