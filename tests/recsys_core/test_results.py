"""The result of a run as tables."""

from __future__ import annotations

import pytest

from examples.linear_autoencoder import LinearAutoencoder
from recsys_core import Dataset, Trainer
from recsys_core.evaluation.baselines import Popularity
from tests.recsys_core.test_trainer import MISSED, table


@pytest.fixture(scope="module")
def data() -> Dataset:
    return Dataset.from_frame(table()).split("users", held_out=12)


def test_metrics_and_history_of_a_trained_model(data: Dataset) -> None:
    model = LinearAutoencoder(data, rank=8)
    run = Trainer(epochs=4, batch_size=6, evaluate_every=2, baselines=("ease",), **MISSED).fit(model, data)
    found = run.test.table()
    assert found.index.tolist() == ["ndcg@100", "recall@20", "recall@50"]
    assert found.columns.tolist() == ["model", "standard_error", "popularity", "ease"]
    measured = run.test["recall@20"]
    assert found.loc["recall@20"].tolist() == [measured.value, measured.standard_error, *measured.baselines.values()]
    users = run.per_user.groupby(["split", "model"])[["ndcg@100", "recall@20", "recall@50"]]
    assert set(users.size()) == {12} and set(run.per_user["model"]) == {"model", "popularity", "ease"}
    assert users.mean().loc[("test", "ease"), "recall@20"] == pytest.approx(measured.baselines["ease"])
    assert users.sem().loc[("test", "model"), "recall@20"] == pytest.approx(measured.standard_error)
    history = run.history
    assert history["epoch"].tolist() == [2, 4] and history["step"].tolist() == [22, 44]
    assert history["loss"].iloc[-1] < history["loss"].iloc[0]
    assert history["ndcg@100"].max() == pytest.approx(run.valid["ndcg@100"].value)  # of the best checkpoint


def test_a_closed_form_has_no_history(data: Dataset) -> None:
    run = Trainer(**MISSED).fit(Popularity(data), data)
    assert run.history.empty and run.history.columns.tolist() == ["step", "epoch", "loss"]
