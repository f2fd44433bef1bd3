"""Runs that a version with another order of examples began: they go on from the end of an epoch, else are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from examples.linear_autoencoder import LinearAutoencoder
from recsys_core import Dataset, Trainer
from recsys_core.errors import UserError
from recsys_core.input import order
from tests.recsys_core.test_trainer import MISSED, Witness, table

pytestmark = pytest.mark.filterwarnings("ignore:batches of")  # few steps are what makes these trainings short

SETTINGS = {"epochs": 2, "batch_size": 22, "steps_per_call": 1, "baselines": ("popularity",), **MISSED}


def stopped(folder: Path, after: int) -> tuple[LinearAutoencoder, Dataset]:
    """A run of 3 steps an epoch that was stopped after some, its checkpoint as an earlier version writes it."""
    data = Dataset.from_frame(pd.DataFrame(table())).split("users", held_out=12)
    Trainer(folder, callbacks=[Witness(stop_after=after)], **SETTINGS).fit(LinearAutoencoder(data, rank=8), data)
    (path,) = (folder / "checkpoints").glob(f"step-*{after}/state.json")
    state = json.loads(path.read_text())
    assert state["identity"].pop("order") == "array"
    del state["sha256"]
    path.write_text(json.dumps(state))
    return LinearAutoencoder(data, rank=8), data


def test_not_in_the_middle_of_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = stopped(tmp_path / "run", after=4)
    monkeypatch.setattr(order, "IN_MEMORY", 0)  # as if the data were large
    with pytest.raises(UserError, match=r"in the middle of an epoch \(step 4\) that an earlier version"):
        Trainer(tmp_path / "run", **SETTINGS).fit(model, data, resume=True)
    monkeypatch.undo()
    assert Trainer(tmp_path / "run", **SETTINGS).fit(model, data, resume=True).complete  # small data: the same order


def test_from_the_end_of_an_epoch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, data = stopped(tmp_path / "run", after=3)
    monkeypatch.setattr(order, "IN_MEMORY", 0)
    assert Trainer(tmp_path / "run", **SETTINGS).fit(model, data, resume=True).complete
    state = json.loads((tmp_path / "run" / "checkpoints" / "step-00000006" / "state.json").read_text())
    assert state["identity"]["order"] == "keyed-1"
