"""The log of a run: `metrics.jsonl`, and the same values for TensorBoard. Written by rank 0 only.

TensorBoard has besides: the scalar "epoch" by step, the hyperparameters (its HPARAMS page), and the test metrics of the
best checkpoint.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tensorflow as tf

from recsys_core.errors import UserError
from recsys_core.files import write_text
from recsys_core.world import World


def _lines_up_to(path: Path, step: int) -> list[dict[str, Any]]:
    """The lines of steps up to one; a line that was cut when the writer was killed is left out."""
    lines = []
    for text in path.read_text(errors="replace").splitlines() if path.is_file() else []:
        try:
            line = json.loads(text)
        except json.JSONDecodeError:
            continue
        if line.get("step", 0) <= step:
            lines.append(line)
    return lines


class RunLog:
    """Appends lines of values; a resumed run's log goes on at its checkpoint, so that no step is there twice."""

    def __init__(self, folder: Path, world: World, start_step: int) -> None:
        """
        Args:
            start_step: the step that the run goes on from; lines of later steps are removed, 0 removes all.
        """
        self._writing = world.is_rank0
        self._path = folder / "metrics.jsonl"
        self._board: Any = None
        if self._writing:
            kept = _lines_up_to(self._path, start_step) if start_step else []
            if self._path.exists():
                write_text(self._path, "".join(json.dumps(line, allow_nan=False) + "\n" for line in kept))
            shutil.rmtree(folder / "tensorboard", ignore_errors=True)  # its files can only be appended to
            self._board = tf.summary.create_file_writer(str(folder / "tensorboard"))
            for line in kept:
                self._write_board(line["kind"], line["step"], line)

    def _write_board(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        with self._board.as_default():
            for name, value in values.items():
                if isinstance(value, float) and name != "time_unix_s":
                    tf.summary.scalar(name if name == "epoch" else f"{kind}/{name}", value, step=step)

    @contextmanager
    def _disk_errors(self) -> Iterator[None]:
        """Report a full disk in one line."""
        try:
            yield
        except (OSError, tf.errors.OpError) as error:  # TensorBoard's writer has errors of its own
            reason = error.strerror if isinstance(error, OSError) else str(error.message).splitlines()[0]
            raise UserError(f"cannot write {self._path} or tensorboard beside it: {reason}") from error

    def write(self, kind: str, step: int, values: Mapping[str, Any]) -> None:
        """Append one line and one point a value; a value named "epoch" has a tag without the kind.

        Raises:
            UserError: the disk is full.
        """
        if not self._writing:
            return
        line = {"time_unix_s": round(time.time(), 3), "kind": kind, "step": step, **values}
        with self._disk_errors():
            with self._path.open("a") as file:
                file.write(json.dumps(line, allow_nan=False) + "\n")
            self._write_board(kind, step, values)

    def hyperparameters(self, config: Mapping[str, Any]) -> None:
        """Give TensorBoard the configuration of the run, for its HPARAMS page. Call it once, before training.

        Args:
            config: the configuration as plain values, nested by component.

        Raises:
            UserError: the disk is full.
        """
        if not self._writing:
            return
        from tensorboard.plugins.hparams import api

        with self._disk_errors(), self._board.as_default():
            api.hparams(_flat(config))
            self._board.flush()

    def result(self, step: int, metrics: Mapping[str, float]) -> None:
        """Give TensorBoard the test metrics of the best checkpoint, and end its file.

        Args:
            step: the step of the best checkpoint.

        Raises:
            UserError: the disk is full.
        """
        if not self._writing:
            return
        with self._disk_errors():
            self._write_board("test", step, metrics)
            self._board.close()

    def flush(self) -> None:
        """Write what TensorBoard's writer still holds."""
        if self._writing:
            self._board.flush()


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, bool | int | float | str]:
    """A nested configuration as "training.epochs" -> value; lists are text, and what has no value is left out."""
    found: dict[str, bool | int | float | str] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            found[prefix + name] = " ".join(map(str, value))
        elif value is not None:
            found[prefix + name] = value
    return found
