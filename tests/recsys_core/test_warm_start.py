"""Warm starts: items and users matched by id, the rest as in a fresh model, and refusals in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from ncf_tf import NeuMf
from ncf_tf.config import SPEC
from recsys_core import Dataset, Recommender, Trainer, flags, warm_start
from recsys_core.axes import ITEMS, Axes
from recsys_core.config import plain
from recsys_core.errors import UserError
from recsys_core.evaluation.baselines import Popularity
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.id_places import places
from recsys_core.run_manifest import RunManifest
from recsys_core.training.checkpoints import Checkpoints
from recsys_core.world import World
from tests.models import histories
from vaecf import MultVae
from vaecf.joint import JointVae
from vaecf.recvae import RecVae
from vaecf.vamp import VampVae

SMALL: dict[str, Any] = {"hidden": (6,), "latent": 3}
NEUMF: dict[str, Any] = {"factors": 2, "layers": (8, 4), "biases": True}
SETTINGS: dict[str, Any] = {"epochs": 2, "evaluate_every": 1, "batch_size": 16, "gate": ("ndcg@100:2",)}
"""The gate is missed, so that nothing is exported, which takes longer than all else."""
TEXT = [f"sku-{k:02d}" for k in range(24)]
TEN_DIGITS = [9_000_000_000 + 7 * k for k in range(24)]


def rows(item_ids: list[Any], users: int = 40, first: int = 0) -> pd.DataFrame:
    """Users with 8 items each; `first` is the number of the first user."""
    rng = np.random.default_rng(3)
    chosen = [rng.choice(len(item_ids), 8, replace=False) for _ in range(users)]
    pairs = [(first + u, item_ids[i], t) for u, own in enumerate(chosen) for t, i in enumerate(own)]
    return pd.DataFrame(pairs, columns=["user", "item", "time"])


def data_of(item_ids: list[Any], protocol: str = "users", **more: Any) -> Dataset:
    rules = {"held_out": 4} if protocol == "users" else {"negatives": 3}
    return Dataset.from_frame(rows(item_ids, **more), time="time").split(protocol, **rules)


def renamed(data: Dataset, columns: list[int], item_ids: list[Any]) -> Dataset:
    """A data set whose columns are some of another one's, in another order, then new ones."""
    matrix = data.train.to_scipy()[:, columns]
    extra = np.zeros((data.n_users, len(item_ids) - len(columns)), np.float32)
    extra[:3] = 1
    return Dataset.from_csr(np.hstack([matrix.toarray(), extra]), item_ids=item_ids)


def stored(folder: Path, model: Recommender) -> Recommender:
    """Write a run whose best checkpoint has the parameters of the model, without training one."""
    folder.mkdir(parents=True)
    config = {"preset": model.preset, **{name: plain(value) for name, value in model.settings.items()}}
    RunManifest(
        family=model.family,
        config=config,
        data=None,
        fingerprint=model.data.fingerprint,
        view="",
        environment={},
        model=type(model).__name__,
    ).write(folder)
    checkpoints = Checkpoints(folder / "checkpoints", keep=1, world=World(), model=model)
    checkpoints.save(3, {})
    checkpoints.mark_best(3, 0.5)
    warm_start.write_ids(folder / "checkpoints", model.data)
    return model


def older(name: str) -> Recommender:
    """The model of a stored run."""
    if name == "ncf":
        return NeuMf(data_of(TEXT, "leave-one-out"), seed=1, **NEUMF)
    return MultVae(data_of(TEXT if name == "text" else TEN_DIGITS), seed=1, **SMALL)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of VAE-CF on text and on ten-digit ids, and of NCF."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("text", "digits", "ncf"):
        stored(folder / name, older(name))
    return folder


