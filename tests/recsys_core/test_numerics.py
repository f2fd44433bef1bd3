"""TF32 in the steps of a tf32 training only, never in scores; scores in float32 in every thread."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from examples.linear_autoencoder import LinearAutoencoder
from recsys_core import Dataset, Trainer, load, numerics
from recsys_core.errors import NonFiniteError
from recsys_core.input.batches import Batch, Histories
from recsys_core.model import float32_scores
from recsys_core.training import precision
from recsys_core.world import World
from vaecf import MultVae

pytestmark = pytest.mark.filterwarnings("ignore:batches of")  # few steps are what makes these trainings short

is_tf32 = tf.config.experimental.tensor_float_32_execution_enabled


@pytest.fixture(autouse=True)
def _as_tensorflow_starts() -> Iterator[None]:
    tf.config.experimental.enable_tensor_float_32_execution(True)
    yield
    numerics.use_float32_products()


@pytest.fixture(scope="module")
def data() -> Dataset:
    """90 users with 7 of 12 items of one of three groups."""
    rng = np.random.default_rng(0)
    rows = [(f"u{u}", f"i{3 * i + u % 3}") for u in range(90) for i in rng.choice(12, 7, replace=False)]
    return Dataset.from_frame(pd.DataFrame(rows, columns=["user", "item"])).split("users", held_out=12)


class Witness(LinearAutoencoder):
    """Notes whether TF32 is on when its graphs are traced and when they run."""

    def __init__(self, data: Dataset, **settings: Any) -> None:
        super().__init__(data, rank=8, **settings)
        self.cache["seen"] = []

    @property
    def seen(self) -> dict[str, set[bool]]:
        """ "loss", "scores" -> the values that were noted."""
        return {name: {value for n, value in self.cache["seen"] if n == name} for name, _ in self.cache["seen"]}

    def _noted(self, name: str, tensor: tf.Tensor) -> tf.Tensor:
        seen = self.cache["seen"]

        def note() -> np.bool_:
            seen.append((name, is_tf32()))
            return np.bool_(True)

        note()
        with tf.control_dependencies([tf.numpy_function(note, [], tf.bool)]):
            return tf.identity(tensor)

    def loss(self, batch: Batch, progress: tf.Tensor) -> Mapping[str, tf.Tensor]:
        return {name: self._noted("loss", value) for name, value in super().loss(batch, progress).items()}

    def scores(self, histories: Histories) -> tf.Tensor:
        return self._noted("scores", super().scores(histories))


@pytest.mark.parametrize("name", ["tf32", "fp32", "bf16"])
def test_tf32_is_on_in_the_steps_of_a_tf32_training_only(name: str, data: Dataset) -> None:
    """With evaluations between the steps, averaged parameters, the baselines, and the export."""
    model = Witness(data)
    run = Trainer(
        precision=name, epochs=2, batch_size=22, evaluate_every=1, average=1.0, gate=("ndcg@100>=0",),
        baselines=("ease",),
    ).fit(model, data)  # fmt: skip
    assert run.passed
    assert model.seen == {"loss": {name == "tf32"}, "scores": {False}}
    assert not is_tf32()


def test_tf32_is_off_after_steps_that_fail(data: Dataset) -> None:
    model = Witness(data)
    model.decoder.assign(np.full(model.decoder.shape, np.nan))
    with pytest.raises(NonFiniteError):
        Trainer(precision="tf32", epochs=1, batch_size=22).fit(model, data)
    assert model.seen["loss"] == {True}
    assert not is_tf32()
    with pytest.raises(KeyError), precision.named("tf32").in_steps():
        assert is_tf32()
        raise KeyError
    assert not is_tf32()


def test_choosing_a_precision_changes_no_setting() -> None:
    numerics.use_float32_products()
    assert precision.resolve("tf32", World()).tf32
    assert not is_tf32()


def test_models_rank_in_float32_without_a_trainer(data: Dataset, tmp_path: Path) -> None:
    model = Witness(data)
    assert not is_tf32()
    model.save(tmp_path / "model")
    tf.config.experimental.enable_tensor_float_32_execution(True)
    load(tmp_path / "model", data)
    assert not is_tf32()
    asks: list[Callable[[], Any]] = [lambda: model.recommend(["u0"]), lambda: model.similar_items("i1")]
    for ask in asks:
        tf.config.experimental.enable_tensor_float_32_execution(True)  # the user's own doing
        ask()
        assert not is_tf32()
    assert model.seen == {"scores": {False}}


class Slow(MultVae):
    """Its scores wait for each other in the middle, in the order that is set."""

    def __init__(self, data: Dataset, **settings: Any) -> None:
        super().__init__(data, **settings)
        self.cache["waits"] = {}

    @float32_scores
    def scores(self, histories: Histories) -> tf.Tensor:
        for event, wait in self.cache["waits"].get(threading.current_thread().name.split("_")[0], ()):
            (event.wait if wait else event.set)()
        assert self.compute == tf.float32
        return super().scores(histories)


def narrow(data: Dataset, kind: type[MultVae] = MultVae) -> MultVae:
    """A model as a training in bfloat16 leaves it."""
    model = kind(data, hidden=(16,), latent=8)
    model.compute = tf.bfloat16
    return model


def test_scores_of_a_thread_stay_float32_when_another_thread_ends(data: Dataset) -> None:
    """ "first" enters, "second" enters, "first" leaves, "second" computes."""
    model = narrow(data, Slow)
    assert isinstance(model, Slow)
    expected = model.recommend(["u0"])
    inside, both, left = threading.Event(), threading.Event(), threading.Event()
    model.cache["waits"] = {
        "first": [(inside, False), (both, True)],
        "second": [(both, False), (left, True)],
    }
    with ThreadPoolExecutor(1, "first") as one, ThreadPoolExecutor(1, "second") as other:
        first = one.submit(model.recommend, ["u0"])
        inside.wait()
        second = other.submit(model.recommend, ["u0"])
        pd.testing.assert_frame_equal(first.result(), expected)
        left.set()
        pd.testing.assert_frame_equal(second.result(), expected)
    assert model.compute == tf.bfloat16


def test_two_threads_that_recommend_at_a_time(data: Dataset) -> None:
    model = narrow(data)
    users = [f"u{k}" for k in range(40)]
    expected = {user: model.recommend([user]) for user in users}
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # threads take turns in the middle of everything
    try:
        with ThreadPoolExecutor(2) as pool:
            found = list(pool.map(lambda user: (user, model.recommend([user])), users * 3))
    finally:
        sys.setswitchinterval(before)
    for user, table in found:
        pd.testing.assert_frame_equal(table, expected[user])
    assert model.compute == tf.bfloat16


def test_the_compute_type_can_be_set_and_read(data: Dataset) -> None:
    model = narrow(data)
    assert model.compute == tf.bfloat16
    model.compute = tf.float16
    assert model.compute == tf.float16
    with pytest.raises(ZeroDivisionError):
        float32_scores(lambda self: 1 / 0)(model)
    assert model.compute == tf.float16
