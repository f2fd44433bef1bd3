"""Zipf-distributed ids: their law, the permutation of the rows, and what the flag accepts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2

from load_study.zoo.configurations import CONFIGURATIONS, scaled
from load_study.zoo.examples import KeptExamples, drawn
from load_study.zoo.ids import drawn_ids, exponent_of, scattered, zipf_ranks
from tests.conftest import ROOT


@pytest.mark.parametrize("rows", [1, 2, 7, 1000])
@pytest.mark.parametrize("exponent", [0.3, 0.99, 1.0, 1.2, 2.5])
def test_ranks_follow_the_law(exponent: float, rows: int) -> None:
    count = 200_000
    ranks = zipf_ranks(np.random.default_rng(0), exponent, rows, count)
    assert len(ranks) == count
    chances = np.arange(1, rows + 1) ** -exponent
    expected = count * chances / chances.sum()
    observed = np.bincount(ranks, minlength=rows)
    assert len(observed) == rows
    common = expected >= 10
    off = ((observed - expected)[common] ** 2 / expected[common]).sum()
    assert off < chi2.ppf(0.9999, common.sum())
    assert abs(observed[~common].sum() - expected[~common].sum()) < 5 * np.sqrt(expected[~common].sum()) + 1


@pytest.mark.parametrize("rows", [1, 2, 3, 100, 1 << 18, 342_396])
def test_the_rows_are_permuted_and_neighbours_parted(rows: int) -> None:
    places = scattered(np.arange(rows), rows, table=3)
    assert sorted(places.tolist()) == list(range(rows))
    if rows >= 100:
        assert np.abs(np.diff(places[:1000])).min() > rows // 5


def test_the_seed_and_the_table_decide() -> None:
    first, again, other = (drawn_ids(np.random.default_rng(k), 1.1, 500, (40, 3), 2) for k in (0, 0, 1))
    assert first.shape == (40, 3) and first.dtype == np.int32
    assert (first == again).all() and (first != other).any()
    popular = [int(np.bincount(drawn_ids(np.random.default_rng(k), 1.1, 500, (9999,), 2)).argmax()) for k in (0, 1)]
    assert popular[0] == popular[1]
    assert popular[0] != int(np.bincount(drawn_ids(np.random.default_rng(0), 1.1, 500, (9999,), 1)).argmax())


def test_uniform_ids_have_no_popular_row() -> None:
    counts = np.bincount(drawn_ids(np.random.default_rng(0), 0.0, 100, (100_000,)), minlength=100)
    assert counts.min() > 800 and counts.max() < 1200


def test_the_page_states_the_share_of_the_popular_rows() -> None:
    rows = scaled(CONFIGURATIONS["rmc1"], 256 << 20).tables[0].rows
    hottest = []
    for exponent in (0.99, 1.1):
        chances = np.arange(1, rows + 1) ** -exponent
        hottest.append(f"{chances[: rows // 100].sum() / chances.sum():.0%}".replace("%", " %"))
    page = " ".join((ROOT / "docs" / "load.md").read_text().split())
    assert f"In a table of {rows:,} rows (RMC1 at 256 MiB)" in page
    assert f"get {hottest[0]} of the lookups at 0.99, {hottest[1]} at 1.1 and 1 % with uniform ids" in page


@pytest.mark.parametrize("name", list(CONFIGURATIONS))
def test_every_model_is_asked_for_rows_that_it_has(name: str) -> None:
    configuration = scaled(CONFIGURATIONS[name], 1 << 22)
    inputs = drawn(configuration, 50, np.random.default_rng(0), exponent=1.2)
    for feature in configuration.features():
        values = inputs[feature.name]
        assert values.shape == (50, *feature.shape)
        if feature.rows:
            parts = [values] if len(feature.rows) == 1 else [values[:, k] for k in range(len(feature.rows))]
            for part, rows in zip(parts, feature.rows, strict=True):
                assert part.min() >= 0 and part.max() < rows


def test_requests_come_from_many_examples() -> None:
    """2,048 kept examples of NCF asked for so few rows that all were in the processor's caches after a moment."""
    ncf = CONFIGURATIONS["ncf"]
    kept, rng = KeptExamples(ncf, 0.0), np.random.default_rng(0)
    asked = np.unique(np.concatenate([kept.take(1000, rng)["user"] for _ in range(200)]))
    assert len(asked) > 80_000  # of 140,000; 2,048 examples hold no more than 2,048
    assert kept.take(3, rng)["item"].shape == (3,)


def test_a_request_larger_than_what_is_kept_is_whole() -> None:
    rmc3 = scaled(CONFIGURATIONS["rmc3"], 1 << 20)
    assert {len(v) for v in KeptExamples(rmc3, 1.0).take(3000, np.random.default_rng(0)).values()} == {3000}


@pytest.mark.parametrize(("text", "exponent"), [("uniform", 0.0), ("zipf", 0.99), ("zipf:1.2", 1.2)])
def test_what_the_flag_means(text: str, exponent: float) -> None:
    assert exponent_of(text) == exponent


@pytest.mark.parametrize("text", ["zipf:", "zipf:0", "zipf:-1", "zipf:nan", "zipf:11", "uniform:1", "pareto", ""])
def test_what_the_flag_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=f"--ids is '{text}', expected one of uniform, zipf, zipf:EXPONENT"):
        exponent_of(text)
