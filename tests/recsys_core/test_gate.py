"""The gate: reading conditions and judging."""

from __future__ import annotations

import pytest

from recsys_core.evaluation.evaluator import Estimate, Evaluation
from recsys_core.evaluation.gate import default_condition, judge, parse_condition
from recsys_core.evaluation.metrics import parse_metric


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


@pytest.mark.parametrize("text", ["ndcg@100", "ndcg@100>0.4", "ndcg@100>=", "ndcg@100>=x", "0.4<=ndcg@100"])
def test_another_form_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected METRIC>=NUMBER"):
        parse_condition(text)


def test_a_baseline_that_is_not_evaluated_is_refused() -> None:
    with pytest.raises(ValueError, match="'ease' is not evaluated, the baselines are: popularity"):
        parse_condition("ndcg@100>=0.9*ease")
    assert parse_condition("ndcg@100>=0.9*ease", ("popularity", "ease")).baseline == "ease"
