"""Checkpoints: the last k and the best, each a folder that is there whole or not at all.

checkpoints/step-00000200/   variables.index, variables.data-... (with checksums of TensorFlow's), state.json
checkpoints/best.json        which of them is the best, and its value
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import tensorflow as tf

from recsys_core.errors import SharedError
from recsys_core.files import publish, write_json
from recsys_core.runs import checkpoint_steps
from recsys_core.training.state import TrainState
from recsys_core.world import World

CHECKPOINT_VERSION = 2
"""Format 1 has no `format_version`, and no count of updates in the optimizer."""


UNREADABLE = (tf.errors.OpError, IndexError, RuntimeError)
"""What TensorFlow raises for a checkpoint whose files are missing, cut or changed."""
Check = Callable[[dict[str, Any]], None]


class DamagedError(ValueError):
    """A checkpoint whose files are missing, cut or changed."""


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
        return checkpoint_steps(self._folder)

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
            (working / "state.json").write_text(json.dumps(content | {"sha256": _digest(content)}))

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

    def restore(self, step: int, check: Check = lambda state: None) -> dict[str, Any]:
        """Load a checkpoint on every rank and return its state.

        Args:
            check: called with the state before any variable is changed; may refuse it with a ValueError.

        Raises:
            SharedError: its files are damaged, or `check` refused it.
        """
        state = self._world.run_on_rank0(lambda: self._load(step, check))
        self._world.broadcast_variables(self._variables)
        return state

    def restore_last(self, check: Check) -> tuple[dict[str, Any], list[str]]:
        """Load the last checkpoint that is whole on every rank; damaged ones after it are removed.

        Args:
            check: see `restore`.

        Returns:
            Its state, and a sentence about each that was damaged.

        Raises:
            SharedError: none is whole, or `check` refused one.
        """

        def work() -> tuple[dict[str, Any], list[str]]:
            notes: list[str] = []
            for step in reversed(self._begun()):
                try:
                    state = self._load(step, check)
                except DamagedError as error:
                    notes.append(str(error))
                    continue
                for damaged in (s for s in self._begun() if s > step):
                    shutil.rmtree(self._path(damaged))
                return state, [f"{note}; the run goes on from the one of step {step:,}" for note in notes]
            reasons = "; ".join(notes) or f"{self._folder} is empty"
            raise ValueError(f"--resume: no checkpoint is whole ({reasons}); train again with another --run-dir")

        state, notes = self._world.run_on_rank0(work)
        self._world.broadcast_variables(self._variables)
        return state, notes

    def _begun(self) -> list[int]:
        """Steps of all checkpoints, also of those whose state is missing, ascending."""
        return sorted(int(p.name.removeprefix("step-")) for p in self._folder.glob("step-*"))

    def _load(self, step: int, check: Check) -> dict[str, Any]:
        """Read one checkpoint into the variables of this rank."""
        chosen = self._path(step)
        try:
            state = json.loads((chosen / "state.json").read_text())
            digest = state.pop("sha256", None)  # not of earlier versions
            if digest not in (None, _digest(state)):
                raise DamagedError(f"checkpoint {chosen} is damaged: state.json is not what was written")
        except FileNotFoundError:
            raise DamagedError(f"checkpoint {chosen} is damaged: state.json is missing") from None
        except (OSError, json.JSONDecodeError, UnicodeDecodeError, AttributeError) as error:
            raise DamagedError(f"checkpoint {chosen} is damaged: {error}") from None
        check(state)
        try:
            self._read(chosen, state)
        except UNREADABLE as error:
            raise DamagedError(f"checkpoint {chosen} is damaged: {_first_line(error)}") from None
        except (AssertionError, ValueError) as error:
            raise ValueError(f"checkpoint {chosen} is damaged or of another model: {_first_line(error)}") from None
        return state

    def _is_whole(self, step: int) -> bool:
        """Whether all values of a checkpoint can be read."""
        try:
            reader = tf.train.load_checkpoint(str(self._path(step) / "variables"))
            for name in reader.get_variable_to_shape_map():
                reader.get_tensor(name)
        except (*UNREADABLE, ValueError):
            return False
        return step in self.steps()

    def settle_best(self, state: TrainState, primary: str) -> list[str]:
        """Record the best checkpoint of a run that goes on; if it is gone, the best one that is left.

        Args:
            state: its best step and value are changed where that checkpoint is gone.
            primary: name of the metric that decides.

        Returns:
            A sentence where the best one is gone.
        """
        if state.best_step is None or state.best_value is None:
            return []
        gone, lost = state.best_step, state.best_value
        state.best_step, state.best_value = self._world.run_on_rank0(lambda: self._best_left(state, primary))
        if state.best_step is not None and state.best_value is not None:
            self.mark_best(state.best_step, state.best_value)  # a kill may have come before this
        if state.best_step == gone:
            return []
        left = "none is left" if state.best_step is None else f"the best one left is of step {state.best_step:,}"
        return [f"checkpoint {self._path(gone)}, the best ({lost:.4f}), is damaged or missing; {left}"]

    def _best_left(self, state: TrainState, primary: str) -> tuple[int | None, float | None]:
        if state.best_step == state.step or (state.best_step is not None and self._is_whole(state.best_step)):
            return state.best_step, state.best_value
        evaluated = {e["step"]: e["validation"].get(primary) for e in state.history}
        left = [s for s in self.steps() if s <= state.step and evaluated.get(s) is not None and self._is_whole(s)]
        best = max(left, key=lambda s: (evaluated[s], -s), default=None)
        return best, None if best is None else evaluated[best]

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
        """Whether there is a checkpoint, whole or damaged, on every rank."""
        return self._world.run_on_rank0(lambda: bool(self._begun()))

    def restore_best(self, check: Check = lambda state: None) -> dict[str, Any]:
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


def _digest(state: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:160]


def _variables(trackable: Any) -> list[tf.Variable]:
    return list(trackable.variables) if isinstance(trackable, tf.Module) else [trackable]