@pytest.mark.parametrize(("name", "ids", "new"), [
    ("text", TEXT, ["a new one", "another"]),
    ("digits", TEN_DIGITS, [9_000_000_001, 12]),
])  # fmt: skip
def test_matched_items_keep_their_parameters_and_scores(name: str, ids: list[Any], new: list[Any], runs: Path) -> None:
    old = older(name)
    data = old.data
    assert data.items["item_id"].tolist() == ids
    columns = [5, 3, 20, 0, 11, 7]  # the others are gone
    newer = renamed(data, columns, [*[ids[c] for c in columns], *new])
    model, fresh = MultVae(newer, seed=9, **SMALL), MultVae(newer, seed=9, **SMALL)
    found = warm_start.start(model, runs / name, World())
    assert str(found.items) == "6 matched, 2 new, 18 gone"
    (first, last), (theirs, bias) = (model.first, model.last), old.last
    assert np.array_equal(first[0].numpy()[:6], old.first[0].numpy()[columns])
    assert np.array_equal(first[0].numpy()[6:], fresh.first[0].numpy()[6:])
    assert np.array_equal(last[0].numpy()[:, :6], theirs.numpy()[:, columns])
    assert np.array_equal(last[0].numpy()[:, 6:], fresh.last[0].numpy()[:, 6:])
    assert np.array_equal(last[1].numpy()[:6], bias.numpy()[columns])
    for ours, kept in zip((first[1], *model.encoder[1], *model.decoder[0]), (old.first[1], *old.encoder[1], *old.decoder[0]), strict=True):  # fmt: skip # noqa: E501
        assert np.array_equal(ours.numpy(), kept.numpy())
    scores = model.scores(histories([[2, 0], [5]])).numpy()[:, :6]
    assert scores == pytest.approx(old.scores(histories([[20, 5], [7]])).numpy()[:, columns], rel=1e-6, abs=1e-7)


def test_a_new_item_has_the_bias_of_matched_ones_with_as_many_interactions() -> None:
    value = np.array([1.0, 3.0, 0.0, 0.0], np.float32)
    is_matched = np.array([True, True, False, False])
    counts = np.array([np.e - 1, np.e**2 - 1, np.e**3 - 1, 0])  # 1, 2, 3 and 0 after log(1 + count)
    warm_start._set_levels(value, is_matched, counts, 0)
    assert value == pytest.approx([1.0, 3.0, 5.0, -1.0])


