"""Checkpoints: which stay, which is the best, and what becomes of damaged ones."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tensorflow as tf

from recsys_core import files
from recsys_core.errors import SharedError
from recsys_core.training.checkpoints import Checkpoints
from recsys_core.training.state import TrainState
from recsys_core.world import World


class Two(tf.Module):
    def __init__(self, value: float, shape: tuple[int, ...] = (2,)) -> None:
        super().__init__()
        self.weight = tf.Variable(tf.fill(shape, value))


def keeper(folder: Path, model: Two, keep: int = 2) -> Checkpoints:
    return Checkpoints(folder, keep=keep, world=World(), model=model)


def test_last_and_best_checkpoints_stay(tmp_path: Path) -> None:
    model = Two(0.0)
    checkpoints = keeper(tmp_path, model)
    for step in range(1, 6):
        model.weight.assign([step, step])
        checkpoints.save(step, {"step": step})
        if step == 2:
            checkpoints.mark_best(2, 0.5)
    checkpoints.save(6, {"step": 6})
    assert checkpoints.steps() == [2, 5, 6]
    assert checkpoints.restore_last(accept)[0]["step"] == 6
    assert checkpoints.restore_best()["step"] == 2
    assert model.weight.numpy().tolist() == [2.0, 2.0]


def accept(state: dict[str, Any]) -> None:
    """Any state is good."""


def test_a_half_written_checkpoint_does_not_count(tmp_path: Path) -> None:
    model = Two(3.0)
    keeper(tmp_path, model).save(4, {"step": 4})
    (tmp_path / ".writing-1@elsewhere-step-00000009").mkdir()
    state, notes = keeper(tmp_path, Two(0.0)).restore_last(accept)
    assert (state["step"], notes) == (4, [])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "cut index": lambda p: (p / "variables.index").write_bytes(b"cut"),
    "no index": lambda p: (p / "variables.index").unlink(),
    "cut data": lambda p: os.truncate(p / "variables.data-00000-of-00001", 3),
    "no data": lambda p: (p / "variables.data-00000-of-00001").unlink(),
    "changed data": lambda p: changed(p / "variables.data-00000-of-00001", 2),
    "cut state": lambda p: os.truncate(p / "state.json", 20),
    "empty state": lambda p: os.truncate(p / "state.json", 0),
    "no state": lambda p: (p / "state.json").unlink(),
    "changed state": lambda p: (p / "state.json").write_text((p / "state.json").read_text().replace("8", "7", 1)),
    "empty folder": lambda p: [q.unlink() for q in p.iterdir()],
}


def changed(path: Path, place: int) -> None:
    """Flip one bit of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_taken(kind: str, tmp_path: Path) -> None:
    model = Two(0.0)
    for step in (4, 8):
        model.weight.assign([step, step])
        keeper(tmp_path, model).save(step, {"step": step})
    last = tmp_path / "step-00000008"
    DAMAGES[kind](last)
    taken = Two(0.0)
    state, (note,) = keeper(tmp_path, taken).restore_last(accept)
    assert state["step"] == 4
    assert taken.weight.numpy().tolist() == [4.0, 4.0]
    assert note.startswith(f"checkpoint {last} is damaged: ")
    assert note.endswith("; the run goes on from the one of step 4")
    assert not last.exists()  # the run writes it anew when it comes there


def test_no_whole_checkpoint_is_one_line_and_nothing_is_removed(tmp_path: Path) -> None:
    keeper(tmp_path, Two(3.0)).save(4, {"step": 4})
    changed(tmp_path / "step-00000004" / "variables.data-00000-of-00001", 2)
    with pytest.raises(SharedError, match="--resume: no checkpoint is whole .*step-00000004 is damaged: .*; train aga"):
        keeper(tmp_path, Two(0.0)).restore_last(accept)
    assert (tmp_path / "step-00000004" / "state.json").is_file()


def test_a_refused_checkpoint_is_not_taken_for_a_damaged_one(tmp_path: Path) -> None:
    for step in (4, 8):
        keeper(tmp_path, Two(3.0)).save(step, {"step": step})

    def refuse(state: dict[str, Any]) -> None:
        raise SharedError(f"step {state['step']} is of another run")

    with pytest.raises(SharedError, match="step 8 is of another run"):
        keeper(tmp_path, Two(0.0)).restore_last(refuse)
    other = tf.Module()
    other.kernel = tf.Variable([0.0, 0.0, 0.0])
    with pytest.raises(SharedError, match="step-00000008 is damaged or of another model"):
        Checkpoints(tmp_path, keep=2, world=World(), model=other).restore_last(accept)
    assert keeper(tmp_path, Two(0.0)).steps() == [4, 8]


@pytest.mark.parametrize(
    ("damaged", "expected"),
    [([], 8), ([8], 12), ([8, 12], 4), ([8, 12, 4], None)],
)
def test_the_best_that_is_left_takes_the_place_of_a_damaged_best(
    damaged: list[int], expected: int | None, tmp_path: Path
) -> None:
    values = {4: 0.1, 8: 0.4, 12: 0.3, 16: None}  # the last one is of a signal, without an evaluation
    checkpoints = keeper(tmp_path, Two(1.0), keep=4)
    for step in values:
        checkpoints.save(step, {"step": step})
    for step in damaged:
        changed(tmp_path / f"step-{step:08d}" / "variables.data-00000-of-00001", 2)
    history = [{"step": step, "validation": {"m": v}} for step, v in values.items() if v is not None]
    state = TrainState(step=16, best_step=8, best_value=0.4, history=history)
    notes = checkpoints.settle_best(state, "m")
    assert state.best_step == expected
    assert state.best_value == (values[expected] if expected else None)
    if not damaged:
        assert notes == []
    else:
        left = f"the best one left is of step {expected}" if expected else "none is left"
        best = tmp_path / "step-00000008"
        assert notes == [f"checkpoint {best}, the best (0.4000), is damaged or missing; {left}"]
    if expected:
        assert checkpoints.best_step() == expected


def test_no_best_checkpoint_is_an_error(tmp_path: Path) -> None:
    keeper(tmp_path, Two(3.0)).save(4, {"step": 4})
    with pytest.raises(SharedError, match="has no best checkpoint"):
        keeper(tmp_path, Two(0.0)).restore_best()
    files.write_json(tmp_path / "best.json", {"step": 7, "value": 0.5})
    with pytest.raises(SharedError, match="step-00000007, the best checkpoint, is missing"):
        keeper(tmp_path, Two(0.0)).restore_best()
    (tmp_path / "best.json").write_text("{")
    with pytest.raises(SharedError, match="best.json is damaged"):
        keeper(tmp_path, Two(0.0)).restore_best()


def test_no_checkpoint(tmp_path: Path) -> None:
    assert not keeper(tmp_path / "nothing", Two(0.0)).any()
    with pytest.raises(SharedError, match=r"no checkpoint is whole \(.* is empty\)"):
        keeper(tmp_path, Two(0.0)).restore_last(accept)
