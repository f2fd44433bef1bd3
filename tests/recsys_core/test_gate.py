"""The gate: reading conditions and judging."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_core.evaluation.evaluator import Estimate, Evaluation
from recsys_core.evaluation.gate import default_condition, judge, parse_condition
from recsys_core.evaluation.metrics import parse_metric
from tests.conftest import ROOT, _environment


def reached(value: float) -> Evaluation:
    return Evaluation(metrics={"ndcg@100": Estimate(mean=value)}, users=10, users_without_relevant=0)


@pytest.mark.parametrize(
    ("text", "model", "passed"),
    [
        ("ndcg@100>=0.42", 0.42, True),
        ("ndcg@100>=0.42", 0.4199, False),
        (" ndcg@100 >= .3 ", 0.31, True),
        ("ndcg@100>=1.5*popularity", 0.31, True),
        ("ndcg@100>1.5*popularity", 0.31, True),
        ("ndcg@100>=1*popularity", 0.2, False),  # a baseline must be exceeded
        ("ndcg@100>=1.5*popularity", 0.29, False),
        ("ndcg@100>=0.1", float("nan"), False),
        ("ndcg@100:0.42", 0.42, True),  # needs no quotes in a shell
        ("ndcg@100:0.42", 0.4199, False),
        ("ndcg@100:1.5*popularity", 0.3, False),
        ("ndcg@100:1.5xpopularity", 0.31, True),
    ],
)
def test_judging(text: str, model: float, passed: bool) -> None:
    verdict = judge([parse_condition(text)], reached(model), {"popularity": reached(0.2)})[0]
    assert verdict.passed is passed


def test_the_default_beats_popularity_by_a_tenth() -> None:
    condition = default_condition(parse_metric("ndcg@100"))
    assert str(condition) == "ndcg@100>1.1*popularity"
    assert not judge([condition], reached(0.219), {"popularity": reached(0.2)})[0].passed
    assert judge([condition], reached(0.221), {"popularity": reached(0.2)})[0].passed


@pytest.mark.parametrize("model", [0.0, 1e-7])
def test_a_model_that_ranks_nothing_right_does_not_beat_a_popularity_of_zero(model: float) -> None:
    verdict = judge([default_condition(parse_metric("ndcg@100"))], reached(model), {"popularity": reached(0.0)})[0]
    assert not verdict.passed
    assert judge([default_condition(parse_metric("ndcg@100"))], reached(0.01), {"popularity": reached(0.0)})[0].passed


@pytest.mark.parametrize(
    "text", ["ndcg@100", "ndcg@100>0.4", "ndcg@100>=", "ndcg@100>=x", "0.4<=ndcg@100", "ndcg@100:", "ndcg@100:x"]
)
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected METRIC>=NUMBER"):
        parse_condition(text)


def test_a_baseline_that_is_not_evaluated_is_refused() -> None:
    with pytest.raises(ValueError, match="'ease' is not evaluated, the baselines are: popularity"):
        parse_condition("ndcg@100>=0.9*ease")
    assert parse_condition("ndcg@100>=0.9*ease", ("popularity", "ease")).baseline == "ease"


def test_the_text_of_a_condition_is_the_same_in_all_forms() -> None:
    assert str(parse_condition("ndcg@100:0.42")) == "ndcg@100>=0.42"
    assert str(parse_condition("ndcg@100:1.1xpopularity")) == "ndcg@100>1.1*popularity"


def typed(words: str, folder: Path) -> str:
    """What a training says when bash reads these words after its flags."""
    line = f"{shlex.quote(sys.executable)} -m vaecf.train --data data --run-dir run {words}"
    env = _environment({"PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"})
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    return done.stderr


@pytest.mark.parametrize(
    ("words", "file", "answer"),
    [
        ("--gate ndcg@100>=0.4", "=0.4", 'Quote it, --gate "ndcg@100>=0.4", or write --gate ndcg@100:0.4'),
        (
            "--gate ndcg@100>1.1*popularity",
            "1.1*popularity",
            'Quote it, --gate "ndcg@100>1.1*popularity", or write --gate ndcg@100:1.1xpopularity',
        ),
        ("--target ndcg@100>=0.45", "=0.45", 'Quote it, --target "ndcg@100>=0.45", or write --target ndcg@100:0.45'),
    ],
)
def test_a_condition_that_the_shell_has_cut(words: str, file: str, answer: str, tmp_path: Path) -> None:
    said = typed(words, tmp_path)
    assert said.count("\n") == 1
    assert answer in said
    assert f"made {file!r} here (remove it: rm {shlex.quote('./' + file)})" in said
    subprocess.run(["bash", "-c", f"rm {shlex.quote('./' + file)}"], cwd=tmp_path, check=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("other", ["", "ndcg@100", "ndcg@100:1.1", "1.1*popularity"])
@pytest.mark.parametrize("form", ["ndcg@100:1.1xpopularity", "ndcg@100:1.1*popularity", "ndcg@100:0.4"])
def test_bash_leaves_the_forms_with_a_colon_alone(form: str, other: str, tmp_path: Path) -> None:
    if other:
        (tmp_path / other).touch()
    done = subprocess.run(["bash", "-c", f"printf %s {form}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == form
    parse_condition(done.stdout)


def test_a_condition_without_a_sign_and_without_such_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").touch()
    (tmp_path / "0.4").write_text("a file of the user, whose removal must not be proposed")
    with pytest.raises(ValueError, match=r"Quote it, --gate \"ndcg@100>=0.42\", or .*takes an unquoted > for a file$"):
        parse_condition("ndcg@100")
