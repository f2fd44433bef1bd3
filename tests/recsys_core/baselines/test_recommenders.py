"""What every baseline has to do: learn, score padded histories alike, be saved, exported, and serve new users."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from recsys_core import Dataset, Trainer, load
from recsys_core.baselines import KNOWN, baseline, check_installed, check_names
from recsys_core.config import EvaluationConfig
from recsys_core.errors import UserError
from recsys_core.evaluation.baselines import evaluate
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.model import Recommender
from recsys_core.world import World
from tests.models import histories

GROUPS, ITEMS, USERS = 3, 18, 60
SMALL = {"ials": {"factors": 6}, "bpr": {"factors": 6, "epochs": 40}, "itemknn": {"neighbours": 8}}
"""Settings that fit so few items."""


def table() -> pd.DataFrame:
    """Users of three groups; each has 5 of the 6 items of its group, and one other item."""
    draw = np.random.default_rng(5)
    rows = []
    for user in range(USERS):
        own = np.arange(ITEMS)[np.arange(ITEMS) % GROUPS == user % GROUPS]
        other = int(draw.integers(ITEMS))
        rows += [(f"u{user}", f"i{item}") for item in {*draw.choice(own, 5, replace=False).tolist(), other}]
    return pd.DataFrame(rows, columns=["user", "item"])


@pytest.fixture(scope="module")
def users_held_out() -> Dataset:
    return Dataset.from_frame(table()).split("users", held_out=12)


@pytest.fixture(scope="module")
def items_held_out() -> Dataset:
    frame = table()
    return Dataset.from_frame(frame.assign(time=np.arange(len(frame))), time="time").split("leave-one-out", negatives=5)


def fitted(name: str, data: Dataset) -> Recommender:
    model = baseline(name)(data, **SMALL.get(name, {}))
    model.solve()
    return model


def value(model: Recommender, data: Dataset, metric: str) -> float:
    evaluator = Evaluator(data.held_out("test"), [parse_metric(metric)], world=World(), n_items=data.n_items)
    return evaluator.evaluate(model).metrics[metric].mean


PERSONAL = [name for name in KNOWN if name != "popularity"]


@pytest.mark.parametrize("name", PERSONAL)
def test_both_protocols_are_learnt(name: str, users_held_out: Dataset, items_held_out: Dataset) -> None:
    """The item to be found is of the user's group: the sixth item of the group comes first for most users."""
    for data, metric in [(users_held_out, "ndcg@5"), (items_held_out, "ndcg@5/all"), (items_held_out, "hr@1/sampled")]:
        metric = metric.removesuffix("/all")
        assert value(fitted(name, data), data, metric) > 1.2 * value(fitted("popularity", data), data, metric)


@pytest.mark.parametrize("name", KNOWN)
def test_padded_histories_have_the_same_scores(name: str, users_held_out: Dataset) -> None:
    model = fitted(name, users_held_out)
    pad = users_held_out.n_items
    padded = tf.constant([[pad, 3, 7], [2, pad, pad], [pad, pad, pad], [0, 1, 2]])
    expected = model.scores(histories([[3, 7], [2], [], [0, 1, 2]])).numpy()
    assert model.padded_scores(padded).numpy() == pytest.approx(expected, abs=1e-5)
    compiled = tf.function(model.compiled_scores, jit_compile=True, autograph=False)
    assert compiled(padded).numpy() == pytest.approx(expected, abs=1e-5)
    assert np.isfinite(expected).all()


@pytest.mark.parametrize("name", KNOWN)
def test_saved_and_loaded(name: str, users_held_out: Dataset, tmp_path: Path) -> None:
    model = fitted(name, users_held_out)
    model.save(tmp_path / "model")
    asked = histories([[3, 7], [2], []])
    for data in (users_held_out, None):
        again = load(tmp_path / "model", data)
        assert again.scores(asked).numpy().tolist() == model.scores(asked).numpy().tolist()
        assert again.settings == model.settings


def test_a_model_of_an_earlier_version_is_loaded(users_held_out: Dataset, tmp_path: Path) -> None:
    """EASE and popularity were in another module."""
    model = fitted("ease", users_held_out)
    model.save(tmp_path / "model")
    path = tmp_path / "model" / "model.json"
    content = json.loads(path.read_text())
    assert content["class"] == "recsys_core.baselines.ease:Ease"
    path.write_text(json.dumps(content | {"class": "recsys_core.evaluation.baselines:Ease"}))
    again = load(tmp_path / "model", users_held_out)
    assert again.weights.numpy().tolist() == model.weights.numpy().tolist()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", PERSONAL)
def test_similar_items_are_of_the_group(name: str, users_held_out: Dataset) -> None:
    found = fitted(name, users_held_out).similar_items("i0", k=3)["similar_item"]
    assert [int(item[1:]) % GROUPS for item in found] == [0, 0, 0]


@pytest.mark.parametrize("name", ["ials", "itemknn"])
def test_trained_exported_and_recommending(name: str, users_held_out: Dataset, tmp_path: Path) -> None:
    model = baseline(name)(users_held_out, **SMALL[name])
    run = Trainer(tmp_path / "run", gate=("ndcg@100:0",)).fit(model, users_held_out)
    assert run.passed
    exported = tf.saved_model.load(str(tmp_path / "run" / "export" / "saved_model")).signatures["recommend"]
    items = users_held_out.items.set_index("item_id")["index"]
    own = [f"i{item}" for item in range(0, 15, 3)]  # five of the six of a group
    answer = exported(item_ids=tf.constant([items[own].tolist()], tf.int32))
    assert answer["items"][0, 0].numpy() == items["i15"]
    found = model.recommend(histories={"new": own}, k=1)
    assert found["item"].tolist() == ["i15"]
    assert found["score"].to_numpy() == pytest.approx(answer["scores"][0, :1].numpy(), abs=1e-5)


def test_all_are_evaluated_by_name(users_held_out: Dataset) -> None:
    evaluators = {
        split: Evaluator(users_held_out.held_out(split), [parse_metric("ndcg@5")], world=World(), n_items=ITEMS)
        for split in ("valid", "test")
    }
    said: list[str] = []
    found = evaluate(tuple(KNOWN), users_held_out, evaluators, ease_regularization=3.0, world=World(), say=said.append)
    assert list(found) == list(KNOWN)
    ease = baseline("ease")(users_held_out, regularization=3.0)
    ease.solve()
    assert found["ease"]["test"].metrics == evaluators["test"].evaluate(ease).metrics
    assert all(set(splits) == {"valid", "test"} for splits in found.values())


def test_the_help_of_training_lists_all() -> None:
    assert f"Besides popularity: {', '.join(PERSONAL)}." in inspect.getsource(EvaluationConfig)


def test_unknown_names_list_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="^unknown baseline 'svd', known are: popularity, ease, edlae, ials, bpr, itemknn$"
    ):
        check_names(["ease", "svd"])


@pytest.mark.parametrize("name", ["bpr", "itemknn"])
def test_a_missing_library_is_told_with_its_command(
    name: str, users_held_out: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("implicit", "implicit.bpr", "implicit.nearest_neighbours"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError, match=f'^{name} needs the library implicit .*install it with: pip install "implicit'):
        fitted(name, users_held_out)


def test_a_library_that_is_not_there_is_told_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recsys_core.baselines.find_spec", lambda name: None)
    check_installed(["ease", "edlae", "ials"])
    with pytest.raises(
        ValueError, match=r'^bpr needs the library implicit, .*install it with: pip install "implicit=='
    ):
        check_installed(["ials", "bpr"])