def test_users_and_items_of_ncf(runs: Path) -> None:
    old = older("ncf")
    newer = data_of(["a new one", *TEXT], "leave-one-out", users=30, first=20)  # 20 to 39 are matched, 40 to 49 new
    model = NeuMf(newer, seed=5, **NEUMF)
    fresh = NeuMf(newer, seed=5, **NEUMF)
    found = warm_start.start(model, runs / "ncf", World())
    assert found.users is not None
    assert (str(found.items), str(found.users)) == ("24 matched, 1 new, 0 gone", "20 matched, 10 new, 20 gone")
    assert model.gmf is not None and old.gmf is not None and fresh.gmf is not None
    assert np.array_equal(model.gmf.users.numpy()[:20], old.gmf.users.numpy()[20:])
    assert np.array_equal(model.gmf.users.numpy()[20:], fresh.gmf.users.numpy()[20:])
    items = tf.constant([[1, 5, 24]] * 2)
    ours = model.pair_scores(tf.constant([0, 19]), items)
    assert ours.numpy() == pytest.approx(old.pair_scores(tf.constant([20, 39]), items - 1).numpy(), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize(("kind", "settings", "parameter"), [
    (RecVae, {"hidden": (4, 4), "latent": 2}, lambda m: m.earlier.layers[0][0]),
    (VampVae, {"hidden": 4, "latent": 2, "pseudo_inputs": 3}, lambda m: tf.transpose(m.pseudo)),
    (JointVae, {"hidden": (4, 4), "latent": 2}, lambda m: m.linear.weights),
])  # fmt: skip
def test_every_parameter_of_items_of_the_other_models(kind: Any, settings: Any, parameter: Any, tmp_path: Path) -> None:
    data = data_of(TEXT)
    old = kind(data, seed=1, **settings)
    if kind is JointVae:
        old.linear.weights.assign(np.arange(24 * 24, dtype=np.float32).reshape(24, 24))
    stored(tmp_path / "a", old)
    columns = list(reversed(range(24)))
    model = kind(renamed(data, columns, [*TEXT[::-1], "new"]), seed=4, **settings)
    warm_start.start(model, tmp_path / "a", World())
    value, expected = np.array(parameter(model))[:24], np.array(parameter(old))[columns]
    if kind is JointVae:
        value, expected = value[:, :24], expected[:, columns]
    assert np.array_equal(value, expected)
    found = model.scores(histories([[20, 3]])).numpy()[:, :24]
    assert found == pytest.approx(old.scores(histories([[3, 20]])).numpy()[:, columns], rel=1e-5, abs=1e-5)


def test_a_run_starts_anew_but_for_its_parameters(runs: Path, tmp_path: Path) -> None:
    """Its first evaluation is the older model's; optimizer, schedules and steps begin at 0; its manifest says so."""
    data = data_of(TEXT)
    model, settings = MultVae(data, **SMALL), SETTINGS | {"evaluate_every": 2, "average": 1.0}
    result = Trainer(tmp_path / "b", warm_start=runs / "text", **settings).fit(model, data)
    before, after = result.content["history"]  # type: ignore[index]
    assert (before["step"], before["epoch"], before["loss"], after["epoch"]) == (0, 0, None, 2)
    metric = Evaluator(data.held_out("valid"), [parse_metric("ndcg@100")], world=World(), n_items=24, block_size=8)
    expected = metric.evaluate(older("text")).metrics["ndcg@100"].mean
    assert before["validation"]["ndcg@100"] == pytest.approx(expected)
    started = json.loads((tmp_path / "b" / "run.json").read_text())["started_from"]
    assert started["run"] == str(runs / "text")
    assert (started["step"], started["items"]) == (3, {"matched": 24, "new": 0, "gone": 0})
    reader = tf.train.load_checkpoint(str(tmp_path / "b" / "checkpoints" / "step-00000000" / "variables"))
    moments = [n for n in reader.get_variable_to_shape_map() if n.startswith(("optimizer/first", "optimizer/second"))]
    assert moments and all(not np.any(reader.get_tensor(name)) for name in moments)
    after_two = tf.train.load_checkpoint(str(tmp_path / "b" / "checkpoints" / "step-00000004" / "variables"))
    counted = next(n for n in after_two.get_variable_to_shape_map() if n.startswith("averages/count"))
    assert after_two.get_tensor(counted) == 1  # the older model is no part of the mean
    again = Trainer(tmp_path / "b", warm_start=runs / "text", **settings)
    assert again.fit(MultVae(data, **SMALL), data, resume=True).complete
    assert json.loads((tmp_path / "b" / "run.json").read_text())["started_from"] == started


def test_it_says_how_many_are_matched_and_what_the_metrics_are_worth(runs: Path) -> None:
    data = data_of([*TEXT, "z"], users=50)
    found = warm_start.start(MultVae(data, **SMALL), runs / "text", World())
    assert str(found) == f"warm start from {runs / 'text'}, step 3: items: 24 matched, 1 new, 0 gone"
    trained = set(data_of(TEXT).users.query("split == 'train'")["user_id"])
    held_out = set(data.users.query("split != 'train'")["user_id"])
    assert f"the older model was trained on {len(trained & held_out)} of the users held out here" in found.note


@pytest.mark.parametrize(("old", "new", "expected"), [
    (["b", "a"], ["a", "c", "b"], [1, -1, 0]),
    ([3, 1], [1, 2, 3], [1, -1, 0]),
    ([3.0, 1.0], [1, 2, 3], [1, -1, 0]),
    ([2**62, 2**62 + 1], [2**62 + 1], [1]),
    ([1193, 7], ["7", "0007", "1193"], [1, -1, 0]),
    ([True, False], [False], [1]),
])  # fmt: skip
def test_places_of_ids_of_any_type(old: list[Any], new: list[Any], expected: list[int]) -> None:
    assert places(pd.Series(old), pd.Series(new)).tolist() == expected


@pytest.mark.parametrize(("name", "make", "message"), [
    ("nothing", lambda d: MultVae(d, **SMALL), r"--warm-start .*nothing does not exist"),
    ("", lambda d: MultVae(d, **SMALL), r"--warm-start: .* holds no run"),
    ("ncf", lambda d: MultVae(d, **SMALL), r"--warm-start .*ncf holds a run of ncf_tf"),
    ("text", lambda d: RecVae(d), r"text is a run of MultVae, this is RecVae"),
    ("text", lambda d: MultVae(d, hidden=(6,), latent=4, dropout=0.1),
     r"the model of .*text has another shape: latent is 4, there 3$"),
    ("text", lambda d: MultVae(d, preset="shallow"),
     r"another shape: kind is 'dae', there 'vae'; hidden is \[\], there \[6\]; latent is 200, there 3$"),
    ("digits", lambda d: MultVae(d, **SMALL),
     r"none of the 24 items of .*digits \(as 9000000000\) is in the data set in memory \(as 'sku-00'\)"),
    ("text", lambda d: Popularity(d), r"is for models that are trained by steps; Popularity has a closed form"),
])  # fmt: skip
def test_refusals(name: str, make: Any, message: str, runs: Path, tmp_path: Path) -> None:
    data = data_of(TEXT)
    with pytest.raises(UserError, match=message) as caught:
        Trainer(tmp_path / "b", warm_start=runs / name, **SETTINGS).fit(make(data), data)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "b").exists()


