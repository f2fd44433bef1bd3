"""Checkpoints: the last k and the best, each a folder that is there whole or not at all.

checkpoints/step-00000200/   variables.index, variables.data-..., state.json
checkpoints/best.json        which of them is the best, and its value
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from recsys_core.errors import SharedError
from recsys_core.files import publish, write_json
from recsys_core.world import World

CHECKPOINT_VERSION = 2
"""Format 1 has no `format_version`, and no count of updates in the optimizer."""


class Checkpoints:
    """Saves and restores a training run. Rank 0 alone touches the disk; the others get the values from it."""

    def __init__(self, folder: Path, *, keep: int, world: World, **trackables: Any) -> None:
        """
        Args:
            keep: how many of the last checkpoints stay (the best one stays besides).
            trackables: what is saved: modules and variables by name.
        """
        self._folder, self._keep, self._world = folder, keep, world
        self._trackables = trackables
        self._checkpoint = tf.train.Checkpoint(**trackables)
        self._variables = [v for t in trackables.values() for v in _variables(t)]

    def _path(self, step: int) -> Path:
        return self._folder / f"step-{step:08d}"

    def steps(self) -> list[int]:
        """Steps of the complete checkpoints, ascending."""
        found = self._folder.glob("step-*/state.json") if self._folder.is_dir() else ()
        return sorted(int(p.parent.name.removeprefix("step-")) for p in found)

    def save(self, step: int, state: Mapping[str, Any]) -> None:
        """Save every variable and a JSON state, then drop what is neither recent nor best.

        Raises:
            SharedError: the disk is full; older checkpoints are untouched.
        """

        def write(working: Path) -> None:
            working.mkdir(parents=True)
            try:
                self._checkpoint.write(str(working / "variables"))
            except tf.errors.OpError as error:
                raise OSError(str(error.message).splitlines()[0]) from error
            content = {"format_version": CHECKPOINT_VERSION, **state}
            (working / "state.json").write_text(json.dumps(content))

        def work() -> None:
            if not (self._path(step) / "state.json").is_file():
                publish(self._path(step), write)
            self._prune()

        self._world.run_on_rank0(work)

    def _prune(self) -> None:
        kept = {*self.steps()[-self._keep :], self.best_step()}
        for step in self.steps():
            if step not in kept:
                shutil.rmtree(self._path(step), ignore_errors=True)

    def mark_best(self, step: int, value: float) -> None:
        """Record that the checkpoint of this step is the best so far (its files must be there)."""
        if self._world.is_rank0:
            assert self._path(step).is_dir(), "a best checkpoint is marked after it was saved"
        self._world.run_on_rank0(lambda: write_json(self._folder / "best.json", {"step": step, "value": value}))

    def best_step(self) -> int | None:
        """Step of the best checkpoint, None if there is none yet (rank 0 only)."""
        path = self._folder / "best.json"
        try:
            return int(json.loads(path.read_text())["step"]) if path.is_file() else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SharedError(f"{path} is damaged ({error!r})") from None

    def restore(
        self, step: int | None = None, check: Callable[[dict[str, Any]], None] = lambda state: None
    ) -> dict[str, Any]:
        """Load a checkpoint (default: the last one) on every rank and return its state.

        Args:
            check: called with the state before any variable is changed; may refuse it with a ValueError.

        Raises:
            SharedError: there is none, its files are damaged, or `check` refused it.
        """

        def work() -> dict[str, Any]:
            known = self.steps()
            if not known:
                raise ValueError(f"{self._folder} holds no checkpoint")
            chosen = self._path(known[-1] if step is None else step)
            try:
                state = json.loads((chosen / "state.json").read_text())
            except (OSError, json.JSONDecodeError) as error:
                raise ValueError(f"checkpoint {chosen} is damaged: {error}") from None
            check(state)
            try:
                self._read(chosen, state)
            except (tf.errors.OpError, AssertionError, ValueError) as error:
                reason = str(error).splitlines()[0][:160]
                raise ValueError(f"checkpoint {chosen} is damaged or of another model: {reason}") from None
            return state

        state = self._world.run_on_rank0(work)
        self._world.broadcast_variables(self._variables)
        return state

    def _read(self, path: Path, state: Mapping[str, Any]) -> None:
        """Read the variables of a checkpoint of any format; to evaluate, the model alone is read."""
        checkpoint, optimizer = self._checkpoint, self._trackables.get("optimizer")
        if "format_version" not in state and optimizer is not None:
            moments = tf.Module()
            moments.first, moments.second = optimizer.first, optimizer.second
            checkpoint = tf.train.Checkpoint(**self._trackables | {"optimizer": moments})
            optimizer.updates.assign(state["progress"]["step"])
        checkpoint.read(str(path / "variables")).assert_existing_objects_matched().expect_partial()

    def any(self) -> bool:
        """Whether there is a complete checkpoint, on every rank."""
        return bool(self._world.broadcast(self._world.is_rank0 and self.steps()))

    def restore_best(self, check: Callable[[dict[str, Any]], None] = lambda state: None) -> dict[str, Any]:
        """Load the best checkpoint on every rank; see `restore`.

        Raises:
            SharedError: no checkpoint is marked as the best, or its folder is missing.
        """
        best = self._world.run_on_rank0(self._require_best)
        return self.restore(best, check)

    def _require_best(self) -> int:
        best = self.best_step()
        if best is None:
            raise SharedError(
                f"{self._folder} has no best checkpoint: the run was stopped before its first evaluation; go on with "
                f"--resume {self._folder.parent}"
            )
        if best not in self.steps():
            raise SharedError(f"{self._path(best)}, the best checkpoint, is missing")
        return best


def _variables(trackable: Any) -> list[tf.Variable]:
    return list(trackable.variables) if isinstance(trackable, tf.Module) else [trackable]
