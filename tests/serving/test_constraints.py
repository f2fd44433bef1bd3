"""Constraints are applied before the best items are taken: no answer is shorter than what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving import targets
from serving.engines.blocks import EngineInBlocks
from serving.engines.engine import Engine, open_engine, reference_engine
from serving.engines.outputs import ALL_SCORES, RANKED
from serving.export_folder import SERVING, Arrays, ExportFolder, open_export
from serving.recommend.answers import ERROR, MODEL, POPULAR, Recommendation
from serving.recommend.ranking import top_k
from serving.recommend.recommender import OLD_MODEL, Recommender
from serving.recommend.requests import Request, RequestError, check_request
from serving.triton.backend import read_requests, to_arrays
from tests.serving import other_ids
from tests.serving.odd_requests import BATCH, FUZZED, World, as_tensors, world_of

TITLES = ("Twins (1988)", "Twins (1988)", "Ünïcode, The", "")


@pytest.fixture(scope="module")
def onnx(vae: ExportFolder, artifacts: dict[str, Path]) -> Recommender:
    return Recommender(vae, open_engine(targets.artifact(artifacts["vae"], "onnx-fp32")))


class Counting:
    """An engine that notes which outputs it was asked for."""

    def __init__(self, engine: Engine, outputs: frozenset[str] | None = None) -> None:
        self._engine, self.outputs, self.asked = engine, outputs or engine.outputs, list[tuple[str, ...]]()

    def __call__(self, inputs: Any, outputs: Sequence[str] = RANKED) -> Arrays:
        self.asked.append(tuple(outputs))
        return self._engine(inputs, outputs)


def _request(export: ExportFolder, **words: Any) -> Request:
    return check_request(**words, top_k=export.n_items, n_items=export.n_items, id_types=export.id_types)


def _checked(export: ExportFolder, words: dict[str, Any]) -> Request | RequestError:
    try:
        return _request(export, **words)
    except RequestError as error:
        return error


def _by_backend(recommender: Recommender, export: ExportFolder, requests: list[dict[str, Any]]) -> list[Recommendation]:
    """Through what Triton's backend does: tensors to requests, answers to tensors, and back here."""
    numbers = export.id_types.item is int
    read = read_requests(as_tensors(requests, numbers), export.n_items, export.id_types, n_items=export.n_items)
    arrays = to_arrays(recommender.recommend(read), export.id_types)
    answers = []
    for k in range(len(requests)):
        kept = ~np.isneginf(arrays["scores"][k])
        ids = [i.decode() if isinstance(i, bytes) else i for i in arrays["items"][k][kept].tolist()]
        answers.append(
            Recommendation(
                source=arrays["source"][k, 0].decode(),
                item_ids=np.array(ids, np.int64 if numbers else object),
                titles=tuple(t.decode() for t in arrays["titles"][k][kept]),
                scores=arrays["scores"][k][kept],
                note=arrays["note"][k, 0].decode(),
            )
        )
    return answers


