"""Ids at both ends of int64 in recommendations of a model in memory: none is taken for its neighbour."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys_core import load
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.evaluation.baselines import Popularity
from recsys_core.matrices import item_table, user_table
from tests.recsys_core.test_item_splits import by_hand, popularity

BIG, LARGEST, LEAST = 2**53, 2**63 - 1, -(2**63)


@pytest.fixture
def data() -> Dataset:
    """The first user has all items but the third, the second all but the first, the fourth and the fifth."""
    known = by_hand()
    items = item_table(np.array([BIG, BIG + 1, -1, LEAST, LARGEST]), None, known.train)
    return replace(
        known, item_frame=items, user_frame=user_table({"train": np.array([-BIG - 1, -BIG, 0, BIG + 1])})
    )  # fmt: skip


@pytest.fixture
def model(data: Dataset) -> Popularity:
    return popularity(data)


def items(found: Any) -> list[int]:
    return found["item"].tolist()


def test_users_and_items_come_back_as_they_came(model: Popularity) -> None:
    found = model.recommend([-BIG - 1, -BIG])
    assert found["user"].tolist() == [-BIG - 1, -BIG, -BIG, -BIG]
    assert items(found) == [-1, BIG, LEAST, LARGEST]
    assert items(model.recommend(histories={"x": [BIG, LARGEST]})) == [BIG + 1, -1, LEAST]


@pytest.mark.parametrize(
    "user", [BIG, BIG + 2, 2**63 + 1, -BIG - 2, float(BIG), float(-BIG - 2), 0.5, "0", float("nan")]
)
def test_a_neighbour_is_another_user(model: Popularity, user: Any) -> None:
    with pytest.raises(UserError, match="unknown user .* it is not in the data set"):
        model.recommend([user])


def test_whole_numbers_as_floats_are_the_same_ids(model: Popularity) -> None:
    assert items(model.recommend([0.0])) == items(model.recommend([0])) == [-1, LEAST, LARGEST]
    assert items(model.recommend([float(-BIG)])) == [BIG, LEAST, LARGEST]


def test_lists_of_allowed_and_denied_items(model: Popularity) -> None:
    assert items(model.recommend([-BIG], allow=[LARGEST, BIG + 5, 2**63])) == [LARGEST]
    assert items(model.recommend([-BIG], deny=[LEAST, 2**63])) == [BIG, LARGEST]
    assert items(model.recommend([-BIG], deny=[float(BIG + 2), float(LEAST)])) == [BIG, LARGEST]
    assert items(model.recommend([-BIG], exclude_seen=False, deny=[float(BIG)])) == [BIG + 1, -1, LEAST, LARGEST]


def test_a_saved_model_has_the_same_ids(model: Popularity, data: Dataset, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    assert items(load(tmp_path / "model", data).recommend([-BIG])) == [BIG, LEAST, LARGEST]
    assert items(load(tmp_path / "model").recommend(histories={"x": [BIG + 1]})) == [BIG, -1, LEAST, LARGEST]
