"""The gate: reading conditions and judging."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recsys_core.evaluation.condition import default_condition, parse_condition
from recsys_core.evaluation.gate import judge
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.evaluation.result import Estimate, Evaluation
from recsys_core.evaluation.tables import CHOSEN, gate_lines
from tests.conftest import ROOT, _environment

ALTERNATING = np.tile([-1.0, 1.0], 50)
"""Of 100 users: mean 0, standard error 0.1005 (sample deviation sqrt(100 / 99), divided by 10)."""
MARGIN = 1.984217 * 0.1005038
"""Half of the interval of values that alternate by +1 and -1: Student's t of 99 degrees (from a printed table)."""


def reached(value: float, spread: float = 0.0, name: str = "ndcg@100") -> Evaluation:
    """100 users with this mean and values that alternate around it; they are the same for every model."""
    values = {name: value + spread * ALTERNATING}
    return Evaluation(metrics={name: Estimate(mean=value)}, users=100, users_without_relevant=0, values=values)


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
        ("ndcg@100 > popularity", 0.21, True),
        ("ndcg@100 > popularity", 0.2, False),
        ("ndcg@100:popularity", 0.21, True),
        ("ndcg@100 >= popularity - 0.02", 0.181, True),
        ("ndcg@100 >= popularity - 0.02", 0.179, False),
        ("ndcg@100:popularity-0.02", 0.181, True),
        ("ndcg@100:popularity+0.02", 0.219, False),
        ("ndcg@100:popularity+0.02", 0.221, True),
        ("ndcg@100:1.5xpopularity-0.02", 0.281, True),
        ("ndcg@100>1.5*popularity-0.02", 0.279, False),
    ],
)
def test_judging(text: str, model: float, passed: bool) -> None:
    verdict = judge([parse_condition(text)], reached(model), {"popularity": reached(0.2)})[0]
    assert verdict.passed is passed


@pytest.mark.parametrize(("number", "passed"), [(0.5 - MARGIN - 1e-5, True), (0.5 - MARGIN + 1e-5, False)])
def test_a_number_is_judged_by_the_lower_end_of_the_interval(number: float, passed: bool) -> None:
    verdict = judge([parse_condition(f"ndcg@100>={number}")], reached(0.5, 1.0), {})[0]
    assert verdict.passed is passed
    assert (verdict.reached, verdict.interval_of, verdict.users) == (pytest.approx(0.5), "mean", 100)
    assert (verdict.low, verdict.high) == (pytest.approx(0.5 - MARGIN, abs=1e-6), pytest.approx(0.5 + MARGIN, abs=1e-6))


def test_a_baseline_is_judged_by_the_paired_interval() -> None:
    """Both vary by user far more than they differ; their difference is 0.02 for every user."""
    condition = [parse_condition("ndcg@100>popularity")]
    verdict = judge(condition, reached(0.52, 1.0), {"popularity": reached(0.5, 1.0)})[0]
    assert verdict.passed and verdict.interval_of == "difference"
    assert (verdict.low, verdict.high) == (pytest.approx(0.02), pytest.approx(0.02))
    opposed = judge(condition, reached(0.52, 0.5), {"popularity": reached(0.5, -0.5)})[0]
    assert not opposed.passed  # the difference is 0.02, and alternates by 1 around it
    assert (opposed.low, opposed.high) == pytest.approx((0.02 - MARGIN, 0.02 + MARGIN), abs=1e-6)


def test_a_factor_and_a_margin_are_in_the_interval() -> None:
    """User by user: model - (2 x popularity - 0.1) = 0.5 + a - 2 (0.2 + a) + 0.1 = 0.2 - a."""
    conditions = [parse_condition("ndcg@100>2*popularity-0.1")]
    verdict = judge(conditions, reached(0.5, 1.0), {"popularity": reached(0.2, 1.0)})[0]
    assert verdict.wanted == pytest.approx(0.3)
    assert (verdict.low, verdict.high) == (pytest.approx(0.2 - MARGIN, abs=1e-6), pytest.approx(0.2 + MARGIN, abs=1e-6))


def few(*values: float) -> Evaluation:
    own = np.array(values)
    metrics = {"ndcg@100": Estimate(mean=float(np.nanmean(own)))}
    return Evaluation(metrics=metrics, users=len(own), users_without_relevant=0, values={"ndcg@100": own})


