"""Exports of models that were not trained: what is tested here holds for any values of the parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd
import pytest

from ncf_tf.model import NeuMf
from recsys_core.baselines.ease import Ease
from recsys_core.dataset import Dataset
from recsys_core.export import write_export
from recsys_core.model import Recommender
from serving.demo.served_model import ServedModel
from serving.engines.engine import reference_engine
from serving.export_folder import SERVING, open_export
from serving.histories.events import Event
from serving.histories.store import HistoryStore, open_store
from serving.ids import IdTypes
from tests.serving.demo.served_page import serving
from vaecf.model import MultVae

TOP_K = 50
TITLES = (
    "Toy Story (1995)", "Toy Story 2 (1999)", '<img src=x onerror="document.title=1"> & "quotes" (2001)',
    "Amélie (2001)", "Shawshank Redemption, The (1994)", "Matrix, The (1999)", "Zwölf Stühle; ein Film",
)  # fmt: skip
"""Titles of the first items; the others have none."""


@pytest.fixture(scope="session")
def small_data(tiny_data: Path) -> Dataset:
    return Dataset.open(tiny_data)


@pytest.fixture(scope="session")
def fitted(small_data: Dataset) -> Mapping[str, Recommender]:
    """ "ease" (fitted) and "vae" (random parameters)."""
    ease = Ease(small_data, regularization=20.0)
    ease.solve()
    return {"ease": ease, "vae": MultVae(small_data, seed=3, hidden=[20], latent=10)}


@pytest.fixture(scope="session")
def folders(
    fitted: Mapping[str, Recommender], small_data: Dataset, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Path]:
    """Name -> folder of the run, which holds the export of that model."""
    runs = {}
    for name, model in fitted.items():
        runs[name] = tmp_path_factory.mktemp(name)
        metrics = {
            "ndcg@100": {"mean": 0.25, "standard_error": 0.01},
            "novelty@5": {"mean": None, "standard_error": None},
        }
        result = {"validation": {}, "test": {"metrics": metrics}}
        write_export(runs[name] / "export", model, small_data, top_k=TOP_K, result=result)
        table = runs[name] / "export" / "items.parquet"
        items = pd.read_parquet(table)
        items["title"] = [*TITLES, *[None] * (len(items) - len(TITLES))]
        items.to_parquet(table, index=False)
    for card in (runs["vae"] / "export").glob("MODEL_CARD.*"):  # as in exports of earlier versions
        card.unlink()
    return runs


@pytest.fixture(scope="session")
def ncf_folder(tiny_pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the run of a NeuMF, which ranks items for its own users."""
    data, run = Dataset.open(tiny_pairs), tmp_path_factory.mktemp("ncf")
    result = {"validation": {}, "test": {"metrics": {}}}
    write_export(run / "export", NeuMf(data, seed=3), data, top_k=TOP_K, result=result)
    return run


@pytest.fixture(scope="session")
def served_models(folders: Mapping[str, Path], store: HistoryStore) -> list[ServedModel]:
    """ "vae" and "ease" in TensorFlow."""
    exports = {name: open_export(folders[name]) for name in ("vae", "ease")}
    return [
        ServedModel(name, export, reference_engine(export, SERVING), store=store) for name, export in exports.items()
    ]


@pytest.fixture(scope="session")
def store(folders: Mapping[str, Path], tmp_path_factory: pytest.TempPathFactory) -> HistoryStore:
    """User 7 has the first two items and one that the models do not know."""
    ids = open_export(folders["vae"]).item_ids.tolist()
    address = f"sqlite:///{tmp_path_factory.mktemp('store') / 'histories.db'}"
    opened = open_store(address, create=True, id_types=IdTypes())
    opened.append([Event(user=7, item=item) for item in (*ids[:2], max(ids) + 1)])
    return opened


@pytest.fixture(scope="session")
def page(served_models: list[ServedModel], store: HistoryStore) -> Iterator[str]:
    """Address of the page of both models."""
    with serving(served_models, store) as address:
        yield address
