"""The study runs actions whose flags exist, and `platforms` for models of the zoo only."""

from __future__ import annotations

import argparse
import json
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from load_study import study
from load_study.__main__ import main
from load_study.subjects import Subject
from recsys_core.measuring.conditions import BUSY


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    study.add_arguments(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize("words", [("--model", "ncf"), ("--model", "ncf", "--quick")])
def test_every_command_line_is_understood(words: tuple[str, ...]) -> None:
    actions = study.plan(Subject(model="ncf"), _arguments(*words))
    assert list(actions) == ["operators", "platforms", "schedule"]
    for name, line in actions.items():
        parser = argparse.ArgumentParser()
        import_module(f"load_study.{name}").add_arguments(parser)
        parser.parse_args(line)


def test_an_export_has_no_platforms() -> None:
    actions = study.plan(Subject(model="vaecf", export=Path("e")), _arguments("--export", "e"))
    assert list(actions) == ["operators", "schedule"]


def test_platforms_take_no_delay(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["platforms", "--model", "delay:5", "--one"]) == 1
    assert "--model is 'delay:5', expected of the zoo: rmc1" in capsys.readouterr().err


@pytest.mark.parametrize(("rate", "seconds"), [(100.0, "20"), (10.0, "50"), (1.0, "180")])
def test_a_load_is_long_enough_for_its_percentile(tmp_path: Path, rate: float, seconds: str) -> None:
    results = tmp_path / "r.jsonl"
    results.write_text(json.dumps({"kind": "schedule", "model": "ncf", "rate": rate, "best_split": 64}) + "\n")
    args = argparse.Namespace(results=results, quick=False, engines=0, engine="onnx-fp32", ids="uniform", kept=tmp_path)
    words = study._load_arguments(Subject(model="ncf"), args)
    assert words is not None
    assert words[words.index("--duration") + 1] == seconds


class Actions:
    """Stands for the processes of the actions: notes each and writes the records that it would write."""

    def __init__(self, failing: str = "", **fields: Any) -> None:
        self.ran: list[str] = []
        self._failing, self._fields = failing, fields

    def __call__(self, package: str, action: str, words: list[str], results: Path) -> bool:
        self.ran.append(action)
        if action == self._failing:
            return False
        command = shlex.join(["python", "-m", package, action, *words, "--results", str(results)])
        row = {"kind": action, "command": command, "model": "ncf", "engine": "onnx-fp32", **self._fields}
        row |= {"rate": 10.0, "best_split": 64, "level": 0.95, "target_ms": 5.0, "points": [], "is_simulated": False}
        row |= {
            "batch": 1,
            "ms": 1.0,
            "shares": {},
            "speed_up": [1.0, 1.1],
            "target": "pool",
            "best_offload_above": None,
        }
        count = 3 if action == "load" else 1
        with results.open("a") as file:
            file.write(count * (json.dumps(row) + "\n"))
        return True


@pytest.fixture
def words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(study.report, "main", lambda args: 0)
    return ["study", "--model", "ncf", "--quick", "--results", str(tmp_path / "r.jsonl")]


def test_a_study_goes_on_after_a_failure_and_is_resumed(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = Actions(failing="schedule"), Actions()
    monkeypatch.setattr(study, "run_action", first)
    assert main(words) == 1
    assert first.ran == ["operators", "platforms", "schedule"]  # without a rate there are no loads
    assert "failed: schedule of ncf (see above); the rest is in the results" in capsys.readouterr().err
    monkeypatch.setattr(study, "run_action", second)
    assert main([*words, "--resume"]) == 0
    assert second.ran == ["schedule", "load"]
    assert "2 actions were recorded before" in capsys.readouterr().out
    third = Actions()
    monkeypatch.setattr(study, "run_action", third)
    assert main([*words, "--resume"]) == 0
    assert third.ran == []
    assert main(words) == 0
    assert third.ran == ["operators", "platforms", "schedule", "load"]


def test_engines_are_told_to_the_actions_that_send_load(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    told: dict[str, bool] = {}
    actions = Actions()

    def run(package: str, action: str, given: list[str], results: Path) -> bool:
        told[action] = "--engines 1" in shlex.join(given)
        return actions(package, action, given, results)

    monkeypatch.setattr(study, "run_action", run)
    assert main([*words, "--engines", "1"]) == 0
    assert told == {"operators": False, "platforms": False, "schedule": True, "load": True}


def test_other_settings_are_measured_again(words: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    actions = Actions()
    monkeypatch.setattr(study, "run_action", actions)
    main(words)
    del actions.ran[:]
    main([*words, "--resume", "--ids", "uniform"])
    assert actions.ran == ["operators", "platforms", "schedule", "load"]


def test_late_windows_are_counted_and_what_is_not_valid_is_measured_again(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RECSYS_BUSY", raising=False)
    late = Actions(discarded_windows=4.0, invalid_windows=1.0, invalid=["the generator was late"])
    monkeypatch.setattr(study, "run_action", late)
    assert main(words) == BUSY
    said = capsys.readouterr().out
    assert "24 discarded and run again, 6 taken all the same; 6 of 6 records not valid" in said
    assert "no valid record, so there is no report" in said
    quiet = Actions()
    monkeypatch.setattr(study, "run_action", quiet)
    assert main([*words, "--resume"]) == 0
    assert quiet.ran == ["operators", "platforms", "schedule", "load"]
    assert "0 of 6 records not valid" in capsys.readouterr().out
