"""Similar items of an export are those of the model in memory; earlier exports; the command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_core.baselines.popularity import Popularity
from recsys_core.dataset import Dataset
from recsys_core.export import write_export
from recsys_core.model import Recommender
from serving.engines.engine import Engine, reference_engine
from serving.export_folder import SERVING, ExportFolder, open_export
from serving.similar.finder import SimilarItems


def _opened(export: ExportFolder) -> SimilarItems:
    return SimilarItems(export, lambda: reference_engine(export, SERVING))


def _without(folder: Path, target: Path) -> Path:
    """A copy as earlier versions wrote it: without the vectors, and without a word about similar items."""
    shutil.copytree(folder / "export", target)
    (target / "item_vectors.npy").unlink(missing_ok=True)
    content = json.loads((target / "export.json").read_text())
    del content["similar_items"]
    (target / "export.json").write_text(json.dumps(content))
    return target


def _require_the_models(export: ExportFolder, model: Recommender) -> None:
    finder, ids = _opened(export), export.item_ids
    for item in (0, 7, export.n_items - 1):
        expected = model.similar_items(ids[item], k=15)
        items, scores = finder.find(item, 15)
        assert ids[items].tolist() == expected["similar_item"].tolist()
        np.testing.assert_allclose(scores, expected["score"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["vae", "ease"])
def test_they_are_those_of_the_model(
    name: str, fitted: Mapping[str, Recommender], folders: Mapping[str, Path], tmp_path: Path
) -> None:
    export = open_export(folders[name])
    assert (export.folder / "item_vectors.npy").exists() == (name == "vae")  # weights are in the model already
    _require_the_models(export, fitted[name])
    _require_the_models(open_export(_without(folders[name], tmp_path / "old")), fitted[name])


def test_vectors_need_no_engine(folders: Mapping[str, Path]) -> None:
    def refuse() -> Engine:
        raise AssertionError("the model was loaded")

    finder = SimilarItems(open_export(folders["vae"]), refuse)
    items, _ = finder.find(3, 5)
    assert len(items) == 5 and 3 not in items
    with pytest.raises(ValueError, match="k is 0, expected a whole number from 1 to"):
        finder.find(3, 0)
    with pytest.raises(ValueError, match="k is 300, expected a whole number from 1 to 299"):
        finder.find(3, 300)


def test_a_model_without_vectors_says_so(small_data: Dataset, folders: Mapping[str, Path], tmp_path: Path) -> None:
    model = Popularity(small_data)
    model.solve()
    write_export(tmp_path / "export", model, small_data, top_k=5, result={"validation": {}, "test": {}})
    with pytest.raises(ValueError, match="a model of the family 'popularity' has no item vectors"):
        _opened(open_export(tmp_path))
    old = _without(folders["vae"], tmp_path / "old")
    content = json.loads((old / "export.json").read_text())
    content["model"]["package"] = "ials"
    (old / "export.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match="of an earlier version and holds no item vectors; train again"):
        _opened(open_export(old))


def test_damaged_vectors_are_an_error_of_one_line(folders: Mapping[str, Path], tmp_path: Path) -> None:
    shutil.copytree(folders["vae"] / "export", tmp_path / "export")
    path = tmp_path / "export" / "item_vectors.npy"
    np.save(path, np.zeros((2, 3), np.float32))
    with pytest.raises(ValueError, match=r"damaged \(shape \(2, 3\), expected 300 rows\)"):
        _opened(open_export(tmp_path))
    path.write_bytes(b"\x93NUMPY")
    with pytest.raises(ValueError, match="item_vectors.npy is damaged"):
        _opened(open_export(tmp_path))


def test_the_command(folders: Mapping[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    from serving.__main__ import main

    words = ["similar", "--export", str(folders["vae"])]
    assert main([*words, "--title", "toy story 2", "-k", "3", "--json"]) == 0
    printed: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [row["rank"] for row in printed["items"]] == [1, 2, 3]
    assert main([*words, "--title", "The Matrix"]) == 0
    shown = capsys.readouterr()
    assert len(shown.out.splitlines()) == 12 and shown.err.startswith("similar to: Matrix, The (1999) (id ")
    for given, message in (
        (["--title", "Toy"], '2 items match the title "Toy"'),
        (["--title", "Toy Stroy"], 'no item has the title "Toy Stroy"; do you mean "Toy Story (1995)"'),
        (["--item", "-4"], "no item has the id '-4'; this data set has ids such as"),
        (["--item", "x"], "--item is 'x', expected whole numbers"),
    ):
        assert main([*words, *given]) == 2
        assert message in capsys.readouterr().err