def _fuzz(recommender: Recommender, export: ExportFolder, world: World, way: str, seed: int) -> dict[str, int]:
    """Answer FUZZED random requests and check them; returns the number of each source."""
    rng, counted = np.random.default_rng(seed), {MODEL: 0, POPULAR: 0, ERROR: 0}
    for _ in range(-(-FUZZED // BATCH)):
        words = [world.draw(rng) for _ in range(BATCH)]
        if way == "backend":
            answers = _by_backend(recommender, export, words)
        else:
            answers = recommender.recommend([_checked(export, w) for w in words])
        for asked, answer in zip(words, answers, strict=True):
            world.check(asked, answer)
            counted[answer.source] += 1
    return counted


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "engine", "way"),
    [
        ("vae", "tensorflow", "class"),
        ("vae", "savedmodel-fp32", "backend"),
        ("vae", "onnx-fp32", "class"),
        ("vae", "onnx-fp16", "backend"),
        ("vae", "onnx-int8", "backend"),
        ("ncf", "tensorflow", "class"),
        ("ncf", "onnx-fp32", "backend"),
        ("ncf", "onnx-int8", "backend"),
    ],
)
def test_random_requests(
    vae: ExportFolder, ncf: ExportFolder, artifacts: dict[str, Path], model: str, engine: str, way: str
) -> None:
    export = {"vae": vae, "ncf": ncf}[model]
    opened = (
        reference_engine(export, SERVING)
        if engine == "tensorflow"
        else open_engine(targets.artifact(artifacts[model], engine))
    )
    counted = _fuzz(Recommender(export, opened), export, world_of(export), way, 1)
    assert min(counted.values()) >= FUZZED // 20, counted


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["text", "ten digits"])
def test_random_requests_with_other_ids(
    vae_export: Path, artifacts: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    names = (lambda i: f"sku,{i}") if kind == "text" else (lambda i: 9_000_000_000 + i)
    export = open_export(other_ids.copy(vae_export, tmp_path / "copy", user=names, item=names, titles=TITLES))
    engine = EngineInBlocks(open_engine(targets.artifact(artifacts["vae"], "onnx-fp32")), export.n_items, 7)
    counted = _fuzz(Recommender(export, engine), export, world_of(export), "backend", 2)
    assert min(counted.values()) >= FUZZED // 20, counted


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 10, 1_000])
@pytest.mark.parametrize("k", [1, 100, 5_000])
def test_allowed_items_are_ranked_as_all_are(vae: ExportFolder, onnx: Recommender, count: int, k: int) -> None:
    rng = np.random.default_rng(count)
    ids, k = vae.item_ids, min(k, vae.n_items)
    history, allow = ids[:5].tolist(), ids[rng.permutation(vae.n_items)[:count]].tolist()
    (answer,) = onnx.recommend([_request(vae, item_ids=history, allow=allow, k=k)])
    engine = onnx._engine
    scores = engine({"item_ids": np.arange(5, dtype=np.int32)[None]}, [ALL_SCORES])[ALL_SCORES]
    items, best = top_k(scores, k, np.isin(ids, allow))
    assert answer.item_ids.tolist() == ids[items[0][items[0] >= 0]].tolist()
    assert answer.scores.tolist() == best[0][np.isfinite(best[0])].tolist()
    assert len(answer.item_ids) == min(k, len(set(allow) - set(history)))


@pytest.mark.slow
def test_only_constrained_requests_ask_for_all_scores(vae: ExportFolder, artifacts: dict[str, Path]) -> None:
    engine = Counting(open_engine(targets.artifact(artifacts["vae"], "onnx-fp32")))
    recommender, ids = Recommender(vae, engine), vae.item_ids.tolist()
    plain = [
        _request(vae, item_ids=ids[:3]),
        _request(vae, item_ids=ids[:3], k=vae.top_k),
        _request(vae, item_ids=ids[:3], deny=ids[5:20], k=vae.top_k - 15),
    ]
    recommender.recommend(plain)
    assert engine.asked == [RANKED]
    wide = [
        _request(vae, item_ids=ids[:3], allow=ids[9:12]),
        _request(vae, item_ids=ids[:3], where="count > 1"),
        _request(vae, item_ids=ids[:3], deny=ids[5:20], k=vae.top_k),
        _request(vae, item_ids=ids[:3], k=min(vae.top_k + 1, vae.n_items)),
    ]
    answers = recommender.recommend([*plain, *wide])
    assert engine.asked[1:] == [RANKED, (ALL_SCORES,)]
    assert [len(a.item_ids) for a in answers[:3]] == [10, vae.top_k, vae.top_k - 15]


