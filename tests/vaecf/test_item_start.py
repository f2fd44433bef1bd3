"""Item matrices that start from EASE: the factors, what kernels take of them, and when they are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from recsys_core import Trainer
from recsys_core.baselines import gram
from recsys_core.baselines.ease import ease_weights
from recsys_core.config import EvaluationConfig, TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.training.identity import check_same
from vaecf.item_start import AUTO_ITEMS, assign, factors
from vaecf.joint import JointVae
from vaecf.model import MultVae
from vaecf.recvae import RecVae
from vaecf.run_config import EARLIER
from vaecf.vamp import VampVae

ITEMS, RANK = 40, 6
SMALL = {"hidden": (12,), "latent": 5, "seed": 3}


def weights(seed: int = 0) -> np.ndarray:
    """[I, I] whose singular values fall as those of real weights do."""
    rng = np.random.default_rng(seed)
    left, right = (np.linalg.qr(rng.standard_normal((ITEMS, ITEMS)))[0] for _ in range(2))
    return ((left * 0.8 ** np.arange(ITEMS)) @ right).astype(np.float32)


def test_the_factors_are_those_of_the_whole_decomposition() -> None:
    of = weights()
    left, right = factors(of, RANK, seed=1)
    u, s, v = np.linalg.svd(of.astype(np.float64))
    assert left.shape == (ITEMS, RANK) and right.shape == (RANK, ITEMS)
    assert left @ right == pytest.approx((u[:, :RANK] * s[:RANK]) @ v[:RANK], abs=1e-4)
    assert np.linalg.norm(left, axis=0) == pytest.approx(np.sqrt(s[:RANK]), rel=1e-3)
    assert np.linalg.norm(right, axis=1) == pytest.approx(np.sqrt(s[:RANK]), rel=1e-3)
    assert (left[np.abs(left).argmax(axis=0), np.arange(RANK)] > 0).all()
    other = factors(of, RANK, seed=2)
    assert other[0] == pytest.approx(left, abs=1e-3), "whatever was drawn"


def test_all_factors_give_the_weights_back() -> None:
    left, right = factors(weights(), ITEMS, seed=0)
    assert left @ right == pytest.approx(weights(), abs=1e-5)


def test_a_kernel_takes_directions_and_keeps_its_spread() -> None:
    rng = np.random.default_rng(5)
    first = tf.Variable(rng.normal(0, 0.05, (ITEMS, ITEMS + 9)).astype(np.float32))
    last = tf.Variable(rng.normal(0, 0.2, (RANK, ITEMS)).astype(np.float32))
    before = first.numpy()
    assign(weights(), first, last, seed=1)
    left, right = factors(weights(), ITEMS, seed=1)
    assert first.numpy()[:, :ITEMS].std() == pytest.approx(before.std(), rel=1e-5)
    assert last.numpy().std() == pytest.approx(0.2, rel=0.1)
    for found, expected in ((first.numpy()[:, :ITEMS], left), (last.numpy(), right[:RANK])):
        assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] == pytest.approx(1.0, abs=1e-5)
    assert (first.numpy()[:, ITEMS:] == before[:, ITEMS:]).all(), "units that no factor is there for"


def test_items_without_any_weight_keep_random_values() -> None:
    first, last = tf.Variable(tf.ones([3, 2])), tf.Variable(tf.ones([2, 3]))
    assign(np.zeros((3, 3), np.float32), first, last, seed=0)
    assert (first.numpy() == 1).all() and (last.numpy() == 1).all()


@pytest.fixture(scope="module")
def data(tiny_data: Path) -> Dataset:
    return Dataset.open(tiny_data)


class Start:
    """What `initialise` asks of a trainer."""

    def __init__(self, warm_start: str = "") -> None:
        from recsys_core.world import World

        self.world, self.warm_start, self.said = World(), warm_start, []

    def announce(self, text: str) -> None:
        self.said.append(text)


@pytest.mark.parametrize("kind", [MultVae, RecVae, JointVae])
def test_the_model_starts_from_the_weights_of_ease(kind: Any, data: Dataset) -> None:
    model, fresh = kind(data, **SMALL, items_from="ease"), kind(data, **SMALL)
    trainer = Start()
    assert model.initialise(trainer)
    assert trainer.said[-1] == f"computing the item matrices to start from, of {data.n_items} items ..."
    left, right = factors(ease_weights(data.train, 500.0), 12, seed=3)
    first, last = model.first[0].numpy(), model.last[0].numpy()
    assert first.ravel() @ left.ravel() == pytest.approx(np.linalg.norm(first) * np.linalg.norm(left), rel=1e-3)
    right = right[: len(last)]
    assert last.ravel() @ right.ravel() == pytest.approx(np.linalg.norm(last) * np.linalg.norm(right), rel=1e-3)
    assert first.std() == pytest.approx(fresh.first[0].numpy().std(), rel=1e-5)
    if kind is not MultVae:
        for earlier, now in zip(model.earlier.all, model.encoder.all, strict=True):
            assert (earlier.numpy() == now.numpy()).all(), "the prior starts with the same encoder"


def test_a_gated_model_takes_them_too(data: Dataset) -> None:
    model = VampVae(data, hidden=4, latent=3, pseudo_inputs=5, items_from="ease")
    before = model.first[0].numpy()
    assert model.initialise(Start()) and (model.first[0].numpy() != before).all()


def test_a_warm_start_is_left_as_it_is(data: Dataset) -> None:
    model = RecVae(data, **SMALL, items_from="ease")
    before, trainer = model.first[0].numpy(), Start(warm_start="runs/february")
    assert model.initialise(trainer)
    assert (model.first[0].numpy() == before).all() and not trainer.said


def test_a_training_learns_faster_from_there(data: Dataset, tmp_path: Path) -> None:
    found = {}
    for start in ("random", "ease"):
        trainer = Trainer(tmp_path / start, epochs=4, evaluate_every=4, gate=("ndcg@100>=2",))
        content = trainer.fit(RecVae(data, **SMALL, items_from=start), data).content
        assert content is not None
        found[start] = content["validation"]["metrics"]["ndcg@100"]["mean"]
    assert found["ease"] > found["random"]


def test_auto_is_ease_up_to_a_number_of_items(data: Dataset) -> None:
    assert RecVae(data).resolved_settings["start"].items_from == "ease", "the preset recvae"
    assert MultVae(data).resolved_settings["start"].items_from == "random", "the preset paper"
    many = RecVae(Dataset.empty(1, AUTO_ITEMS + 1), hidden=(1,), latent=1)
    assert many.resolved_settings["start"].items_from == "random"


def test_what_cannot_be_used(data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="unknown --items-from 'svd', known are: random, ease, auto"):
        RecVae(data, items_from="svd")
    monkeypatch.setattr(gram, "solve_bytes", lambda train: 1 << 60)
    given = TrainingConfig(batch_size=100), EvaluationConfig(), 1
    with pytest.raises(UserError, match="--items-from ease needs .* GiB for 300 items, .*; use --items-from random"):
        RecVae(data, **SMALL, items_from="ease").check_training(*given)
    RecVae(data, **SMALL, items_from="random").check_training(*given)


def test_a_run_of_an_earlier_version_started_from_random_numbers(tmp_path: Path) -> None:
    then = {"format_version": 2, "identity": {"seed": 1, "first_layer": {"embedding_gradients": "dense"}}}
    options: dict[str, Any] = {"renamed": {}, "earlier": EARLIER}
    now = {**then["identity"], "start": {"items_from": "ease"}}  # type: ignore[dict-item]
    with pytest.raises(
        UserError, match="--resume: start is {'items_from': 'ease'}, the run in .* has {'items_from': 'random'}"
    ):
        check_same(then, now, tmp_path, **options)
    check_same(then, {**now, "start": {"items_from": "random"}}, tmp_path, **options)
