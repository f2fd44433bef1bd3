"""The first layer updated by the rows of a batch's items, against the whole kernel's gradient."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from recsys_core import flags
from recsys_core.config import EvaluationConfig, HardwareConfig, TrainingConfig
from recsys_core.dataset import Dataset
from recsys_core.errors import SharedError, UserError
from recsys_core.model import load
from recsys_core.run_manifest import RUN_VERSION
from recsys_core.training import identity
from recsys_core.training.kinds import is_compiled
from recsys_core.world import World
from tests.conftest import Command
from tests.ranks.first_layer import BATCH, EACH, ITEMS, prepared, random_data, summary, trained
from vaecf.autoencoder import Autoencoder
from vaecf.config import SPEC
from vaecf.model import MultVae
from vaecf.recvae import RecVae
from vaecf.run_config import EARLIER
from vaecf.vamp import VampVae

DENSE, ROWS = {"embedding_gradients": "dense"}, {"embedding_gradients": "rows"}


def gradients(model: Autoencoder, phase: int) -> tuple[float, list[Any]]:
    """Loss of a batch, and the gradients of what a phase trains."""
    part = model.phases[phase]
    batch = next(iter(model.batches(TrainingConfig(batch_size=BATCH), World(), 0, 4)))
    with tf.GradientTape() as tape:
        loss = part.loss(batch, tf.constant(0.3))["loss"]
    return float(loss), tape.gradient(loss, part.parameters)


@pytest.mark.parametrize(("kind", "phase"), [(MultVae, 0), (RecVae, 0), (RecVae, 1)])
def test_loss_and_gradients_are_those_of_the_whole_kernel(kind: type[Autoencoder], phase: int) -> None:
    found = {choice: gradients(prepared(kind, choice, World()), phase) for choice in ("dense", "rows")}
    assert found["rows"][0] == pytest.approx(found["dense"][0], rel=1e-6)
    for rows, dense in zip(found["rows"][1], found["dense"][1], strict=True):
        assert tf.convert_to_tensor(rows).numpy() == pytest.approx(tf.convert_to_tensor(dense).numpy(), abs=1e-6)
    by_rows = [g for g in found["rows"][1] if isinstance(g, tf.IndexedSlices)]
    assert len(by_rows) == (phase == 0)
    for gradient in by_rows:
        items = gradient.indices.numpy()
        assert 0 < len(items) == len(set(items)) < BATCH * EACH  # dropout hides half of them


def test_the_first_update_is_the_same_and_later_ones_are_lazy() -> None:
    kind = MultVae
    fresh = prepared(kind, "dense", World()).first[0].numpy()
    once = {choice: trained(kind, choice, World(), steps=1)[1] for choice in ("dense", "rows")}
    for rows, dense in zip(once["rows"].parameters, once["dense"].parameters, strict=True):
        assert rows.numpy() == pytest.approx(dense.numpy(), abs=1e-6)
    touched = (once["rows"].first[0].numpy() != fresh).any(axis=1)
    assert 0 < touched.sum() <= BATCH * EACH
    losses, twice = trained(kind, "rows", World(), steps=2)
    dense_losses, moved = trained(kind, "dense", World(), steps=2)
    assert losses == pytest.approx(dense_losses, rel=1e-5)  # of the batches before the updates part
    again = (twice.first[0].numpy() != once["rows"].first[0].numpy()).any(axis=1)
    assert (touched & ~again).any()  # without a gradient a row stays where it is
    assert (moved.first[0].numpy() != once["dense"].first[0].numpy()).any(axis=1)[touched].all()  # momentum


def test_a_share_without_items() -> None:
    """A rank without users, and one whose users' items are all hidden."""
    model = prepared(MultVae, "rows", World())
    batch = next(iter(model.batches(TrainingConfig(batch_size=BATCH), World(), 0, 1)))
    none = batch._replace(
        users=batch.users[:0], item_ids=batch.item_ids[:0], row_splits=tf.zeros([1], batch.row_splits.dtype)
    )
    nothing = batch._replace(item_ids=batch.item_ids[:0], row_splits=tf.zeros_like(batch.row_splits))
    for share in (none, nothing):
        with tf.GradientTape() as tape:
            first = model.first_layer(share, model.first, 0.5)
            loss = tf.reduce_sum(tf.square(first))
        gradient = tape.gradient(loss, model.first[0])
        assert gradient.values.shape == (0, first.shape[1])
    assert first.numpy() == pytest.approx(np.tile(model.first[1].numpy(), (BATCH, 1)))


