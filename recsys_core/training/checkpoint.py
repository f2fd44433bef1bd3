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

from recsys_core.distributed import World
from recsys_core.files import publish, write_json


class Checkpoints:
    """Saves and restores a training run. Rank 0 alone touches the disk; the others get the values from it."""

    def __init__(self, folder: Path, *, keep: int, world: World, **trackables: Any) -> None:
        """
        Args:
            keep: how many of the last checkpoints stay (the best one stays besides).
            trackables: what is saved: modules and variables by name.
        """
        self._folder, self._keep, self._world = folder, keep, world
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
            (working / "state.json").write_text(json.dumps(dict(state)))

        def work() -> None:
            if not self._path(step).exists():
                publish(self._path(step), write)
            self._prune()

        self._world.on_first(work)

    def _prune(self) -> None:
        kept = {*self.steps()[-self._keep :], self.best_step()}
        for step in self.steps():
            if step not in kept:
                shutil.rmtree(self._path(step), ignore_errors=True)

    def mark_best(self, step: int, value: float) -> None:
        """Record that the checkpoint of this step is the best so far (its files must be there)."""
        if self._world.is_first:
            assert self._path(step).is_dir(), "a best checkpoint is marked after it was saved"
        self._world.on_first(lambda: write_json(self._folder / "best.json", {"step": step, "value": value}))

    def best_step(self) -> int | None:
        """Step of the best checkpoint, None if there is none yet (rank 0 only)."""
        path = self._folder / "best.json"
        return int(json.loads(path.read_text())["step"]) if path.is_file() else None

    def restore(
        self, step: int | None = None, check: Callable[[dict[str, Any]], None] = lambda state: None
    ) -> dict[str, Any]:
        """Load a checkpoint (default: the last one) on every rank and return its state.

        Args:
            check: called with the state before any variable is touched; may refuse it with a ValueError.

        Raises:
            SharedError: there is none, its files are damaged, or `check` refused it.
        """

        def work() -> dict[str, Any]:
            known = self.steps()
            if not known:
                raise ValueError(f"{self._folder} holds no checkpoint")
            chosen = known[-1] if step is None else step
            try:
                state = json.loads((self._path(chosen) / "state.json").read_text())
            except (OSError, json.JSONDecodeError) as error:
                raise ValueError(f"checkpoint {self._path(chosen)} is damaged: {error}") from None
            check(state)
            try:
                status = self._checkpoint.read(str(self._path(chosen) / "variables"))
                status.assert_existing_objects_matched().expect_partial()  # to evaluate, the model alone is read
            except (tf.errors.OpError, AssertionError, ValueError) as error:
                reason = str(error).splitlines()[0][:160]
                raise ValueError(f"checkpoint {self._path(chosen)} is damaged or of another model: {reason}") from None
            return state

        state = self._world.on_first(work)
        self._world.broadcast_variables(self._variables)
        return state

    def any(self) -> bool:
        """Whether there is a complete checkpoint, on every rank."""
        return bool(self._world.broadcast(self._world.is_first and self.steps()))

    def restore_best(self, check: Callable[[dict[str, Any]], None] = lambda state: None) -> dict[str, Any]:
        """Load the best checkpoint on every rank; see `restore`."""
        return self.restore(self._world.broadcast(self.best_step() if self._world.is_first else None), check)


def _variables(trackable: Any) -> list[tf.Variable]:
    return list(trackable.variables) if isinstance(trackable, tf.Module) else [trackable]
