"""Verification finds what is wrong, and lets through what is right."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import targets
from serving.convert import verify
from serving.engines.engine import Engine, open_engine
from serving.engines.outputs import ALL_SCORES, RANKED
from serving.export_folder import Arrays, ExportFolder, Rows


def test_metrics_by_hand() -> None:
    items = np.array([[3, 1, 2], [0, 1, 2], [5, 6, 7]], np.int32)
    wanted = Rows(indptr=np.array([0, 2, 2, 3]), item_ids=np.array([1, 9, 5], np.int32))
    found = verify.ranking_metrics(items, wanted)
    # User 0: a hit in place 2 of an ideal of two; user 1 has nothing to find and is left out; user 2: the first place.
    ideal = 1 + 1 / np.log2(3)
    assert found["ndcg@3"] == pytest.approx(((1 / np.log2(3)) / ideal + 1) / 2)
    assert found["recall@3"] == pytest.approx((1 / 2 + 1) / 2)


@pytest.mark.slow
@pytest.mark.parametrize("model", ["vae", "ncf"])
def test_every_conversion_is_verified(artifacts: dict[str, Path], model: str) -> None:
    found = {p.parent.name: json.loads(p.read_text()) for p in artifacts[model].glob("*/verify.json")}
    assert set(found) == {"onnx-fp32", "onnx-fp16", "onnx-int8", "savedmodel-fp32"}
    assert all(result["passed"] for result in found.values())
    fp32 = found["onnx-fp32"]
    assert fp32["golden"]["rows_equal_but_for_ties"] == fp32["golden"]["rows"]
    assert fp32["test"]["items_in_common"] > 0.999
    assert all(abs(m["loss"]) <= 1e-4 for m in fp32["metrics"].values())


def _one_nan(answers: Arrays) -> Arrays:
    scores = answers["scores"].copy()
    scores[0, 7] = np.nan
    return answers | {"scores": scores}


def _first_twice(answers: Arrays) -> Arrays:
    items = answers["items"].copy()
    items[:, 1] = items[:, 0]
    return answers | {"items": items}


class Spoilt:
    """An engine whose answers are changed."""

    def __init__(self, engine: Engine, spoil: Callable[[Any, Arrays], Arrays]) -> None:
        self._engine, self._spoil, self.outputs = engine, spoil, engine.outputs

    def __call__(self, inputs: Any, outputs: Sequence[str] = RANKED) -> Arrays:
        return self._spoil(inputs, self._engine(inputs, outputs))


def _other_scores(answers: Arrays) -> Arrays:
    return answers if ALL_SCORES not in answers else answers | {ALL_SCORES: answers[ALL_SCORES][:, ::-1]}


WRONG: dict[str, tuple[Any, str]] = {
    "NaN": (_one_nan, "NaN"),
    "another item": (lambda a: a | {"items": np.roll(a["items"], 1, axis=1)}, "differ by more"),
    "scores moved": (lambda a: a | {"scores": a["scores"] + 0.01}, "differ by more"),
    "other scores of all items": (_other_scores, "all items"),
    "short": (lambda a: {k: v[:, :-1] for k, v in a.items()}, "expected"),
    "rising": (lambda a: {k: v[:, ::-1] for k, v in a.items()}, "do not fall"),
    "twice": (_first_twice, "twice"),
    "no such item": (lambda a: a | {"items": a["items"] + 100_000}, "expected -1 to"),
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", WRONG)
def test_a_wrong_model_is_found(vae: ExportFolder, artifacts: dict[str, Path], fault: str) -> None:
    made = targets.artifact(artifacts["vae"], "onnx-fp32")
    engine = open_engine(made)
    spoil, word = WRONG[fault]
    result = verify.verify(vae, made, Spoilt(engine, lambda _, answers: spoil(answers)), users=50)
    assert not result["passed"]
    assert word in result["why"]


@pytest.mark.slow
def test_an_item_that_was_seen_is_found(vae: ExportFolder, artifacts: dict[str, Path]) -> None:
    made = targets.artifact(artifacts["vae"], "onnx-fp32")
    engine = open_engine(made)

    def shows_what_was_seen(inputs: Any, answers: Arrays) -> Arrays:
        answers["items"][:, 0] = inputs["item_ids"][:, 0]
        return answers

    assert "seen" in verify.verify(vae, made, Spoilt(engine, shows_what_was_seen), users=50)["why"]


@pytest.mark.slow
def test_a_model_that_ranks_worse_fails_in_any_precision(vae: ExportFolder, artifacts: dict[str, Path]) -> None:
    made = targets.artifact(artifacts["vae"], "onnx-int8")
    engine = open_engine(made)

    def by_number(inputs: Any, answers: Arrays) -> Arrays:
        """The unseen items with the highest numbers."""
        for k, seen in enumerate(inputs["item_ids"]):
            free = np.setdiff1d(np.arange(vae.n_items), seen)[::-1][: vae.top_k]
            answers["items"][k] = np.pad(free, (0, vae.top_k - len(free)), constant_values=-1)
            if ALL_SCORES in answers:
                answers[ALL_SCORES][k] = np.where(np.isin(np.arange(vae.n_items), seen), -np.inf, -1e9)
                answers[ALL_SCORES][k, free] = answers["scores"][k, : len(free)]
        return answers

    assert "loses" in verify.verify(vae, made, Spoilt(engine, by_number), users=10_000)["why"]


@pytest.mark.slow
def test_what_changed_after_its_verification_is_not_used(
    vae: ExportFolder, artifacts: dict[str, Path], tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(artifacts["vae"] / "onnx-fp32", tmp_path / "onnx-fp32")
    made = targets.artifact(tmp_path, "onnx-fp32")
    made.require_verified(vae.identity)
    with made.model.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match="not what was verified"):
        made.require_verified(vae.identity)
    (tmp_path / "onnx-fp32" / "verify.json").unlink()
    with pytest.raises(ValueError, match=r"was not verified; do it with: .* verify --export RUN --models "):
        made.require_verified(vae.identity)
