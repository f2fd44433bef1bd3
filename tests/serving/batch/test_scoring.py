"""Blocks of similar length, and answers in the order of the users."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batch import scoring
from serving.batch.scoring import Scorer, block_bounds, padded
from serving.batch.users import UserBlock
from serving.export_folder import Rows
from tests.serving.batch.linear import Items, LinearEngine

N_ITEMS, K = 40, 7


def _rows(histories: list[list[int]]) -> Rows:
    indptr = np.cumsum([0, *map(len, histories)]).astype(np.int64)
    return Rows(indptr=indptr, item_ids=np.array([i for own in histories for i in own], np.int32))


def _block(histories: list[list[int]]) -> UserBlock:
    return UserBlock(ids=np.arange(len(histories)), histories=_rows(histories), rows=None)


@pytest.fixture
def engine() -> LinearEngine:
    weights = np.random.default_rng(3).normal(size=(N_ITEMS, N_ITEMS)).astype(np.float32)
    return LinearEngine(weights, K)


@pytest.fixture
def export(tmp_path: Path) -> Any:
    return Items(tmp_path, list(range(100, 100 + N_ITEMS)), int)


HISTORIES = st.lists(st.lists(st.integers(0, N_ITEMS - 1), unique=True, max_size=N_ITEMS), max_size=30)


@given(histories=HISTORIES)
def test_answers_are_those_of_each_user_alone(histories: list[list[int]]) -> None:
    weights = np.random.default_rng(3).integers(-4, 5, (N_ITEMS, N_ITEMS)).astype(np.float32)
    engine, export = LinearEngine(weights, K), Items(Path(), list(range(N_ITEMS)), int)
    found = Scorer(export, engine, K - 2).answers(_block(histories))  # type: ignore[arg-type]
    assert found.items.shape == (len(histories), K - 2)
    for row, own in enumerate(histories):
        if not own:
            assert (found.items[row] == -1).all()
            continue
        alone = engine({"item_ids": np.array([own], np.int32)})
        assert found.items[row].tolist() == alone["items"][0, : K - 2].tolist()
        assert found.scores[row].tolist() == alone["scores"][0, : K - 2].tolist()


@given(
    lengths=st.lists(st.integers(1, 3_000), max_size=200).map(sorted),
    largest=st.integers(1, 64),
    growth=st.sampled_from([1.0, 1.25, 2.0]),
)
def test_blocks_hold_all_users_once_and_little_padding(lengths: list[int], largest: int, growth: float) -> None:
    array = np.array(lengths, np.int64)
    bounds = list(block_bounds(array, largest, growth))
    assert [place for start, end in bounds for place in range(start, end)] == list(range(len(lengths)))
    for start, end in bounds:
        assert 1 <= end - start <= largest
        assert lengths[end - 1] <= max(growth * lengths[start], scoring.SHORTEST)
        assert end - start == 1 or (end - start) * lengths[end - 1] <= scoring.CELLS


def test_long_histories_keep_the_latest_items_and_answers_leave_out_all(engine: LinearEngine, export: Any) -> None:
    histories = [[5, 1, 9, 3], [2]]
    assert padded(_rows(histories), np.array([0, 1]), N_ITEMS, 2).tolist() == [[9, 3], [2, N_ITEMS]]
    found = Scorer(export, engine, K, history_limit=2).answers(_block(histories))
    expected = engine({"item_ids": np.array([[9, 3]], np.int32)})["items"][0]
    kept = [i for i in expected.tolist() if i not in (5, 1)]
    assert found.items[0].tolist() == kept + [-1] * (K - len(kept))
    assert max(length for _, length in engine.shapes) == 2


def test_popular_items_are_given_only_if_asked(engine: LinearEngine, export: Any) -> None:
    plain, popular = (Scorer(export, engine, 3, popular=p).answers(_block([[], [4]])) for p in (False, True))
    assert plain.items[0].tolist() == [-1, -1, -1] and not plain.popular.any()
    assert popular.items[0].tolist() == [0, 1, 2] and popular.popular.tolist() == [True, False]
    assert popular.scores[0].tolist() == [40, 39, 38]
    assert popular.items[1].tolist() == plain.items[1].tolist()


def test_progress_counts_every_user_once(engine: LinearEngine, export: Any) -> None:
    told: list[int] = []
    Scorer(export, engine, K).answers(_block([[], [1], [2, 3], list(range(35))]), told.append)
    assert sum(told) == 4


@given(histories=HISTORIES, allowed=st.lists(st.booleans(), min_size=N_ITEMS, max_size=N_ITEMS))
def test_an_answer_is_as_long_as_the_allowed_items_let_it(histories: list[list[int]], allowed: list[bool]) -> None:
    weights = np.random.default_rng(5).normal(size=(N_ITEMS, N_ITEMS)).astype(np.float32)
    export, mask = Items(Path(), list(range(N_ITEMS)), int), np.array(allowed)
    for limit in (None, 3):
        scorer = Scorer(
            export,
            LinearEngine(weights, K),
            9,
            allowed=mask,
            history_limit=limit,
            popular=True,  # type: ignore[arg-type]
        )
        found = scorer.answers(_block(histories))
        for own, row in zip(histories, found.items, strict=True):
            left = set(np.flatnonzero(mask).tolist()) - set(own)
            given_items = row[row >= 0].tolist()
            assert len(given_items) == min(9, len(left)) and set(given_items) <= left


def test_a_model_without_all_scores_says_so(engine: LinearEngine, export: Any) -> None:
    export.top_k, engine.outputs = K, frozenset({"items", "scores"})
    with pytest.raises(
        ValueError, match=r"--where and -k above 7 need the scores of all items.*convert an export of this version"
    ):
        Scorer(export, engine, K + 1)
    Scorer(export, engine, K)


def test_an_engine_gets_no_more_users_than_it_takes(engine: LinearEngine, export: Any) -> None:
    Scorer(export, engine, K, batch_limit=2).answers(_block([[1], [2], [3], [4], [5]]))
    assert [batch for batch, _ in engine.shapes] == [2, 2, 1]
