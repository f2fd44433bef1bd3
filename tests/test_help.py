"""`--help` of every command answers at once, in a page; `--help-all` shows the rest."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import Any

import pytest
import tyro

from ncf_tf import config as ncf
from recsys_core import flag_list, flags
from tests.conftest import ROOT, _environment
from vaecf import config as vaecf

COMMANDS = (
    "data_prep",
    "vaecf.train",
    "vaecf.evaluate",
    "vaecf.tune",
    "ncf_tf.train",
    "ncf_tf.evaluate",
    "recsys_core.compare",
    "ncf_tf.tune",
    "serving",
    "horovod_launch",
    "benchmarks",
    "load_study",
)
SLOW = ("tensorflow", "horovod", "matplotlib", "onnx", "onnxruntime", "tritonclient")
PROGRAM = """
import runpy, sys
sys.argv = [{name!r}, "--help"]
try:
    runpy.run_module({name!r}, run_name="__main__")
except SystemExit as error:
    assert not error.code, error.code
print("IMPORTED", sorted(set(sys.modules) & set({slow!r})))
"""
FAMILIES = pytest.mark.parametrize("family", [vaecf, ncf])


@pytest.mark.parametrize("name", COMMANDS)
def test_help_teaches_and_imports_nothing_slow(name: str) -> None:
    code = PROGRAM.format(name=name, slow=SLOW)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=_environment(None), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "IMPORTED []" in done.stdout
    assert f"python -m {name}" in done.stdout


def shown(family: Any, capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What a training command prints before it ends with status 0."""
    with pytest.raises(SystemExit) as caught:
        flags.parse(family.SPEC, words)
    assert caught.value.code == 0
    return capsys.readouterr().out


@FAMILIES
def test_training_help_is_a_page(
    family: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = shown(family, capsys, "--help")
    lines = text.splitlines()
    assert len(lines) <= 50
    assert (
        lines[0] == f"usage: python -m {family.SPEC.family}.train --data PATH --run-dir PATH [--preset NAME] [options]"
    )
    names = (
        "--data --run-dir --preset --epochs --batch-size --learning-rate --precision --gate --baselines --seed "
        "--convert --config --resume --help-all"
    )
    assert [line.split()[0] for line in lines if line.startswith("  --")] == names.split()
    for name, preset in family.PRESETS.items():
        assert f"  {name.ljust(7)} {preset.summary[:40]}" in text
    assert "exit status: 0 done, 2 bad input, 3 gate missed, 4 training diverged" in text
    assert text.count(f"{family.SPEC.family}.train --") >= 3  # usage and two examples
    assert "need quotes" in " ".join(text.split())  # of --gate
    assert shown(family, capsys, "-h") == text
    assert shown(family, capsys, "--help", "--resume", "nowhere") == text


@pytest.mark.parametrize("preset", vaecf.PRESETS)
def test_the_defaults_shown_are_those_of_the_preset(preset: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(vaecf, capsys, "--preset", preset, "--help")
    rate = vaecf.PRESETS[preset].config.training.learning_rate
    assert f"(default: {rate})" in " ".join(text.partition("--learning-rate")[2].split())


@FAMILIES
def test_the_whole_help_has_every_flag_that_tyro_knows(family: Any, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(family, capsys, "--help-all")
    config = next(iter(family.PRESETS.values())).config
    with pytest.raises(SystemExit):
        tyro.cli(type(config), default=config, args=["--help"], config=(tyro.conf.OmitArgPrefixes,))
    theirs = set(re.findall(r"^[│ ]+(--[a-z][a-z0-9-]*)", capsys.readouterr().out, re.MULTILINE)) - {"--help"}
    ours = {flag.name for flag in flag_list.flags_of(config)}
    assert {f"--{name.removeprefix('--').removeprefix('no-')}" for name in theirs} == ours
    for flag in flag_list.flags_of(config):
        assert f"  {flag.shown}" in text
        assert flag.about, flag.name
    for preset in family.PRESETS.values():
        assert " ".join(preset.about.split()) in " ".join(text.split())


@FAMILIES
def test_every_flag_takes_the_value_that_its_help_shows(family: Any) -> None:
    config = next(iter(family.PRESETS.values())).config
    words = ["--data", "d", "--run-dir", "r"]
    for flag in flag_list.flags_of(config):
        if flag.kind is bool:
            words.append(flag.names[not flag.default])
        elif flag.default not in (tyro.MISSING, "", None):
            words += [flag.name, *(map(str, flag.default) if flag.many else [str(flag.default)])]
    assert flags.parse(family.SPEC, words).config == flags.parse(family.SPEC, words[:4]).config


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            [],
            "--data and --run-dir are missing; type: python -m vaecf.train --data DATA_SET --run-dir NEW_FOLDER "
            "(DATA_SET is a folder that python -m data_prep made)",
        ),
        (["--data", "d"], "--run-dir is missing; type: python -m vaecf.train --data DATA_SET --run-dir NEW_FOLDER"),
        (["data/mine"], "'data/mine' stands without a flag; --help shows the flags"),
    ],
)
def test_what_is_missing(words: list[str], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        flags.parse(vaecf.SPEC, words)
    assert str(caught.value).startswith(message)
