"""The joint model: its scores are the sum of its parts', in every form, and it trains, resumes and exports."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import recsys_core
from recsys_core import Trainer
from recsys_core.baselines.edlae import Edlae
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.input.batches import Histories
from recsys_core.world import World
from vaecf.joint import JointVae
from vaecf.recvae import RecVae

SMALL = {"hidden": (6, 6), "latent": 3, "encoder_epochs": 1}
PADDING = 11
HISTORIES = [[0, 4, 7], [2], [10, 3, 1, 5]]
SPLITS = [0, 3, 4, 8]


def model(**settings: Any) -> JointVae:
    made = JointVae(Dataset.empty(1, PADDING), **{**SMALL, "linear_weight": 2.5} | settings)
    for k, variable in enumerate(made.parameters):
        variable.assign(np.random.default_rng(k).normal(0, 0.4, variable.shape).astype(np.float32))
    return made


def scores(made: Any) -> np.ndarray:
    flat, splits = tf.constant([item for row in HISTORIES for item in row], tf.int32), tf.constant(SPLITS, tf.int64)
    return made.scores(Histories(flat, splits, splits[1:])).numpy()


def test_scores_are_those_of_the_vae_and_of_the_linear_model() -> None:
    made = model()
    weights = made.linear.weights.numpy()
    of_linear = np.stack([weights[row].sum(axis=0) for row in HISTORIES])
    of_vae = scores(model_of_same_vae(made))
    assert scores(made) == pytest.approx(of_vae + 2.5 * of_linear, abs=1e-5)


def model_of_same_vae(made: JointVae) -> JointVae:
    other = model(linear_weight=0.0)
    for a, b in zip(other.parameters, made.parameters, strict=True):
        a.assign(b)
    return other


def test_all_forms_of_scores_agree() -> None:
    made, expected = model(), scores(model())
    padded = tf.constant([row + [PADDING] * (5 - len(row)) for row in HISTORIES], tf.int32)
    compiled = tf.function(made.compiled_scores, jit_compile=True)
    assert made.padded_scores(padded).numpy() == pytest.approx(expected, abs=1e-5)
    assert compiled(padded).numpy() == pytest.approx(expected, abs=1e-5)


def test_it_is_trained_with_edlae_in_it(tiny_data: Path, tmp_path: Path) -> None:
    data = Dataset.open(tiny_data)
    edlae = Edlae(data, regularization=300.0, dropout=0.5, user_weighting=0.5)
    edlae.solve()
    made = JointVae(data, **SMALL)
    run = Trainer(tmp_path / "run", epochs=2, evaluate_every=2, average=0.8, gate=("ndcg@100>=0",)).fit(made, data)
    assert (made.linear.weights.numpy() == edlae.weights.numpy()).all()  # not trained, not averaged
    made.save(tmp_path / "model")
    loaded = recsys_core.load(tmp_path / "model", data)
    user = data.users.loc[data.users["split"] == "test", "user_id"].iloc[0]
    assert loaded.recommend([user], k=5).equals(made.recommend([user], k=5))
    assert run.passed and (tmp_path / "run" / "export").is_dir()  # verified as it was written


def test_more_items_than_the_memory_takes() -> None:
    """Four million items squared are 58 TiB, which no machine has free."""
    with pytest.raises(
        UserError, match=r"^the preset joint needs 59604.6 GiB for 4,000,000 items, .* GiB are free; use "
    ):
        JointVae(Dataset.empty(1, 4_000_000), hidden=(1,), latent=1)


@pytest.mark.parametrize("kind", [RecVae, JointVae])
def test_the_compiled_evaluation_is_that_of_blocks(kind: type[RecVae], tiny_data: Path) -> None:
    data = Dataset.open(tiny_data)
    made = kind(data, **SMALL)
    for k, variable in enumerate(made.parameters):
        variable.assign(np.random.default_rng(k).normal(0, 0.2, variable.shape).astype(np.float32))
    metrics = [parse_metric("ndcg@20"), parse_metric("recall@5")]
    found = [
        Evaluator(data.held_out("test"), metrics, world=World(), n_items=data.n_items, device_bytes=of).per_user(made)
        for of in (0.0, 1e7)
    ]
    for name, values in found[0].items():
        assert found[1][name] == pytest.approx(values, nan_ok=True, abs=1e-12)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"linear_weight": -1.0}, "--linear-weight is -1.0, expected 0 or more"),
        ({"linear_regularization": 0.0}, "--linear-regularization is 0.0, expected more than 0"),
        ({"linear_dropout": 1.0}, "--linear-dropout is 1.0, expected a share from 0 to below 1"),
        ({"hidden": (6, 5)}, "--hidden is (6, 5), expected equal widths"),
    ],
)
def test_settings_that_cannot_be_used(setting: dict, message: str) -> None:
    with pytest.raises(UserError, match="^" + re.escape(message)):
        model(**setting)