def test_few_users_have_a_wide_interval() -> None:
    """Values 0.2 and 0.4: deviation 0.141421, error 0.1, t of one degree 12.7062; never below 0."""
    verdict = judge([parse_condition("ndcg@100>=0.1")], few(0.2, 0.4, np.nan), {})[0]
    assert not verdict.passed
    assert (verdict.low, verdict.high, verdict.users) == (0, pytest.approx(0.3 + 1.27062, abs=1e-5), 2)


def test_every_model_passes_a_condition_of_zero() -> None:
    assert judge([parse_condition("ndcg@100:0")], few(0.0, 0.4), {})[0].passed
    assert judge([parse_condition("ndcg@100:0")], few(0.3), {})[0].passed


def test_one_user_decides_nothing_else() -> None:
    conditions = [parse_condition("ndcg@100>=0.1"), parse_condition("ndcg@100>popularity")]
    verdicts = judge(conditions, few(0.9), {"popularity": few(0.1)})
    assert [v.passed for v in verdicts] == [False, False]
    assert [(v.low, v.high, v.users) for v in verdicts] == [(0.0, None, 1), (None, None, 1)]


def test_a_metric_of_the_system_is_compared_itself() -> None:
    def found(value: float) -> Evaluation:
        return Evaluation(metrics={"coverage@5": Estimate(mean=value)}, users=100, users_without_relevant=0)

    conditions = [parse_condition("coverage@5>=0.3"), parse_condition("coverage@5>popularity")]
    verdicts = judge(conditions, found(0.3), {"popularity": found(0.1)})
    assert [(v.passed, v.low, v.users) for v in verdicts] == [(True, None, None)] * 2


@pytest.mark.parametrize("text", ["gini@10:0.5", "popularity-lift@10>popularity", "ils@10:0.1"])
def test_a_metric_of_which_more_is_not_better_decides_nothing(text: str) -> None:
    with pytest.raises(ValueError, match=r"--gate: .*@10 cannot decide, because a higher value is no better"):
        parse_condition(text)


def test_the_lines_show_the_interval() -> None:
    conditions = [parse_condition(t) for t in ("ndcg@100>=0.3", "ndcg@100>=0.4", "ndcg@100>popularity")]
    verdicts = judge(conditions, reached(0.5, 1.0), {"popularity": reached(0.2, 1.0)})
    assert gate_lines(verdicts).splitlines() == [
        "gate passed: ndcg@100>=0.3: 0.5000 reached, 0.3000 wanted, 95 % interval 0.3006 to 0.6994",
        "gate MISSED: ndcg@100>=0.4: 0.5000 reached, 0.4000 wanted, 95 % interval 0.3006 to 0.6994: 100 users are too "
        "few to be sure",
        "gate passed: ndcg@100>popularity: 0.5000 reached, 0.2000 wanted, 95 % interval of the difference +0.3000 to "
        "+0.3000",
    ]
    assert gate_lines(verdicts, True).splitlines()[3:] == [CHOSEN]
    assert gate_lines(judge(conditions[:1], few(0.9), {})).splitlines() == [
        "gate MISSED: ndcg@100>=0.3: 0.9000 reached, 0.3000 wanted, no interval of 1 user",
        "note: 1 user; below 30 such an interval is rough",
    ]


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
    "text",
    [
        "ndcg@100",
        "ndcg@100>0.4",
        "ndcg@100>=",
        "0.4<=ndcg@100",
        "ndcg@100:",
        "ndcg@100:0.4-0.1",
        "ndcg@100:ease-x",
        "ndcg@100:2xease-",
    ],
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
    assert str(parse_condition("ndcg@100>=1*popularity")) == "ndcg@100>popularity"
    assert str(parse_condition("ndcg@100 >= popularity - 0.002")) == "ndcg@100>popularity-0.002"
    assert str(parse_condition("ndcg@100:2xpopularity+0.01")) == "ndcg@100>2*popularity+0.01"


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
        (
            "--gate ndcg@100>=popularity-0.002",
            "=popularity-0.002",
            'Quote it, --gate "ndcg@100>=popularity-0.002", or write --gate ndcg@100:popularity-0.002',
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
@pytest.mark.parametrize("form", ["ndcg@100:1.1xpopularity", "ndcg@100:1.1*popularity", "ndcg@100:popularity-0.1"])
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
