"""The parser of the commands other than training: short help, errors of one line."""

from __future__ import annotations

import re

import pytest

import benchmarks.__main__
import load_study.__main__
from recsys_core import cli
from vaecf.config import SPEC

MAINS = {"benchmarks": benchmarks.__main__.main, "load_study": load_study.__main__.main}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "load_study",
            "ACTION is missing; type: python -m load_study ACTION [options]; see python -m load_study --help",
        ),
        ("load_study laod", "ACTION is 'laod', expected one of: load, schedule, operators, .*; did you mean load?"),
        ("load_study load --rte 3", "unknown flag --rte; did you mean --rate?; see python -m load_study load --help"),
        ("load_study load --rate fast", "--rate is 'fast', expected a number; see python -m load_study load --help"),
        ("load_study load --cores 1.5", "--cores is '1.5', expected a whole number; "),
        ("load_study load --rate", "--rate has no value; "),
        ("load_study load 3", "'3' stands without a flag; "),
        ("load_study load --target mars", "--target is 'mars', expected one of: pool, in-process, triton-http, "),
        ("benchmarks train", "--data is missing; type: python -m benchmarks train --data DATA [options]; "),
    ],
)
def test_bad_flags_are_one_line(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    package, *rest = words.split()
    with pytest.raises(SystemExit) as caught:
        MAINS[package](rest)
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.match(f"error: {re.escape(message)}".replace(r"\.\*", ".*"), said)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "error: --run-dir is missing; type: python -m vaecf.evaluate --run-dir RUN [options]; "),
        (["--run-dir", "r", "--spilt", "valid"], "error: unknown flag --spilt; did you mean --split?; "),
    ],
)
def test_bad_flags_of_evaluate(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.evaluate(SPEC, words)
    assert caught.value.code == 2
    assert capsys.readouterr().err == f"{message}see python -m vaecf.evaluate --help\n"


def shown(capsys: pytest.CaptureFixture[str], package: str, *words: str) -> str:
    with pytest.raises(SystemExit) as caught:
        MAINS[package](words)
    assert caught.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("action", ["load", "schedule"])
def test_rare_options_are_shown_by_help_all(
    action: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    short = shown(capsys, "load_study", action, "--help")
    assert short.startswith(f"usage: python -m load_study {action} [options]\n")
    assert short.count("\n") <= 50
    assert "--queue-limit" not in short and "--help-all" in short and "--model" in short
    assert f"\nexamples:\n  python -m load_study {action} " in short
    assert "\nexit status: 0 done, " in short
    long = shown(capsys, "load_study", action, "--help-all")
    assert "--queue-limit" in long and "--model" in long
    assert shown(capsys, "load_study", action, "--help") == short


def test_every_common_option_exists() -> None:
    for line in (benchmarks.__main__.COMMAND_LINE, load_study.__main__.COMMAND_LINE):
        parser = line.parser()
        for action in parser._subparsers._group_actions[0].choices.values():  # type: ignore[union-attr]
            options = action._option_string_actions
            assert set(action._common or ()) <= set(options)
            assert action._common or len(options) <= 17, action.prog
