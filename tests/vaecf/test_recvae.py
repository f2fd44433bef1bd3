"""RecVAE against independent computations in NumPy and SciPy, and the turns of its training."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, logsumexp
from scipy.stats import norm

from recsys_core import Trainer
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.input import noise
from recsys_core.input.batches import Batch, Histories
from recsys_core.seeding import key64
from recsys_core.training.callbacks import Callback
from recsys_core.training.state import TrainState
from tests.same_runs import assert_same_parameters
from vaecf.recvae import Encoder, RecVae

ITEMS, LATENT = 17, 3
SMALL = {"hidden": (6, 6, 6), "latent": LATENT}
NO_EXPORT = {"gate": ("ndcg@100>=1",)}


def model(**settings: object) -> RecVae:
    made = RecVae(Dataset.empty(1, ITEMS), **{**SMALL, **settings})
    for k, variable in enumerate(made.parameters):  # norms too
        variable.assign(np.random.default_rng(k).normal(0, 0.4, variable.shape).astype(np.float32))
    made._keep_encoder()
    return made


def users() -> tuple[np.ndarray, tf.Tensor, tf.Tensor]:
    dense = (np.random.default_rng(5).random((4, ITEMS)) < 0.3).astype(np.float64)
    splits = np.concatenate([[0], np.cumsum(dense.sum(axis=1))]).astype(np.int64)
    return dense, tf.constant(np.nonzero(dense)[1], tf.int32), tf.constant(splits)


def encoded(encoder: Encoder, dense: np.ndarray, *, is_dense: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Mean and log-variance by the equations of the paper's program: every layer adds the outputs of all before it."""
    x, before = dense / np.sqrt(dense.sum(axis=1, keepdims=True)), []
    for (kernel, bias), (scale, offset) in zip(encoder.layers, encoder.norms, strict=True):
        x = x @ kernel.numpy() + bias.numpy() + (sum(before) if is_dense and before else 0)
        x = x * expit(x)
        x = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 0.1)
        x = x * scale.numpy() + offset.numpy()
        before.append(x)
    code = x @ encoder.code[0].numpy() + encoder.code[1].numpy()
    return code[:, :LATENT], code[:, LATENT:]


@pytest.mark.parametrize("is_dense", [True, False])
def test_scores_equal_the_dense_forward_pass(is_dense: bool) -> None:
    made = model(dense_encoder=is_dense)
    dense, item_ids, splits = users()
    mean, _ = encoded(made.encoder, dense, is_dense=is_dense)
    expected = mean @ made.decoder[0].numpy() + made.decoder[1].numpy()
    assert made.scores(Histories(item_ids, splits, splits[1:])).numpy() == pytest.approx(expected, abs=1e-5)


def batch(item_ids: tf.Tensor, splits: tf.Tensor) -> Batch:
    return Batch(tf.range(4, dtype=tf.int64), item_ids, splits, tf.constant(7, tf.int64), tf.constant(4.0))


def test_the_loss_is_that_of_the_paper() -> None:
    """Of the decoder's turn, which has no dropout: the codes are drawn, so the draws are taken as they are."""
    made = model(gamma=0.03)
    for k, variable in enumerate(made.earlier.all):
        variable.assign(variable + 0.1 * np.sin(np.arange(np.prod(variable.shape)) + k).reshape(variable.shape))
    dense, item_ids, splits = users()
    mean, log_variance = encoded(made.encoder, dense)
    draws = noise.normal(key64(0, "code"), tf.constant(7, tf.int64), tf.range(4, dtype=tf.int64), LATENT).numpy()
    code = mean + draws * np.exp(log_variance / 2)
    old_mean, old_log_variance = encoded(made.earlier, dense)
    prior = logsumexp(
        [
            np.log(0.15) + norm.logpdf(code),
            np.log(0.75) + norm.logpdf(code, old_mean, np.exp(old_log_variance / 2)),
            np.log(0.10) + norm.logpdf(code, 0, np.exp(5.0)),
        ],
        axis=0,
    )
    divergence = (norm.logpdf(code, mean, np.exp(log_variance / 2)) - prior).sum(axis=1)
    logits = code @ made.decoder[0].numpy() + made.decoder[1].numpy()
    nll = -(dense * (logits - logsumexp(logits, axis=1, keepdims=True))).sum(axis=1)
    terms = made.phases[1].loss(batch(item_ids, splits), tf.constant(0.5))
    assert float(terms["nll"]) == pytest.approx(nll.mean(), rel=1e-5)
    assert float(terms["kl"]) == pytest.approx(divergence.mean(), rel=1e-4)
    assert float(terms["loss"]) == pytest.approx((nll + 0.03 * dense.sum(axis=1) * divergence).mean(), rel=1e-5)