@pytest.mark.parametrize(
    ("items", "settings", "expected"),
    [
        (5 * BATCH * EACH, {}, "dense"),
        (5 * BATCH * EACH + 1, {}, "rows"),
        (5 * BATCH * EACH + 1, {"l2": 0.1}, "dense"),
        (5 * BATCH * EACH + 1, {"weight_decay": 0.1}, "dense"),
        (5 * BATCH * EACH + 1, {"batch_size": BATCH + 1}, "dense"),
    ],
)
def test_what_auto_chooses(items: int, settings: dict[str, Any], expected: str) -> None:
    model = prepared(MultVae, "auto", World(), random_data(items))
    model.prepare_training(TrainingConfig(**{"batch_size": BATCH, **settings}), World())
    assert model.resolved_settings["first_layer"].embedding_gradients == expected
    assert [v is model.first[0] for v in model.sparse_tables] == ([True] if expected == "rows" else [])


def test_the_compiled_step_and_the_pseudo_inputs_take_the_whole_kernel() -> None:
    model = MultVae(random_data(), hidden=(8,), latent=3)
    model.prepare_training(TrainingConfig(batch_size=BATCH), World(), step_bytes=1e9)
    assert not model.sparse_tables
    vamp = VampVae(random_data(), hidden=4, latent=3, pseudo_inputs=5)
    vamp.prepare_training(TrainingConfig(batch_size=BATCH), World())
    assert not vamp.sparse_tables


def test_what_rows_do_not_go_with() -> None:
    small = {"hidden": 4, "latent": 3, "pseudo_inputs": 5}
    given = TrainingConfig(batch_size=BATCH), EvaluationConfig(), 1
    with pytest.raises(
        UserError, match="is rows, and the loss of VampVae reads the rows of all items; use auto or den"
    ):
        VampVae(random_data(), **small, **ROWS).check_training(*given)
    model = MultVae(random_data(), **ROWS)
    model.check_training(*given)
    for name, flag in (("l2", "--l2"), ("weight_decay", "--weight-decay")):
        training = TrainingConfig(batch_size=BATCH, **{name: 0.1})
        with pytest.raises(
            UserError, match=f"is rows, and {flag} 0.1 changes every row; use auto or dense, or {flag} 0"
        ):
            model.check_training(training, *given[1:])
    with pytest.raises(UserError, match="has a sparse step only with --embedding-gradients rows; leave the flag out"):
        is_compiled(model, HardwareConfig(step="compiled"))
    with pytest.raises(UserError, match="unknown --embedding-gradients 'sparse', known are: auto, dense, rows"):
        MultVae(random_data(), embedding_gradients="sparse")


def test_a_run_of_an_earlier_version_was_dense() -> None:
    then = {"format_version": 2, "identity": {"seed": 1}}
    now = {"seed": 1, "first_layer": ROWS}
    options: dict[str, Any] = {"renamed": {}, "earlier": EARLIER}
    identity.check_same(then, {"seed": 1, "first_layer": DENSE}, Path("runs/a"), **options)
    with pytest.raises(SharedError, match="first_layer is .*'rows'}, the run in runs/a has .*'dense'}"):
        identity.check_same(then, now, Path("runs/a"), **options)


@pytest.mark.parametrize(("lacking", "expected"), [(True, "dense"), (False, "auto")])
def test_what_a_resumed_run_takes(lacking: bool, expected: str, tmp_path: Path) -> None:
    config = {"preset": "quick"} if lacking else {"preset": "quick", "first_layer": {"embedding_gradients": "auto"}}
    data = {"folder": str(tmp_path), "fingerprint": "", "view": "", "items": 9, "users": 9}
    content = {"format_version": RUN_VERSION, "family": "vaecf", "config": config, "data": data, "environment": {}}
    (tmp_path / "run.json").write_text(json.dumps(content))
    found = flags.parse(SPEC, ["--resume", str(tmp_path), "--data", str(tmp_path)])
    assert found.config.first_layer.embedding_gradients == expected


def test_models_saved_by_an_earlier_version_are_read(tmp_path: Path) -> None:
    MultVae(Dataset.empty(3, ITEMS), hidden=(4,), latent=2).save(tmp_path / "m")
    path = tmp_path / "m" / "model.json"
    content = json.loads(path.read_text())
    assert content["settings"].pop("first_layer") == {"embedding_gradients": "auto"}
    path.write_text(json.dumps(content))
    assert load(tmp_path / "m").n_items == ITEMS


@pytest.mark.ranks
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_take_the_same_steps(ranks: int, command: Command) -> None:
    program = [sys.executable, "-m", "tests.ranks.first_layer"]
    done = command(
        ["mpirun", "--allow-run-as-root", "--oversubscribe", "-np", str(ranks), *program],
        env={"OMPI_MCA_mpi_yield_when_idle": "1"},
    )
    assert done.returncode == 0, done.stderr
    found, alone = json.loads(done.stdout.splitlines()[-1]), summary(World())
    assert found.keys() == alone.keys()
    for name, values in alone.items():
        assert found[name] == pytest.approx(values, rel=1e-5)
