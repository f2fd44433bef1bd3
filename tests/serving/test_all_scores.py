"""The scores of all items, as engines give them when they are asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys_core.rankings import all_scores_agree, answers_agree
from serving import targets
from serving.engines.blocks import EngineInBlocks
from serving.engines.engine import Engine, open_engine, reference_engine
from serving.engines.outputs import ALL_SCORES, RANKED, hide_seen
from serving.export_folder import NO_SCATTER, SERVING, ExportFolder
from serving.recommend.ranking import top_k

EVERYTHING = (*RANKED, ALL_SCORES)


def _engine(export: ExportFolder, models: Path, name: str) -> tuple[Engine, str]:
    if name == "no scatter":
        return reference_engine(export, NO_SCATTER), NO_SCATTER
    if name in ("tensorflow", "xla"):
        return reference_engine(export, SERVING, name), SERVING
    return open_engine(targets.artifact(models, name)), SERVING


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vae", "ncf"])
@pytest.mark.parametrize("name", ["tensorflow", "no scatter", "xla", "onnx-fp32", "onnx-fp16", "onnx-int8"])
def test_the_best_of_all_scores_are_the_models_answer(
    vae: ExportFolder, ncf: ExportFolder, artifacts: dict[str, Path], model: str, name: str
) -> None:
    export = {"vae": vae, "ncf": ncf}[model]
    engine, signature = _engine(export, artifacts[model], name)
    assert engine.outputs == frozenset(EVERYTHING)
    requests, expected = export.golden(signature)
    assert set(expected) == set(RANKED), "all scores of golden requests would fill the export"
    assert set(engine(requests)) == set(RANKED)
    answers = engine(requests, EVERYTHING)
    scores = answers[ALL_SCORES]
    assert (scores.dtype, scores.shape) == (np.float32, (len(requests["item_ids"]), export.n_items))
    for row, seen in zip(scores, requests["item_ids"], strict=True):
        assert np.isneginf(row[seen[seen < export.n_items]]).all()
    items, best = top_k(scores, export.top_k)
    assert answers_agree({"items": answers["items"], "scores": answers["scores"]}, {"items": items, "scores": best})
    if name not in ("onnx-fp16", "onnx-int8"):
        assert answers_agree(expected, {"items": items, "scores": best})
    (only,) = engine(requests, [ALL_SCORES]).values()
    np.testing.assert_array_equal(only, scores)
    blocks = EngineInBlocks(engine, export.n_items, 7)
    np.testing.assert_allclose(blocks(requests, [ALL_SCORES])[ALL_SCORES], scores, rtol=1e-3, atol=1e-3)


def test_what_the_user_has_is_hidden_and_padding_is_not() -> None:
    scores = np.arange(8, dtype=np.float32).reshape(2, 4)
    scores.flags.writeable = False
    answers = {ALL_SCORES: scores}
    found = hide_seen(answers, {"item_ids": np.array([[4, 1], [0, 3]], np.int32)})[ALL_SCORES]
    assert found.tolist() == [[0, -np.inf, 2, 3], [-np.inf, 5, 6, -np.inf]]
    assert hide_seen(answers, {"user_ids": np.array([1], np.int32)}) is answers


@pytest.mark.parametrize(
    ("got", "agrees"),
    [
        ([3.0, 2.0, 1.0], True),
        ([3.0, 2.0, -np.inf], True),
        ([3.0, 2.0, 1.1], False),
        ([3.0, 2.0, np.nan], False),
        ([3.0, 2.1, 1.0], False),
    ],
)
def test_when_all_scores_agree(got: list[float], agrees: bool) -> None:
    answers = {"items": np.array([[0, 1, -1]]), "scores": np.array([[3.0, 2.0, -np.inf]], np.float32)}
    expected = np.array([[3.0, 2.0, 1.0]], np.float32)
    assert all_scores_agree(expected, answers | {ALL_SCORES: np.array([got], np.float32)}) is agrees


def test_scores_of_other_items_than_those_of_the_answer_do_not_agree() -> None:
    answers = {"items": np.array([[1, 0]]), "scores": np.array([[3.0, 2.0]], np.float32)}
    scores = np.array([[3.0, 2.0]], np.float32)
    assert not all_scores_agree(scores, answers | {ALL_SCORES: scores})
