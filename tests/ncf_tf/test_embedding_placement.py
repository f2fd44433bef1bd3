"""Which tables go by rows, and which pass the first layer whole."""

from __future__ import annotations

import pytest

from ncf_tf.embedding_placement import choose_projected, choose_sparse_tables
from ncf_tf.lookup import Projected
from ncf_tf.model import NeuMf
from tests.models import neumf as make_neumf


def model(kind: str = "neumf", **options: float) -> NeuMf:
    return make_neumf(40, 100, kind=kind, factors=2, layers=(8, 4), **options)


@pytest.mark.parametrize(
    ("pairs", "negatives", "expected"),
    [
        (39, 1, Projected(users=False, items=False)),  # 39 users and 78 items are looked up
        (40, 1, Projected(users=True, items=False)),
        (25, 3, Projected(users=False, items=True)),
        (50, 1, Projected(users=True, items=True)),
    ],
)
def test_tables_with_fewer_rows_than_lookups_are_projected(pairs: int, negatives: int, expected: Projected) -> None:
    assert choose_projected(model(), pairs, negatives, []) == expected


def test_what_needs_looked_up_rows_is_not_projected() -> None:
    both, none = Projected(users=True, items=True), Projected()
    assert choose_projected(model("mlp"), 1000, 4, []) == both
    assert choose_projected(model("gmf"), 1000, 4, []) == none
    assert choose_projected(model(), 1000, 4, [], embedding_l2=0.01) == none
    assert choose_projected(model(embedding_dropout=0.1), 1000, 4, []) == none
    neumf = model()
    assert neumf.mlp is not None
    assert choose_projected(neumf, 1000, 4, [neumf.mlp.items]) == Projected(users=True, items=False)
    assert choose_projected(neumf, 1000, 4, choose_sparse_tables(neumf, 1000, 4, "rows")) == none


@pytest.mark.parametrize(
    ("pairs", "kinds"),
    [(8, []), (7, ["users"]), (4, ["users"]), (3, ["items", "users"])],
)
def test_sparse_tables_have_more_than_five_rows_for_each_lookup(pairs: int, kinds: list[str]) -> None:
    """40 users looked up `pairs` times and 100 items looked up five times as often."""
    names = {v.name.split(":")[0].split("/")[1] for v in choose_sparse_tables(model(), pairs, 4)}
    assert sorted(names) == sorted(kinds)
