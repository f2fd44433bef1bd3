"""`--help` of every command of `serving`: its own, with an example; rare options stand in `--help-all` only."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from serving.__main__ import ACTIONS, main
from serving.command_help import CommandParser
from tests.conftest import ROOT, _environment

COMMANDS = {
    "convert": ("--precision", "--workspace-mib"),
    "verify": ("--model", "--users"),
    "check": ("--json", "--signature"),
    "histories load": ("--data", "--view"),
    "histories add": ("--items", "--text-ids"),
    "recommend": ("--titles", "--deny"),
    "infer": ("--processes", "--useDLACore"),
    "triton build": ("--repository", "--queue-size"),
    "triton serve": ("--http-port", "--grpc-port"),
    "client": ("--titles", "--retries"),
    "publish": ("--rollback", "--allowed-loss"),
}
"""Command -> a common and a rare option of it."""
SLOW = ("tensorflow", "keras", "onnx", "onnxruntime", "tritonclient", "pandas", "pyarrow", "google.protobuf")
PROGRAM = """
import contextlib, io, json, sys
from serving.__main__ import main
shown = {{}}
for command in {commands!r}:
    for flag in ("--help", "--help-all"):
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            try:
                main([*command.split(), flag])
            except SystemExit as error:
                assert not error.code, (command, flag)
        shown[f"{{command}} {{flag}}".strip()] = out.getvalue()
print(json.dumps([shown, sorted(set(sys.modules) & set({slow!r}))]))
"""


@pytest.fixture(scope="module")
def shown() -> dict[str, str]:
    """The help of every command, made in one process that imports nothing slow."""
    code = PROGRAM.format(commands=[*COMMANDS, "triton", ""], slow=SLOW)
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=_environment(None) | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    texts, imported = json.loads(done.stdout)
    assert imported == []
    return texts


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_is_of_the_command(shown: dict[str, str], command: str) -> None:
    text = shown[f"{command} --help"]
    assert text.startswith(f"usage: python -m serving {command} ")
    assert f"  python -m serving {command} --" in text.partition("example")[2]
    assert "{convert" not in text


@pytest.mark.parametrize("command", COMMANDS)
def test_rare_options_are_in_help_all_only(shown: dict[str, str], command: str) -> None:
    common, rare = COMMANDS[command]
    short, full = (shown[f"{command} --help{more}"] for more in ("", "-all"))
    assert f"{common} " in short and "--help-all" in short and rare not in short
    assert all(f"{option} " in full for option in (common, rare))
    assert "rare options:" in full and "rare options:" not in short


def test_the_first_help_lists_the_actions(shown: dict[str, str]) -> None:
    assert all(f"\n    {action} " in shown["--help"] for action in ACTIONS)
    assert "python -m serving ACTION --help" in shown["--help"]
    assert "    build " in shown["triton --help"] and "    serve " in shown["triton --help"]


def test_a_rare_option_works_without_help_all() -> None:
    parser = CommandParser(prog="films")
    parser.add_argument("--common")
    parser.add_rare("--rare", type=int, default=3, help="a number")
    assert (parser.parse_args([]).rare, parser.parse_args(["--rare", "4"]).rare) == (3, 4)
    assert "--rare" not in parser.format_help() and "--rare" not in parser.format_usage()
    with parser.rare_options_shown():
        assert "a number" in parser.format_help()
    assert "--rare" not in parser.format_help()


def test_a_wrong_option_is_answered_by_the_usage_of_its_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["client", "--nonsense"])
    assert stopped.value.code == 2
    assert "usage: python -m serving" in capsys.readouterr().err
