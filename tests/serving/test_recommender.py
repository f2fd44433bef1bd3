"""Requests as people make them, thousands of them, most of them odd: answered or refused, never a crash."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving import targets
from serving.engines.engine import open_engine
from serving.export_folder import ExportFolder
from serving.recommend.recommender import MODEL, POPULAR, Recommendation, Recommender
from serving.recommend.requests import RequestError, check_request

TOP_K = 100
FUZZED = int(os.environ.get("RECSYS_FUZZED_REQUESTS", "2000"))
"""Requests of the fuzz run; a thorough one makes 10,000 and more."""


def _around(export: ExportFolder, models: Path) -> SimpleNamespace:
    """A recommender, and what is known of people and items by reading the files ourselves."""
    with np.load(export.folder / "histories.npz") as file:
        indptr, owned = file["indptr"], file["item_ids"]
    ids = [int(i) for i in export.items["item_id"]]
    has = {
        int(user): {ids[k] for k in owned[indptr[row] : indptr[row + 1]]}
        for row, user in zip(export.users["row"], export.users["user_id"], strict=True)
    }
    counts = dict(zip(ids, export.items["count"].tolist(), strict=True))
    recommender = Recommender(export, open_engine(targets.artifact(models, "onnx-fp32")))
    return SimpleNamespace(recommender=recommender, ids=ids, has=has, counts=counts)


@pytest.fixture(scope="module")
def vae_world(vae: ExportFolder, artifacts: dict[str, Path]) -> SimpleNamespace:
    return _around(vae, artifacts["vae"])


@pytest.fixture(scope="module")
def ncf_world(ncf: ExportFolder, artifacts: dict[str, Path]) -> SimpleNamespace:
    return _around(ncf, artifacts["ncf"])


def _is_id(value: object) -> bool:
    return isinstance(value, int | np.integer) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_allowed(words: dict[str, Any], n_items: int) -> bool:
    """What a request may be, said a second time."""
    lists = [words["item_ids"], words["deny"], words["allow"] or []]
    k = words["k"]
    return (
        (words["user_id"] is None or _is_id(words["user_id"]))
        and all(len(values) <= max(10_000, n_items) and all(_is_id(v) for v in values) for values in lists)
        and isinstance(k, int | np.integer)
        and not isinstance(k, bool)
        and 1 <= k <= n_items
    )


def _mostly(usual: st.SearchStrategy[Any], rare: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """The rare one once in sixteen times."""
    return st.integers(0, 15).flatmap(lambda n: rare if n == 15 else usual)


def _requests(world: SimpleNamespace) -> st.SearchStrategy[dict[str, Any]]:
    """Requests of which most can be answered."""
    known = st.sampled_from(world.ids)
    real = _mostly(known | known.map(np.int64), st.integers(0, 2**63 - 1))
    odd = st.one_of(
        *(st.integers(-(2**70), -1), st.integers(2**63, 2**200), st.booleans(), st.floats(), st.none()),
        *(st.text(max_size=5), st.binary(max_size=3), st.just([1]), st.just(np.float32(3)), st.just(np.bool_(True))),
    )
    few = st.lists(real, max_size=6)
    spoilt = st.tuples(few, odd, few).map(lambda t: [*t[0], t[1], *t[2]])
    rest = st.sampled_from([world.ids, world.ids[1:], world.ids[:60], list(range(10_000)), list(range(10_001))])
    lists = _mostly(few, st.booleans().flatmap(lambda b: spoilt if b else rest))
    users = st.sampled_from(sorted(world.has)) | st.integers(0, 2**63 - 1)
    return st.fixed_dictionaries(
        {
            "user_id": _mostly(st.none() | users, odd),
            "item_ids": st.just([]) | lists,
            "k": _mostly(st.integers(1, len(world.ids)), st.integers(-5, 2**70) | odd),
            "deny": st.just([]) | lists,
            "allow": st.none() | st.none() | lists,
        }
    )


def _check_answer(world: SimpleNamespace, words: dict[str, Any], answer: Recommendation) -> None:
    user, named_items, k = words["user_id"], set(words["item_ids"]), words["k"]
    known = named_items & set(world.ids)
    seen = world.has.get(user, set()) | known
    items = answer.item_ids.tolist()
    assert answer.source == (MODEL if user in world.has or known else POPULAR)
    assert len(items) == len(answer.scores) == len(answer.titles) == len(set(items))
    assert len(items) <= k
    assert set(items) <= set(world.ids) - seen - set(words["deny"])
    allowed = set(world.ids if words["allow"] is None else words["allow"]) & set(world.ids)
    assert set(items) <= allowed
    assert len(items) == min(k, len(allowed - seen - set(words["deny"])))
    assert len(items) == k or answer.note, "an answer that is short says why"
    assert np.isfinite(answer.scores).all()
    assert (np.diff(answer.scores) <= 0).all()
    assert set(answer.unknown) == named_items - set(world.ids)
    if answer.source == POPULAR:
        assert answer.scores.tolist() == [world.counts[i] for i in items]


@pytest.mark.slow
def test_thousands_of_odd_requests(vae_world: SimpleNamespace) -> None:
    counted = {"made": 0, MODEL: 0, POPULAR: 0, "refused": 0}
    checks = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]

    @settings(max_examples=max(1, FUZZED // 10), deadline=None, database=None, suppress_health_check=checks)
    @given(st.lists(_requests(vae_world), min_size=10, max_size=16))
    def fuzz(batch: list[dict[str, Any]]) -> None:
        counted["made"] += len(batch)
        good, requests = [], []
        for words in batch:
            if _is_allowed(words, len(vae_world.ids)):
                requests.append(check_request(**words, top_k=len(vae_world.ids)))
                good.append(words)
                continue
            counted["refused"] += 1
            with pytest.raises(RequestError) as refused:
                check_request(**words, top_k=len(vae_world.ids))
            assert 0 < len(str(refused.value)) < 200
        answers = vae_world.recommender.recommend(requests)
        assert len(answers) == len(good)
        for words, answer in zip(good, answers, strict=True):
            counted[answer.source] += 1
            _check_answer(vae_world, words, answer)

    fuzz()
    assert counted["made"] >= FUZZED
    assert min(counted[MODEL], counted[POPULAR], counted["refused"]) >= FUZZED // 10, counted


@pytest.mark.slow
def test_a_request_is_answered_the_same_alone_and_among_others(vae_world: SimpleNamespace) -> None:
    users = sorted(vae_world.has)[:40]
    requests = [check_request(user_id=u, k=20, top_k=TOP_K) for u in users] + [check_request(k=5, top_k=TOP_K)]
    together = vae_world.recommender.recommend(requests)
    for request, answer in zip(requests, together, strict=True):
        (alone,) = vae_world.recommender.recommend([request])
        np.testing.assert_allclose(alone.scores, answer.scores, atol=1e-5)
        assert alone.source == answer.source


@pytest.mark.slow
def test_an_answer_that_a_cut_history_shortens_says_so(
    vae: ExportFolder, artifacts: dict[str, Path], vae_world: SimpleNamespace
) -> None:
    limited = Recommender(vae, open_engine(targets.artifact(artifacts["vae"], "onnx-fp32")), history_limit=5)
    users = sorted(vae_world.has)[:50]
    answers = limited.recommend([check_request(user_id=u, k=TOP_K, top_k=TOP_K) for u in users])
    for user, answer in zip(users, answers, strict=True):
        assert not set(answer.item_ids.tolist()) & vae_world.has[user]
        assert len(answer.item_ids) == TOP_K or answer.note, f"user {user}: {len(answer.item_ids)} of {TOP_K}"


@pytest.mark.slow
def test_a_known_user_in_ncf_is_asked_of_the_model(ncf_world: SimpleNamespace) -> None:
    user = sorted(ncf_world.has)[3]
    words: dict[str, Any] = {"user_id": user, "item_ids": ncf_world.ids[:9], "k": 100, "deny": [], "allow": None}
    (answer,) = ncf_world.recommender.recommend([check_request(**words, top_k=TOP_K)])
    _check_answer(ncf_world, words, answer)
    assert answer.note == ""


@pytest.mark.slow
def test_ncf_gives_an_unknown_user_what_is_popular_and_says_why(ncf_world: SimpleNamespace) -> None:
    liked = max(ncf_world.ids, key=lambda i: ncf_world.counts[i])
    stranger = check_request(user_id=10**12, k=7, top_k=TOP_K)
    with_items = check_request(item_ids=[liked, 10**12], k=7, top_k=TOP_K)
    nobody = check_request(k=7, top_k=TOP_K)
    first, second, third = ncf_world.recommender.recommend([stranger, with_items, nobody])
    assert first.source == second.source == third.source == POPULAR
    assert "user 1000000000000 is not known" in first.note
    assert "for its known users only" in second.note
    assert third.note == ""
    assert liked in first.item_ids
    assert liked not in second.item_ids
    assert second.unknown == (10**12,)
    assert len(first.item_ids) == len(second.item_ids) == 7


@pytest.mark.slow
def test_a_bad_flag_is_one_line_and_status_2(python: Any, vae_export: Path) -> None:
    for words in (("--user", "x"), ("--user", "1,2"), ("--items", "-3"), ("-k", "0"), ("--deny", "a")):
        done = python("serving", "recommend", "--export", vae_export, *words)
        assert (done.returncode, done.stdout) == (2, ""), (words, done.stderr)
        assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
