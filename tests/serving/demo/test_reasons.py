"""Reasons: exact for a linear model, and for the others what the model itself scores without each item."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from recsys_core.model import Recommender
from serving.__main__ import main
from serving.engines.engine import Engine, reference_engine
from serving.export_folder import SERVING, ExportFolder, open_export
from serving.reasons import explainer
from serving.reasons.explainer import Explainer
from tests.serving.demo.conftest import TITLES

HISTORY = np.array([5, 250, 17, 3, 88, 120], np.int32)
RECOMMENDED = np.array([1, 90, 4, 299], np.int32)


@pytest.fixture(scope="module")
def opened(folders: Mapping[str, Path]) -> dict[str, tuple[ExportFolder, Engine]]:
    exports = {name: open_export(folder) for name, folder in folders.items()}
    return {name: (export, reference_engine(export, SERVING)) for name, export in exports.items()}


def _scores(model: Recommender, history: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
    """Scores [I] of the model in memory for one history."""
    return model.padded_scores(history[None, :]).numpy()[0]


def _without(item: int) -> npt.NDArray[np.int32]:
    return np.array([other for other in HISTORY if other != item], np.int32)


def test_those_of_a_linear_model_are_its_weights(opened: Any, fitted: Mapping[str, Recommender]) -> None:
    model: Any = fitted["ease"]
    found = Explainer(*opened["ease"]).explain(HISTORY, RECOMMENDED)
    weights = model.weights.numpy()
    np.testing.assert_array_equal(found.lower_by, weights[np.ix_(HISTORY, RECOMMENDED)].T)
    full = _scores(model, HISTORY)
    np.testing.assert_allclose(found.lower_by.sum(axis=1), full[RECOMMENDED], rtol=1e-5)
    for place, item in enumerate(HISTORY):  # leaving an item out says the same
        without = full - _scores(model, _without(item))
        np.testing.assert_allclose(found.lower_by[:, place], without[RECOMMENDED], atol=1e-5)


@pytest.mark.parametrize("block", [128, 3])
def test_those_of_an_autoencoder_are_scores_without_each_item(
    block: int, opened: Any, fitted: Mapping[str, Recommender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explainer, "LARGEST_BLOCK", block)
    blocks: list[int] = []
    found = Explainer(*opened["vae"]).explain(HISTORY, RECOMMENDED, lambda: blocks.append(1))
    assert len(blocks) == -(-(len(HISTORY) + 1) // block)
    full = _scores(fitted["vae"], HISTORY)
    expected = [full - _scores(fitted["vae"], _without(item)) for item in HISTORY]
    np.testing.assert_allclose(found.lower_by, np.array(expected)[:, RECOMMENDED].T, atol=1e-5)
    assert found.items.tolist() == HISTORY.tolist()
    best = found.strongest(0, 2)
    assert best == sorted(best, key=lambda pair: -pair[1]) and all(by > 0 for _, by in best)
    assert best[0][1] == pytest.approx(found.lower_by[0].max())


def test_a_long_history_is_explained_by_its_latest_items(
    opened: Any, fitted: Mapping[str, Recommender], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(explainer, "MOST", 2)
    found = Explainer(*opened["vae"]).explain(HISTORY, RECOMMENDED)
    assert found.items.tolist() == HISTORY[-2:].tolist()
    full, without = _scores(fitted["vae"], HISTORY), _scores(fitted["vae"], HISTORY[:-1])
    np.testing.assert_allclose(found.lower_by[:, 1], (full - without)[RECOMMENDED], atol=1e-5)
    limited = Explainer(*opened["vae"], history_limit=4).explain(HISTORY, RECOMMENDED)
    full, without = _scores(fitted["vae"], HISTORY[2:]), _scores(fitted["vae"], HISTORY[2:-1])
    np.testing.assert_allclose(limited.lower_by[:, 1], (full - without)[RECOMMENDED], atol=1e-5)


@pytest.mark.parametrize("name", ["ease", "vae"])
def test_nothing_to_explain(name: str, opened: Any) -> None:
    found = Explainer(*opened[name])
    assert found.explain(HISTORY[:0], RECOMMENDED).lower_by.shape == (4, 0)
    assert found.explain(HISTORY, RECOMMENDED[:0]).lower_by.shape == (0, 6)
    assert found.explain(HISTORY[:1], RECOMMENDED).lower_by.shape == (4, 1)


def test_a_model_that_gives_only_its_best_items_has_no_reasons(opened: Any) -> None:
    class Earlier:
        outputs = frozenset({"items", "scores"})

    export, _ = opened["vae"]
    with pytest.raises(ValueError, match="made before reasons were added"):
        Explainer(export, Earlier())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["ease", "vae"])
def test_recommend_names_the_reasons(
    name: str, folders: Mapping[str, Path], fitted: Mapping[str, Recommender], capsys: pytest.CaptureFixture[str]
) -> None:
    ids = open_export(folders[name]).item_ids
    items = ",".join(str(ids[k]) for k in HISTORY)
    words = ["recommend", "--export", str(folders[name]), "--items", items, "-k", "4", "--why"]
    assert main([*words, "--json"]) == 0
    for row in json.loads(capsys.readouterr().out)["items"]:
        found = {reason["id"]: reason["lower_by"] for reason in row["reasons"]}
        assert list(found) and set(found) == set(ids[HISTORY].tolist())
        assert list(found.values()) == sorted(found.values(), reverse=True)
        full, index = _scores(fitted[name], HISTORY), int(np.flatnonzero(ids == row["id"])[0])
        for item in HISTORY:
            without = _scores(fitted[name], _without(item))
            assert found[ids[item]] == pytest.approx(float((full - without)[index]), abs=2e-5)
    assert main(words) == 0
    table = capsys.readouterr().out
    assert "would score lower without" in table and TITLES[3] in table  # an item of the history, by its title
    assert main([*words, "--format", "csv"]) == 2
    assert "--why needs --format table or json" in capsys.readouterr().err


def test_popular_items_have_no_reasons(folders: Mapping[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--export", str(folders["ease"]), "-k", "2", "--why"]) == 0
    assert "would score" not in capsys.readouterr().out


def test_a_model_of_users_has_no_reasons(ncf_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recommend", "--export", str(ncf_folder), "--user", "1", "--why"]) == 2
    assert "not from histories: it has no reasons" in capsys.readouterr().err