def test_a_kl_term_of_one_weight_for_all_and_a_standard_prior() -> None:
    made = model(gamma=0.0, anneal_cap=0.4, prior="standard")
    dense, item_ids, splits = users()
    mean, log_variance = encoded(made.encoder, dense)
    kl = 0.5 * (np.exp(log_variance) + mean**2 - 1 - log_variance).sum(axis=1)
    terms = made.phases[1].loss(batch(item_ids, splits), tf.constant(0.25))
    assert float(terms["kl"]) == pytest.approx(kl.mean(), rel=1e-4)
    assert float(terms["loss"] - terms["nll"]) == pytest.approx(0.1 * kl.mean(), rel=1e-3)


class Watch(Callback):
    """The parameters, and the encoder of the prior, at the end of each epoch."""

    def __init__(self, watched: RecVae) -> None:
        self.watched, self.seen = watched, [self._now(watched)]

    @staticmethod
    def _now(of: RecVae) -> list[np.ndarray]:
        return [np.concatenate([v.numpy().ravel() for v in p]) for p in (of.encoder.all, of.decoder, of.earlier.all)]

    def on_evaluation_start(self, state: object) -> None:
        self.seen.append(self._now(self.watched))


def test_encoder_and_decoder_take_turns(tiny_data: Path, tmp_path: Path) -> None:
    data = Dataset.open(tiny_data)
    made = RecVae(data, **SMALL, encoder_epochs=2, items_from="random")
    watch = Watch(made)
    Trainer(tmp_path / "run", epochs=6, evaluate_every=1, callbacks=[watch], **NO_EXPORT).fit(made, data)
    changed = [
        tuple((a != b).any() for a, b in zip(x, y, strict=True))
        for x, y in zip(watch.seen, watch.seen[1:], strict=False)
    ]
    encoder, decoder = (True, False, False), (False, True, True)  # the prior's encoder is renewed as the decoder begins
    assert changed == [encoder, encoder, decoder, encoder, encoder, decoder]
    assert (watch.seen[3][2] == watch.seen[2][0]).all() and (watch.seen[6][2] == watch.seen[5][0]).all()


def test_without_turns_all_is_trained_together(tiny_data: Path, tmp_path: Path) -> None:
    data = Dataset.open(tiny_data)
    made = RecVae(data, **SMALL, encoder_epochs=0)
    watch = Watch(made)
    Trainer(tmp_path / "run", epochs=2, evaluate_every=1, callbacks=[watch], **NO_EXPORT).fit(made, data)
    assert all((a != b).any() for a, b in zip(watch.seen[0][:2], watch.seen[1][:2], strict=True))
    assert (watch.seen[2][2] == watch.seen[1][0]).all()  # as the second epoch began


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"hidden": (6, 5)}, "--hidden is (6, 5), expected equal widths with --dense-encoder"),
        ({"prior": "narrow"}, "unknown --prior 'narrow', known are: composite, standard"),
        ({"earlier_weight": 0.9}, "--standard-weight is 0.15 and --earlier-weight 0.9, expected two numbers above 0"),
        ({"dropout": 1.0}, "--dropout is 1.0, expected a share from 0 to below 1"),
        ({"gamma": -1.0}, "--gamma is -1.0"),
    ],
)
def test_settings_that_cannot_be_used(setting: dict, message: str) -> None:
    with pytest.raises(UserError, match="^" + re.escape(message)):
        RecVae(Dataset.empty(1, ITEMS), **{**SMALL, **setting})


class StopAfter(Callback):
    """Asks a trainer to stop after so many steps."""

    def __init__(self, steps: int) -> None:
        self.steps, self.trainer = steps, None

    def on_steps(self, state: TrainState, values: Mapping[str, float]) -> None:
        if state.step >= self.steps:
            self.trainer.stop.received = True


def test_a_resumed_run_equals_one_that_was_never_stopped(tiny_data: Path, tmp_path: Path) -> None:
    """Stopped where a turn of the decoder begins, and within one."""
    data = Dataset.open(tiny_data)
    settings = {"epochs": 3, "evaluate_every": 2, "batch_size": 216, "steps_per_call": 1, **NO_EXPORT}
    whole = RecVae(data, **SMALL, encoder_epochs=2)
    Trainer(tmp_path / "whole", **settings).fit(whole, data)
    per_epoch = whole.steps_per_epoch(Trainer(**settings).settings(whole).training)
    assert per_epoch > 1
    for steps in (2 * per_epoch, 2 * per_epoch + 1):
        run, stop = tmp_path / f"stopped-{steps}", StopAfter(steps)
        stop.trainer = Trainer(run, callbacks=[stop], **settings)
        assert not stop.trainer.fit(RecVae(data, **SMALL, encoder_epochs=2), data).complete
        resumed = RecVae(data, **SMALL, encoder_epochs=2)
        assert Trainer(run, **settings).fit(resumed, data, resume=True).complete
        assert_same_parameters(resumed, whole)
