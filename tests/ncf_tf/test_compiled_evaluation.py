"""The compiled evaluation of NCF gives the values of the uncompiled one, user by user."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ncf_tf.model import NeuMf
from recsys_core.dataset import Dataset
from recsys_core.evaluation.compiled_ranking import users_at_once
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.world import World

NAMES = ("hr@10/sampled", "ndcg@10/sampled", "auc/sampled", "ndcg@20/all", "recall@5/all", "mrr@10/all")
KINDS: dict[str, dict[str, Any]] = {
    "neumf": {"kind": "neumf", "factors": 4, "layers": (16, 8)},
    "mlp": {"kind": "mlp", "layers": (16, 8)},
    "dot products": {"kind": "gmf", "factors": 4, "dot_product": True, "biases": True, "ensemble_size": 2},
}


@pytest.fixture(scope="module")
def data(tiny_pairs: Path) -> Dataset:
    return Dataset.open(tiny_pairs)


@pytest.mark.parametrize("of_users", ["all at once", "in blocks"])
@pytest.mark.parametrize("kind", KINDS)
def test_sampled_and_whole_catalogue(kind: str, of_users: str, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys_core.evaluation.evaluator.fits", lambda held_out, budget: True)
    model = NeuMf(data, **KINDS[kind])
    for k, variable in enumerate(model.parameters):
        variable.assign(np.random.default_rng(k).normal(0, 0.3, variable.shape).astype(np.float32))
    test = data.held_out("test")
    budget = (2.0 if of_users == "all at once" else 0.4) * test.n_users * model.score_bytes
    assert (users_at_once(model.score_bytes, budget, test.n_users) < test.n_users) == (of_users == "in blocks")
    ours, plain = (
        Evaluator(test, [parse_metric(n) for n in NAMES], world=World(), n_items=data.n_items, device_bytes=of)
        for of in (budget, 0.0)
    )
    found, expected = ours.per_user(model), plain.per_user(model)
    assert ours._compiled_rankings and not plain._compiled_rankings
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert np.nanstd(values) > 0, "users differ"
        assert found[name] == pytest.approx(values, nan_ok=True, abs=1e-12), name
    assert ours.evaluate(model).users == test.n_users
