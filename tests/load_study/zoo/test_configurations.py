"""The published numbers, what follows from them, and scaling down. Nothing is built here."""

from __future__ import annotations

import pytest

from load_study.zoo.configurations import CONFIGURATIONS, FEWEST_ROWS, named, scaled
from load_study.zoo.kinds import Configuration, Table

NAMES = ["rmc1", "rmc2", "rmc3", "ncf", "wnd", "mtwnd", "din", "dien"]


def test_there_are_eight_models() -> None:
    assert list(CONFIGURATIONS) == NAMES
    assert all(CONFIGURATIONS[name].name == name for name in NAMES)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match="name is 'rmc4', expected one of rmc1, rmc2, rmc3, ncf, wnd, mtwnd, din, dien"
    ):
        named("rmc4")


@pytest.mark.parametrize("field", ["rows", "width", "lookups"])
def test_a_table_has_something(field: str) -> None:
    given = {"rows": 3, "width": 2, "lookups": 1} | {field: 0}
    with pytest.raises(ValueError, match=f"{field} of table t is 0, expected at least 1"):
        Table(name="t", **given)


def test_rmc1_by_hand() -> None:
    rmc1 = CONFIGURATIONS["rmc1"]
    assert rmc1.table_bytes == 4_096_000_000  # 8 tables x 4 million rows x 32 numbers x 4 bytes
    # 128 -> 64 -> 32; 32 beside 8 x 32 make 288 -> 256 -> 64 -> 1; each with biases.
    dense = (128 * 64 + 64) + (64 * 32 + 32) + (288 * 256 + 256) + (256 * 64 + 64) + (64 + 1)
    assert dense == 100_833
    assert rmc1.dense_bytes == 403_332
    assert rmc1.parameters == 1_024_100_833
    assert rmc1.operations == 200_832  # 2 x (8,192 + 2,048 + 73,728 + 16,384 + 64)


def test_ncf_by_hand() -> None:
    ncf = CONFIGURATIONS["ncf"]
    assert ncf.table_bytes == 86_016_000  # twice 140,000 users and 28,000 items x 64 numbers x 4 bytes
    # 128 -> 256 -> 256 -> 128 -> 64; 64 beside the product's 64 make 128 -> 1.
    dense = (128 * 256 + 256) + (256 * 256 + 256) + (256 * 128 + 128) + (128 * 64 + 64) + (128 + 1)
    assert dense == 140_097
    assert ncf.dense_bytes == 560_388
    assert ncf.parameters == 21_504_000 + 140_097
    assert ncf.operations == 278_784  # 2 x (32,768 + 65,536 + 32,768 + 8,192 + 128)


@pytest.mark.parametrize("name, table_bytes", [
    ("rmc2", 4_096_000_000),  # 32 x 500,000 x 64
    ("rmc3", 2_560_000_000),  # 10 x 2 million x 32
    ("wnd", 3_456_000_000 + 4_000_000),  # 27 x 1 million x 32, and a wide weight for each of 1 million crosses
    ("mtwnd", 3_904_000_000 + 16_000_000),  # (41 x 500,000 + 2 x 5 million) x 32, and four wide weights
    ("din", 128 * (1_000_000 + 250 * 100_000 + 20_000_000)),
    ("dien", 3_904_000_000),  # 43 tables, 40 of them of behaviours
])  # fmt: skip
def test_tables_by_hand(name: str, table_bytes: int) -> None:
    assert CONFIGURATIONS[name].table_bytes == table_bytes


@pytest.mark.parametrize("name, operations", [
    # 2,560 -> 1,024 -> 256 -> 32; 32 + 10 x 32 = 352 -> 512 -> 256 -> 1
    ("rmc3", 2 * (2_560 * 1_024 + 1_024 * 256 + 256 * 32 + 352 * 512 + 512 * 256 + 256)),
    # 512 + 27 x 32 = 1,376 -> 1,024 -> 512 -> 256 -> 1
    ("wnd", 2 * (1_376 * 1_024 + 1_024 * 512 + 512 * 256 + 256)),
    # 512 + 43 x 32 = 1,888 -> 1,024 -> 512, four times 512 -> 256 -> 128 -> 1
    ("mtwnd", 2 * (1_888 * 1_024 + 1_024 * 512 + 4 * (512 * 256 + 256 * 128 + 128))),
    # 250 times 128 -> 36 -> 1, 250 weights x 32, 128 -> 200 -> 80 -> 2
    ("din", 2 * (250 * (128 * 36 + 36) + 250 * 32 + 128 * 200 + 200 * 80 + 80 * 2)),
    # 40 steps: 32 -> 192 and 64 -> 192, then 64 -> 192 twice; attention 32 x 64 and 40 x 64; 160 -> 200 -> 80 -> 2
    ("dien", 2 * (40 * 192 * (32 + 64 + 64 + 64) + 32 * 64 + 40 * 64 + 160 * 200 + 200 * 80 + 80 * 2)),
])  # fmt: skip
def test_operations_by_hand(name: str, operations: int) -> None:
    assert CONFIGURATIONS[name].operations == operations


def test_din_has_its_behaviours() -> None:
    shapes = {feature.name: feature.shape for feature in CONFIGURATIONS["din"].features()}
    assert shapes == {"user": (3,), "behaviours": (250, 3), "ad": (3,), "context": (3,)}


def _shape_of(configuration: Configuration) -> list[tuple[str, int, int]]:
    return [(t.name, t.width, t.lookups) for t in configuration.tables]


@pytest.mark.parametrize("mib", [3, 17, 256, 1024])
@pytest.mark.parametrize("name", NAMES)
def test_scaling_fits_and_fills(name: str, mib: int) -> None:
    published, small = CONFIGURATIONS[name], scaled(CONFIGURATIONS[name], mib << 20)
    assert small.table_bytes <= mib << 20
    assert _shape_of(small) == _shape_of(published)
    assert small.dense_parameters == published.dense_parameters
    assert small.operations == published.operations
    if small is not published:  # a row more in each table would not fit
        assert small.table_bytes + sum(4 * t.width for t in small.tables) > mib << 20


@pytest.mark.parametrize("name", NAMES)
def test_scaling_takes_one_factor(name: str) -> None:
    published, small = CONFIGURATIONS[name], scaled(CONFIGURATIONS[name], 64 << 20)
    factors = {t.rows / p.rows for p, t in zip(published.tables, small.tables, strict=True)}
    fewest = min(t.rows for t in small.tables)
    assert max(factors) < 1.0
    assert max(factors) == pytest.approx(min(factors), rel=1.0 / fewest)


def test_a_budget_that_is_large_enough_changes_nothing() -> None:
    ncf = CONFIGURATIONS["ncf"]
    assert scaled(ncf, 86_016_000) is ncf
    assert scaled(ncf, 86_015_999).table_bytes < 86_016_000


def test_no_table_gets_fewer_rows_than_the_fewest() -> None:
    # NCF's tables have 5 rows of users for each of items: at its least size all have 100.
    least = 4 * 100 * 64 * 4
    assert {t.rows for t in scaled(CONFIGURATIONS["ncf"], least).tables} == {FEWEST_ROWS}
    assert min(t.rows for t in scaled(CONFIGURATIONS["ncf"], 2 * least).tables) == FEWEST_ROWS
    with pytest.raises(ValueError, match=f"table_bytes is {least - 1}, expected at least {least}: 100 rows"):
        scaled(CONFIGURATIONS["ncf"], least - 1)
