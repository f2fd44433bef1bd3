"""The suite asks for what exists and reports what failed."""

from __future__ import annotations

import argparse
import json
from importlib import import_module
from pathlib import Path

import pytest

from benchmarks import suite
from benchmarks.__main__ import main


def _arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    suite.add_arguments(parser)
    return parser.parse_args(["--data", "d", *words])


@pytest.mark.parametrize("words", [(), ("--quick",), ("--export", "e")])
def test_every_command_line_is_understood(words: tuple[str, ...]) -> None:
    todo = suite.plan(_arguments(*words), peers=True, gpu=True)
    assert ("serve" in todo) == ("--export" in words)
    for name, line in todo.items():
        parser = argparse.ArgumentParser()
        import_module(f"benchmarks.{name}").add_arguments(parser)
        parser.parse_args(line)


def test_what_is_not_there_is_left_out() -> None:
    assert "peers" not in suite.plan(_arguments(), peers=False, gpu=False)
    assert list(suite.plan(_arguments("--only", "ncf", "train"), peers=True, gpu=False)) == ["train", "ncf"]
    assert "tf32" in suite.plan(_arguments(), peers=False, gpu=True)["train"]
    assert "tf32" not in suite.plan(_arguments(), peers=False, gpu=False)["train"]


def test_a_failure_is_told_and_the_rest_reported(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "r.jsonl"
    results.write_text(json.dumps({"kind": "train", "batch_size": 1, "users_per_second": [1.0]}) + "\n")
    words = ["suite", "--data", str(tmp_path / "none"), "--only", "evaluate", "--results", str(results)]
    assert main([*words, "--html", str(tmp_path / "p.html")]) == 1
    assert "failed: evaluate" in capfd.readouterr().err
    assert "VAE-CF training step" in (tmp_path / "p.html").read_text()


def test_an_unknown_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["suite", "--data", "d", "--only", "nothing"]) == 1
    assert "--only nothing: cannot be run" in capsys.readouterr().err