@pytest.mark.slow
def test_a_model_without_all_scores_answers_as_before_and_says_what_to_do(
    vae: ExportFolder, artifacts: dict[str, Path]
) -> None:
    engine = Counting(open_engine(targets.artifact(artifacts["vae"], "onnx-fp32")), frozenset(RANKED))
    recommender, ids = Recommender(vae, engine), vae.item_ids.tolist()
    worst = onnx_worst(vae, artifacts)
    full, short, much = recommender.recommend(
        [
            _request(vae, item_ids=ids[:3]),
            _request(vae, item_ids=ids[:3], allow=[worst]),
            _request(vae, item_ids=ids[:3], k=vae.top_k + 1),
        ]
    )
    assert (len(full.item_ids), full.note) == (10, "")
    assert (len(short.item_ids), OLD_MODEL in short.note) == (0, True)
    assert (much.source, OLD_MODEL in much.note) == (ERROR, True)
    assert set(engine.asked) == {RANKED}


def onnx_worst(vae: ExportFolder, artifacts: dict[str, Path]) -> Any:
    """The id of the item with the lowest score for a history of the first three items."""
    engine = open_engine(targets.artifact(artifacts["vae"], "onnx-fp32"))
    scores = engine({"item_ids": np.arange(3, dtype=np.int32)[None]}, [ALL_SCORES])[ALL_SCORES][0]
    return vae.item_ids.tolist()[int(np.argmin(np.where(np.isneginf(scores), np.inf, scores)))]


@pytest.mark.slow
def test_a_long_history_is_cut_to_its_latest_items_and_the_answer_says_so(
    vae: ExportFolder, artifacts: dict[str, Path], onnx: Recommender
) -> None:
    limited = Recommender(vae, open_engine(targets.artifact(artifacts["vae"], "onnx-fp32")), history_limit=4)
    ids = vae.item_ids.tolist()
    history = [*ids[:30], ids[2]]
    (cut,) = limited.recommend([_request(vae, item_ids=history, k=50)])
    # An item named again counts where it stands last; check_request keeps the first place, so it is named once here.
    (same,) = onnx.recommend([_request(vae, item_ids=ids[26:30], k=vae.n_items)])
    left = [i for i in same.item_ids.tolist() if i not in history]
    assert cut.item_ids.tolist() == left[:50]
    assert "the latest 4 of the 30 items" in cut.note


@pytest.mark.slow
def test_a_user_who_has_everything_is_told_so(vae: ExportFolder, onnx: Recommender) -> None:
    (answer,) = onnx.recommend([_request(vae, item_ids=vae.item_ids.tolist())])
    assert not len(answer.item_ids)
    assert f"the user has all {vae.n_items:,} items" in answer.note


@pytest.mark.slow
def test_popular_items_obey_the_constraints(vae: ExportFolder, onnx: Recommender) -> None:
    counts = vae.items["count"].to_numpy()
    ids = vae.item_ids
    order = np.lexsort((np.arange(vae.n_items), -counts))
    denied, allow = ids[order[:2]].tolist(), ids[order[::7]].tolist()
    (answer,) = onnx.recommend([_request(vae, k=5, deny=denied, allow=allow, where="count < 1000000")])
    assert answer.source == POPULAR
    assert answer.item_ids.tolist() == [i for i in ids[order[::7]].tolist() if i not in denied][:5]


@pytest.mark.slow
def test_a_bad_row_does_not_fail_the_others(vae: ExportFolder, onnx: Recommender) -> None:
    good = {"user_id": None, "item_ids": vae.item_ids.tolist()[:2], "deny": [], "allow": None, "where": "", "k": 3}
    rows = [good, good | {"k": 0}, good | {"where": "count >"}, good]
    first, second, third, last = _by_backend(onnx, vae, rows)
    assert len(first.item_ids) == len(last.item_ids) == 3
    assert (second.source, third.source) == (ERROR, ERROR)
    assert "k is '0'" in second.note and "where" in third.note
    with pytest.raises(RequestError, match="k is '0'"):
        read_requests(as_tensors(rows[1:2], numbers=True), 9)
