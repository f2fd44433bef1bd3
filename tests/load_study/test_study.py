"""The study runs actions whose flags exist, and `platforms` for models of the zoo only."""

from __future__ import annotations

import argparse
from importlib import import_module
from pathlib import Path

import pytest

from load_study import study
from load_study.__main__ import main
from load_study.subjects import Subject


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
