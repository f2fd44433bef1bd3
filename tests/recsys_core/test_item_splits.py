"""Data sets that hold out several items of training users, without candidates: views, histories and metrics by hand."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ncf_tf import NeuMf
from recsys_core import user_histories
from recsys_core.config import FINAL_FIT, EvaluationConfig
from recsys_core.dataset import Dataset, verify_integrity
from recsys_core.errors import SharedError, UserError
from recsys_core.evaluation.baselines import Ease, Popularity
from recsys_core.evaluation.criteria import criteria
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.evaluation.significance import per_user
from recsys_core.known_users import check_held_out
from recsys_core.matrices import HeldOut, item_table, user_table
from recsys_core.world import World
from tests.item_splits import csr, held_out, write

ITEMS = 5
TRAIN = {0: [0, 1], 1: [1, 2], 2: [1], 3: [1, 3]}
VALID = {2: [0], 0: [4]}
TEST = {3: [0, 2], 0: [3]}
SEEN = TRAIN | {0: [0, 1, 4], 2: [0, 1]}
EVERYTHING = [[0, 1, 3, 4], [1, 2], [0, 1], [0, 1, 2, 3]]


def by_hand() -> Dataset:
    """Of three users items are held out: of user 0 for both, of user 2 for validation, of user 3 for the test."""
    train = csr(list(TRAIN.values()), ITEMS)
    return Dataset(
        train=train,
        valid=held_out(TRAIN, VALID, ITEMS),
        test=held_out(SEEN, TEST, ITEMS),
        item_frame=item_table(np.array(list("abcde")), None, train),
        user_frame=user_table({"train": np.array(["ann", "bob", "cid", "dee"])}),
    )


@pytest.fixture(params=["memory", "folder"])
def data(request: pytest.FixtureRequest, tmp_path: Path) -> Dataset:
    made = by_hand()
    if request.param == "memory":
        return made
    folder = write(made, tmp_path / "data")
    verify_integrity(folder)
    return Dataset.open(folder)


def popularity(data: Dataset) -> Popularity:
    model = Popularity(data)
    model.solve()
    return model


def rows(matrix: Any) -> list[list[int]]:
    return [matrix.indices[a:b].tolist() for a, b in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True)]


def test_held_out_items_and_candidates_are_told_apart(data: Dataset, tiny_data: Path, tiny_pairs: Path) -> None:
    users, pairs = Dataset.open(tiny_data), Dataset.open(tiny_pairs)
    found = [(d.holds_out_items, d.has_candidates) for d in (data, pairs, users, Dataset.empty(2, 3))]
    assert found == [(True, False), (True, True), (False, False), (False, False)]


def test_values_by_hand(data: Dataset) -> None:
    """Training users have item b four times, a, c and d once, e never. Dee gets a, c, e: both to be found are first.
    Ann gets c, d: the one to be found is second."""
    wanted = {"hr@1": (1, 0), "recall@1": (1, 0), "uncapped-recall@1": (0.5, 0), "recall@2": (1, 1)}
    for metric, (dee, ann) in wanted.items():
        found = per_user(popularity(data), data, metric)
        assert found.to_dict() == {"dee": dee, "ann": ann}
    valid = per_user(popularity(data), data, "recall@1", split="valid")
    assert valid.to_dict() == {"cid": 1, "ann": 0}  # cid gets a; ann gets c, d, e, and e was to be found


def test_histories_hold_all_items_of_a_user(data: Dataset) -> None:
    assert rows(user_histories.histories(data)) == EVERYTHING
    assert user_histories.users(data)["user_id"].tolist() == ["ann", "bob", "cid", "dee"]
    assert rows(user_histories.histories(data.viewed(FINAL_FIT))) == EVERYTHING


def test_recommendations_leave_out_all_items_of_a_user(data: Dataset) -> None:
    found = popularity(data).recommend(["dee", "bob"])
    assert found.groupby("user")["item"].apply(list).to_dict() == {"dee": ["e"], "bob": ["a", "d", "e"]}


def test_the_final_fit_trains_on_validation_items(data: Dataset) -> None:
    viewed = data.viewed(FINAL_FIT)
    assert rows(viewed.train) == [[0, 1, 4], [1, 2], [0, 1], [1, 3]]
    assert viewed.valid is data.test and viewed.test is data.test
    assert viewed.fingerprint == data.fingerprint
    found = per_user(popularity(viewed), viewed, "hr@1", split="valid")
    assert found.to_dict() == {"dee": 1, "ann": 0}


def test_a_final_fit_of_held_out_users_is_refused(tiny_data: Path) -> None:
    with pytest.raises(UserError, match="holds out users; --final-fit needs .*leave-one-out, time, per-user or given"):
        Dataset.open(tiny_data).viewed(FINAL_FIT)


def test_contents_decide_the_fingerprint() -> None:
    one, other = by_hand(), by_hand()
    assert one.fingerprint == other.fingerprint
    assert other.test is not None and other.test.train_rows is not None
    moved = replace(other.test, train_rows=other.test.train_rows[::-1].copy())
    assert replace(by_hand(), test=moved).fingerprint != one.fingerprint


class Sampled(EvaluationConfig):
    PROTOCOL = "sampled"


@pytest.mark.parametrize("metrics", [("hr@10", "ndcg@10"), ("recall@5/all", "hr@10")])
def test_metrics_without_a_protocol_rank_all_items_where_there_are_no_candidates(metrics: tuple[str, ...]) -> None:
    config = Sampled(metrics=metrics, primary="hr@10", gate=("hr@10:0.1",), target="ndcg@5:0.1")
    found = criteria(config, by_hand())
    assert str(found.primary) == "hr@10/all"
    assert [str(m) for m in found.metrics] == [m if "/" in m else f"{m}/all" for m in metrics] + ["ndcg@5/all"]
    assert (str(found.conditions[0]), str(found.target)) == ("hr@10/all>=0.1", "ndcg@5/all>=0.1")
    changed = "hr@10 is hr@10/all, ndcg@10 is ndcg@10/all" if "ndcg@10" in metrics else "hr@10 is hr@10/all"
    assert found.note == f"the data set in memory has no lists of candidates: {changed}, over the whole catalogue"


def test_metrics_keep_the_protocol_that_is_written(tiny_pairs: Path) -> None:
    written = Sampled(metrics=("hr@10/sampled",), primary="hr@10/sampled")
    assert criteria(written, by_hand()).metrics[0].is_sampled  # refused later, see `check_candidates`
    assert criteria(written, by_hand()).note == ""
    unwritten = criteria(Sampled(metrics=("hr@10",), primary="hr@10"), Dataset.open(tiny_pairs))
    assert (str(unwritten.primary), unwritten.note) == ("hr@10/sampled", "")
    assert criteria(EvaluationConfig(), by_hand()).note == ""  # VAE-CF's mean all items anyway


def changed(split: str = "test", **fields: Any) -> Dataset:
    data = by_hand()
    return replace(data, **{split: replace(data.held_out(split), **fields)})


LISTS = np.array([[0, 4], [3, 2]], np.int32)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(train_rows=None), "test does not name the user of each row"),
        (changed("valid", train_rows=np.array([2], np.int32)), "valid does not name the user of each row"),
        (changed(train_rows=np.array([3, 4], np.int32)), "test names user 4, expected 0 to 3"),
        (changed("valid", train_rows=np.array([-1, 0], np.int32)), "valid names user -1, expected 0 to 3"),
        (changed(candidates=LISTS), "valid has no complete lists of candidates"),
        (replace(changed("valid", candidates=LISTS), test=changed(candidates=LISTS + 2).test), "test names item 6"),
        (replace(by_hand(), train=csr([[], [1], [1], [1]], ITEMS)), "the user in row 0 has a valid item but no"),
    ],
)  # fmt: skip
def test_damaged_rows_are_refused(data: Dataset, message: str) -> None:
    with pytest.raises(UserError, match=message):
        check_held_out(data)


def test_whole_rows_are_taken(tiny_pairs: Path) -> None:
    check_held_out(by_hand())
    check_held_out(Dataset.open(tiny_pairs))


def test_a_model_that_knows_its_users_is_not_evaluated_on_others() -> None:
    data = by_hand()
    others = HeldOut(fold_in=csr([[1]], ITEMS), fold_out=csr([[0]], ITEMS))
    for device_bytes in (0.0, 1e9):
        evaluator = Evaluator(
            others, [parse_metric("hr@1")], world=World(), n_items=ITEMS, device_bytes=device_bytes
        )  # fmt: skip
        with pytest.raises(SharedError, match="NeuMf scores only users that it was trained on"):
            evaluator.evaluate(NeuMf(data, kind="gmf", factors=2))


def test_ease_learns_from_the_training_items_only() -> None:
    model = Ease(by_hand(), regularization=1.0)
    model.solve()
    weights = model.parameters[0].numpy()
    assert not weights[4].any() and not weights[:, 4].any()  # item e is nobody's training item