def test_pretraining_and_an_older_run(runs: Path, tmp_path: Path) -> None:
    data = data_of(TEXT, "leave-one-out")
    with pytest.raises(UserError, match="warm_start and pretrain both give the initial parameters"):
        Trainer(tmp_path / "b", warm_start=runs / "ncf").fit(NeuMf(data, pretrain=True, **NEUMF), data)
    words = ["--data", "d", "--run-dir", "r", "--pretrain", "--warm-start", "a"]
    with pytest.raises(ValueError, match="--warm-start and --pretrain both give the initial parameters"):
        flags.parse(SPEC, words)


def test_a_run_without_a_best_checkpoint(runs: Path, tmp_path: Path) -> None:
    shutil.copytree(runs / "text", tmp_path / "a")
    (tmp_path / "a" / "checkpoints" / "best.json").unlink()
    with pytest.raises(UserError, match="has no best checkpoint: the run was stopped before its first evaluation"):
        warm_start.start(MultVae(data_of(TEXT), **SMALL), tmp_path / "a", World())


def test_a_run_of_an_earlier_version_has_its_ids_in_its_data_set_or_export(tiny_data: Path, tmp_path: Path) -> None:
    data = Dataset.open(tiny_data)
    stored(tmp_path / "a", MultVae(data, **SMALL))
    for name in ("items", "users"):
        (tmp_path / "a" / "checkpoints" / f"{name}.parquet").unlink()
    manifest = json.loads((tmp_path / "a" / "run.json").read_text())
    for folder, expected in ((tiny_data, data.n_users), (tmp_path / "moved", 0)):
        manifest["data"]["folder"] = str(folder)
        (tmp_path / "a" / "run.json").write_text(json.dumps(manifest))
        if not expected:
            with pytest.raises(UserError, match=r"the ids of the items of .* are not known.* \(.*moved\) is not there"):
                warm_start.start(MultVae(data, **SMALL), tmp_path / "a", World())
            (tmp_path / "a" / "export").mkdir()
            data.items.to_parquet(tmp_path / "a" / "export" / "items.parquet")
        assert warm_start.start(MultVae(data, **SMALL), tmp_path / "a", World()).items.matched == data.n_items


class Undeclared(Recommender):
    """A weight of each item, and one number."""

    def __init__(self, data: Dataset, **options: Any) -> None:
        super().__init__(data, **options)
        self.weights, self.level = tf.Variable(tf.zeros([self.n_items])), tf.Variable(0.5)


class Declared(Undeclared):
    @property
    def axes(self) -> list[Axes]:
        return [Axes(self.weights, (ITEMS,))]


class NoneOfItems(Undeclared):
    """Without a parameter of each item."""

    def __init__(self, data: Dataset, **options: Any) -> None:
        super().__init__(data, **options)
        self.weights = tf.Variable(tf.zeros([1]))


@pytest.mark.parametrize(("kind", "ids", "refusal"), [
    (Undeclared, TEXT, ""),
    (Undeclared, TEXT[::-1], "does not say which axes of its parameters are items or users, and these are others here"),
    (Undeclared, TEXT[:20], "and .* has other numbers of them; declare them by `axes`"),
    (Declared, TEXT[:20], ""),
    (NoneOfItems, TEXT[:20], ""),
])  # fmt: skip
def test_a_model_of_ones_own(kind: Any, ids: list[str], refusal: str, tmp_path: Path) -> None:
    data = data_of(TEXT)
    old = kind(data)
    old.weights.assign(tf.range(old.weights.shape[0], dtype=tf.float32))
    old.level.assign(0.25)
    stored(tmp_path / "a", old)
    model = kind(Dataset.from_csr(np.ones((2, len(ids)), np.float32), item_ids=ids))
    if refusal:
        with pytest.raises(UserError, match=refusal):
            warm_start.start(model, tmp_path / "a", World())
        return
    warm_start.start(model, tmp_path / "a", World())
    assert model.level.numpy() == 0.25
    assert np.array_equal(model.weights.numpy(), old.weights.numpy()[: model.weights.shape[0]])
