"""`state.json` and what is to be done with a run that is resumed, by its state and its files. Without TensorFlow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from recsys_core import files, run_state, runs
from recsys_core.errors import UserError
from recsys_core.run_manifest import RunManifest, read
from recsys_core.run_state import (
    CONVERT,
    EXPORTED,
    FINISHED,
    INTERRUPTED,
    JUDGE,
    NEW,
    NOTHING,
    RUNNING,
    TRAIN,
    change,
    to_do,
)

CONFIG: dict[str, Any] = {
    "top_k": 100,
    "convert": "",
    "training": {"epochs": 4, "keep_checkpoints": 2, "learning_rate": 0.1, "learning_rate_schedule": "constant"},
    "evaluation": {
        "metrics": ("ndcg@100",),
        "gate": ("ndcg@100:0.4",),
        "baselines": (),
        "ease_regularization": 500.0,
        "target": "",
    },
}


def config(**changes: Any) -> dict[str, Any]:
    """`CONFIG` with other values, each by its own name."""
    found = {name: dict(part) if isinstance(part, dict) else part for name, part in CONFIG.items()}
    for name, value in changes.items():
        owner = next((part for part in found.values() if isinstance(part, dict) and name in part), found)
        owner[name] = value
    return found


def finished(folder: Path, verdict: str, **facts: Any) -> Path:
    """A run that was judged after 40 steps, with what such a run leaves."""
    folder.mkdir()
    (folder / "checkpoints" / "step-00000040").mkdir(parents=True)
    (folder / "checkpoints" / "step-00000040" / "state.json").write_text("{}")
    (folder / "result.json").write_text("{}")
    change(folder, RUNNING)
    change(folder, FINISHED, step=40, verdict=verdict, judged_with=run_state.judged_settings(CONFIG))
    if verdict == "passed":
        (folder / "export").mkdir()
        (folder / "export" / "export.json").write_text("{}")
        change(folder, EXPORTED, export={"step": 40}, **facts)
    return folder


def asked(folder: Path, **changes: Any) -> str:
    return to_do(folder, config(**changes), runs.checkpoint_steps(folder / "checkpoints"))


def test_a_state_is_read_back_and_keeps_its_facts(tmp_path: Path) -> None:
    assert run_state.read(tmp_path) == NEW
    change(tmp_path, RUNNING)
    change(tmp_path, INTERRUPTED, step=7, epoch=0.5, reason="no space left")
    found = run_state.read(tmp_path)
    assert (found.state, found.step, found.epoch, found.reason) == ("interrupted", 7, 0.5, "no space left")
    change(tmp_path, RUNNING)
    assert run_state.read(tmp_path).reason == ""
    change(tmp_path, FINISHED, step=9, verdict="passed", conditions=("ndcg@100>=0: 0.2423 reached",))
    change(tmp_path, EXPORTED, export={"step": 9}, converted=("onnx",))
    change(tmp_path, RUNNING)  # more epochs; the export of before stays
    found = run_state.read(tmp_path)
    assert (found.state, found.step, found.export, found.converted) == ("running", 9, {"step": 9}, ("onnx",))
    assert found.conditions == ("ndcg@100>=0: 0.2423 reached",)
    assert json.loads((tmp_path / "state.json").read_text())["format_version"] == 1


@pytest.mark.parametrize(
    ("states", "bad"),
    [([], EXPORTED), ([RUNNING], EXPORTED), ([RUNNING, INTERRUPTED], FINISHED), ([RUNNING, FINISHED], INTERRUPTED)],
)
def test_other_transitions_are_defects(states: list[str], bad: str, tmp_path: Path) -> None:
    for state in states:
        change(tmp_path, state)
    with pytest.raises(AssertionError, match=f"{bad} does not follow"):
        change(tmp_path, bad)


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"format_version": 2, "state": "finished"}', '{"format_version": 1}']
)
def test_a_state_that_cannot_be_read_is_that_of_an_earlier_version(text: str, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(text)
    assert run_state.read(tmp_path) == NEW
    assert asked(tmp_path) == TRAIN


@pytest.mark.parametrize("state", ["", RUNNING, INTERRUPTED])
def test_a_run_that_has_not_ended_goes_on(state: str, tmp_path: Path) -> None:
    for name in (RUNNING, state) if state else ():
        change(tmp_path, name)
    assert asked(tmp_path) == TRAIN


@pytest.mark.parametrize(
    ("changes", "missed", "passed"),
    [
        ({}, NOTHING, NOTHING),
        ({"keep_checkpoints": 5}, NOTHING, NOTHING),
        ({"epochs": 5}, TRAIN, TRAIN),
        ({"target": "ndcg@100:0.4"}, TRAIN, TRAIN),
        ({"gate": ("ndcg@100:0.3",)}, JUDGE, JUDGE),
        ({"gate": ["ndcg@100:0.4"]}, NOTHING, NOTHING),
        ({"baselines": ("ease",)}, JUDGE, JUDGE),
        ({"top_k": 7}, JUDGE, JUDGE),
        ({"convert": "onnx"}, NOTHING, CONVERT),
        ({"convert": "savedmodel"}, NOTHING, NOTHING),
        ({"convert": "savedmodel, onnx"}, NOTHING, CONVERT),
    ],
)
def test_a_run_that_has_ended(changes: dict[str, Any], missed: str, passed: str, tmp_path: Path) -> None:
    assert asked(finished(tmp_path / "missed", "missed"), **changes) == missed
    assert asked(finished(tmp_path / "passed", "passed", converted=("savedmodel",)), **changes) == passed


@pytest.mark.parametrize(
    ("removed", "expected"),
    [("result.json", TRAIN), ("checkpoints/step-00000040/state.json", TRAIN), ("export/export.json", JUDGE)],
)
def test_what_was_removed_is_made_again(removed: str, expected: str, tmp_path: Path) -> None:
    folder = finished(tmp_path / "run", "passed")
    (folder / removed).unlink()
    assert asked(folder) == expected


# The manifest of a run that is resumed


def manifest(**changes: Any) -> RunManifest:
    return RunManifest(
        family="vaecf", config=config(**changes), data=None, fingerprint="f" * 64, view="", environment={}
    )


def stored_config(folder: Path) -> dict[str, Any]:
    import yaml

    return yaml.safe_load((folder / "config.yaml").read_text())


def test_more_epochs_keep_the_schedules_of_the_first_ones(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    begun = runs.create(folder, manifest(), resume=False)
    assert (begun.to_do, begun.schedule_epochs) == (TRAIN, None)
    for epochs in (6, 6, 9):
        begun = runs.create(folder, manifest(epochs=epochs), resume=True)
        assert (begun.to_do, begun.schedule_epochs) == (TRAIN, 4)
        assert stored_config(folder)["training"]["epochs"] == epochs
        assert read(folder).schedule_epochs == 4
    with pytest.raises(ValueError, match="--resume: epochs is 6, the run in .* has 9; resume with the settings it was"):
        runs.create(folder, manifest(epochs=6), resume=True)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_more_epochs_after_a_rate_of_0_are_refused(schedule: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    runs.create(folder, manifest(learning_rate_schedule=schedule), resume=False)
    before = (folder / "run.json").read_text()
    with pytest.raises(ValueError) as caught:
        runs.create(folder, manifest(learning_rate_schedule=schedule, epochs=6), resume=True)
    assert str(caught.value) == (
        f"--resume: epochs is 6, the run in {folder} has 4, at whose end its {schedule} learning rate is 0; start "
        f"another run from it with --warm-start {folder}"
    )
    assert (folder / "run.json").read_text() == before


def test_config_yaml_is_what_runs_now_and_a_run_left_as_it_is_keeps_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    runs.create(folder, manifest(), resume=False)
    runs.create(folder, manifest(top_k=7, keep_checkpoints=3), resume=True)
    assert (stored_config(folder)["top_k"], stored_config(folder)["training"]["keep_checkpoints"]) == (7, 3)
    finished(tmp_path / "ended", "missed")
    runs.create(tmp_path / "new", manifest(), resume=False)
    for name in ("run.json", "config.yaml"):
        (tmp_path / "new" / name).rename(tmp_path / "ended" / name)
    before = (tmp_path / "ended" / "run.json").stat().st_mtime_ns
    assert runs.create(tmp_path / "ended", manifest(keep_checkpoints=5), resume=True).to_do == NOTHING
    assert (tmp_path / "ended" / "run.json").stat().st_mtime_ns == before


def test_litter_of_all_writers_is_removed_and_a_replaced_export_is_back(tmp_path: Path) -> None:
    (tmp_path / "checkpoints" / ".writing-77-step-00000009").mkdir(parents=True)  # of an earlier version
    for name in (".writing-5@h2-run-host-result.json", ".writing-1@h2-export"):
        (tmp_path / name).write_text("half")
    (tmp_path / ".replaced-5@h2-host-export").mkdir()
    (tmp_path / ".replaced-5@h2-host-export" / "export.json").write_text("{}")
    runs.remove_litter(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoints", "export"}
    assert list((tmp_path / "checkpoints").iterdir()) == []
    (tmp_path / ".replaced-6@h2-export").mkdir()
    runs.remove_litter(tmp_path)
    assert (tmp_path / "export" / "export.json").is_file()
    assert not (tmp_path / ".replaced-6@h2-export").exists()


def test_a_place_that_is_taken(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.lock").write_text("{}")
    (tmp_path / "run" / ".writing-1@h2-run.json").write_text("half")
    runs.check_place(tmp_path / "run", "vaecf", resume=False)  # the lock decides
    assert runs.create(tmp_path / "run", manifest(), resume=False).to_do == TRAIN  # killed before its first file
    (tmp_path / "run" / "run.lock").unlink()
    for call in (
        lambda: runs.check_place(tmp_path / "run", "vaecf", resume=False),
        lambda: runs.create(tmp_path / "run", manifest(), resume=False),
    ):
        with pytest.raises(ValueError, match="run exists; go on with its run by --resume"):
            call()
    with pytest.raises(UserError, match="--resume: .*nothing holds no run"):
        runs.check_place(tmp_path / "nothing", "vaecf", resume=True)
    assert not (tmp_path / "nothing").exists()


def test_no_leftovers_of_others_are_removed_without_a_lock(tmp_path: Path) -> None:
    (tmp_path / ".writing-1@h2-b.json").write_text("being written")
    files.write_json(tmp_path / "c.json", {})
    assert {p.name for p in tmp_path.iterdir()} == {".writing-1@h2-b.json", "c.json"}
