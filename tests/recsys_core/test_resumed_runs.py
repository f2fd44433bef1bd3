"""Runs that are resumed in each of their states: what is trained, judged and exported again, and what is left alone."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from recsys_core import Dataset, Trainer, run_state
from recsys_core.errors import UserError
from recsys_core.evaluation.baselines import Popularity
from recsys_core.training.callbacks import Callback
from recsys_core.training.results import TrainResult
from recsys_core.training.state import TrainState
from tests.recsys_core.test_checkpoints import changed
from tests.recsys_core.test_trainer import EASY, MISSED, linear, table
from tests.same_runs import assert_same, assert_same_parameters

pytestmark = pytest.mark.filterwarnings("ignore:batches of")
SMALL = {"epochs": 2, "batch_size": 22, "evaluate_every": 1, "steps_per_call": 3, **MISSED}


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_frame(table()).split("users", held_out=12)


def files(run: Path) -> dict[str, int]:
    """Every file of a run with the time of its change."""
    return {str(p.relative_to(run)): p.stat().st_mtime_ns for p in run.rglob("*") if p.is_file()}


def solved(run: Path, data: Dataset, resume: bool = True, **settings: Any) -> TrainResult:
    """A closed form: it is judged and exported without steps."""
    return Trainer(run, verbose=True, **{**EASY, **settings}).fit(Popularity(data), data, resume=resume)


def test_a_finished_run_is_final_and_its_export_stays(data: Dataset, tmp_path: Path, capsys: Any) -> None:
    run = tmp_path / "run"
    first = solved(run, data, resume=False)
    state = run_state.read(run)
    assert (state.state, state.verdict, state.step) == ("exported", "passed", 0)
    assert first.content is not None and first.content["durations"]["export"] > 0
    before = files(run)
    capsys.readouterr()
    again = solved(run, data)
    assert (again.exit_status, again.complete, again.content) == (0, True, first.content)
    assert files(run) == before
    shown = capsys.readouterr()
    assert "exporting" not in shown.err
    when = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    reached = r"ndcg@100>=0: 0\.\d{4} reached"
    expected = rf"{run} finished at epoch 0 \(step 0\) on {when} and passed its gate \({reached}\); {run}/export has "
    assert re.fullmatch(expected + "the model\n", shown.out)
    exported = files(run / "export")
    missed = solved(run, data, gate=("ndcg@100>=2",))  # a stricter gate deleted what was published
    assert missed.exit_status == 3
    assert files(run / "export") == exported
    assert (
        f"nothing exported; {run / 'export'} stays as it was exported before; train longer" in capsys.readouterr().out
    )
    state = run_state.read(run)
    assert (state.state, state.verdict) == ("finished", "missed")
    assert state.export is not None
    assert solved(run, data).passed  # by the first gate again
    assert run_state.read(run).state == "exported"
    (run / "export" / "export.json").unlink()
    assert solved(run, data).passed
    assert (run / "export" / "export.json").is_file()


def test_a_run_that_missed_its_gate_is_left_alone_or_trained_longer(data: Dataset, tmp_path: Path, capsys: Any) -> None:
    """It ends as a run that was started with as many epochs and the same warm-up, of one epoch."""
    run, straight, longer = tmp_path / "run", linear(data), linear(data)
    settings = SMALL | {"warmup": 0.5}
    Trainer(run, **settings).fit(linear(data), data)
    before, model = files(run), linear(data)
    again = Trainer(run, verbose=True, **settings).fit(model, data, resume=True)
    assert again.exit_status == 3
    assert "finished at epoch 2 (step 6) on " in (shown := capsys.readouterr().out)
    assert "and missed its gate (ndcg@100>=2: 0." in shown
    assert files(run) == before
    expected = Trainer(tmp_path / "straight", **SMALL | {"epochs": 4, "warmup": 0.25}).fit(straight, data).content
    found = Trainer(run, **settings | {"epochs": 4}).fit(longer, data, resume=True).content
    assert expected is not None and found is not None
    assert_same(found["test"], expected["test"])
    assert_same([e["loss"] for e in found["history"]], [e["loss"] for e in expected["history"]])
    assert_same_parameters(longer, straight)
    assert logged(run) == [3, 6, 9, 12]
    with pytest.raises(UserError, match="--resume: epochs is 3, the run in .* has 4; resume with the settings it was"):
        Trainer(run, **settings | {"epochs": 3}).fit(linear(data), data, resume=True)


def logged(run: Path) -> list[int]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["step"] for line in lines if line["kind"] == "train"]


class AtStep(Callback):
    """Does something after a step."""

    def __init__(self, step: int, work: Any) -> None:
        self._step, self._work = step, work

    def on_steps(self, state: TrainState, values: Mapping[str, float]) -> None:
        if state.step == self._step:
            self._work()


def test_interrupted_by_a_signal_and_by_an_error(data: Dataset, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def fit(work: Any, step: int, resume: bool = True) -> TrainResult:
        return Trainer(run, callbacks=[AtStep(step, work)], **SMALL | {"epochs": 4}).fit(
            linear(data), data, resume=resume
        )

    def second() -> None:
        with pytest.raises(
            UserError, match=rf"run is in use by process {os.getpid()} on .* since .*; wait until it ends"
        ):
            Trainer(run, **SMALL).fit(linear(data), data, resume=True)
        with pytest.raises(UserError, match="run is in use by process"):
            Trainer(run, **SMALL).fit(linear(data), data)
        assert run_state.read(run).state == "running"
        os.kill(os.getpid(), signal.SIGUSR1)

    def fail() -> None:
        raise OSError(28, "No space left on device")

    assert not fit(second, 3, resume=False).complete
    state = run_state.read(run)
    assert (state.state, state.step, state.epoch, state.reason) == ("interrupted", 3, 1.0, "")
    with pytest.raises(OSError, match="No space left"):
        fit(fail, 6)
    state = run_state.read(run)
    assert (state.state, state.reason) == ("interrupted", "[Errno 28] No space left on device")
    assert not (run / "run.lock").exists()
    assert fit(lambda: None, 0).complete
    assert run_state.read(run).state == "finished"
    assert logged(run) == [3, 6, 9, 12]


def test_a_damaged_last_checkpoint_is_named_and_costs_its_steps_only(
    data: Dataset, tmp_path: Path, capsys: Any
) -> None:
    run = tmp_path / "run"
    expected = Trainer(run, **SMALL).fit(linear(data), data).content
    last = run / "checkpoints" / "step-00000006"
    changed(last / "variables.data-00000-of-00001", 100)
    (run / "result.json").unlink()  # as if killed before
    found = Trainer(run, verbose=True, **SMALL).fit(linear(data), data, resume=True).content
    assert f"note: checkpoint {last} is damaged: " in capsys.readouterr().err
    assert expected is not None and found is not None
    assert_same(found["test"], expected["test"])
    assert logged(run) == [3, 6]
