"""Which tables go by rows, and which pass the first layer whole."""

from __future__ import annotations

import pytest

from ncf_tf.lookups import tables_by_rows, tables_projected
from ncf_tf.model import NeuMf
from ncf_tf.rows import Projected


def model(kind: str = "neumf", **options: float) -> NeuMf:
    return NeuMf(40, 100, kind=kind, factors=2, tower=(8, 4), **options)


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
    assert tables_projected(model(), pairs, negatives, []) == expected


def test_what_needs_looked_up_rows_is_not_projected() -> None:
    both, none = Projected(users=True, items=True), Projected()
    assert tables_projected(model("mlp"), 1000, 4, []) == both
    assert tables_projected(model("gmf"), 1000, 4, []) == none
    assert tables_projected(model(), 1000, 4, [], embedding_l2=0.01) == none
    assert tables_projected(model(embedding_dropout=0.1), 1000, 4, []) == none
    neumf = model()
    assert neumf.mlp is not None
    assert tables_projected(neumf, 1000, 4, [neumf.mlp.items]) == Projected(users=True, items=False)
    assert tables_projected(neumf, 1000, 4, tables_by_rows(neumf, 1000, 4, "rows")) == none


@pytest.mark.parametrize(
    ("pairs", "kinds"),
    [(8, []), (7, ["users"]), (4, ["users"]), (3, ["items", "users"])],
)
def test_tables_by_rows_have_five_rows_a_lookup(pairs: int, kinds: list[str]) -> None:
    """40 users looked up `pairs` times and 100 items looked up five times as often."""
    names = {v.name.split(":")[0].split("/")[1] for v in tables_by_rows(model(), pairs, 4)}
    assert sorted(names) == sorted(kinds)
