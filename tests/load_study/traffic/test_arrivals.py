"""Arrivals come when their process says, and wrong texts and files are named."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from load_study.traffic.arrivals import bursts, constant, parse, poisson, trace


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def _chance_exponential(gaps: np.ndarray) -> float:
    return float(stats.kstest(gaps, "expon", args=(0, 1 / 50)).pvalue)


def test_poisson_gaps_are_exponential() -> None:
    gaps = np.diff(poisson(50.0, _rng())(400.0), prepend=0.0)
    assert len(gaps) == pytest.approx(20_000, abs=4 * 20_000**0.5)
    assert _chance_exponential(gaps) > 0.001


def test_gaps_of_whole_milliseconds_would_be_found_out() -> None:
    gaps = _rng().poisson(20.0, 20_000) / 1000  # as DeepRecSys draws them
    assert _chance_exponential(gaps) < 1e-100


def test_poisson_counts_have_their_mean_as_variance() -> None:
    counts = np.bincount(poisson(50.0, _rng())(1000.0).astype(int), minlength=1000)
    spread = counts.var(ddof=1) / counts.mean() * 999
    assert 0.001 < stats.chi2.cdf(spread, 999) < 0.999


def test_poisson_gaps_know_nothing_of_each_other() -> None:
    gaps = np.diff(poisson(50.0, _rng())(400.0))
    assert abs(np.corrcoef(gaps[1:], gaps[:-1])[0, 1]) < 4 / 20_000**0.5


def test_poisson_fills_the_span_though_the_first_draw_was_short() -> None:
    class Short:
        def exponential(self, mean: float, count: int) -> np.ndarray:
            return np.full(count, mean / 10)

    times = poisson(5.0, Short())(100.0)  # type: ignore[arg-type]
    assert times[-1] == pytest.approx(100.0, abs=0.03)


def test_constant() -> None:
    np.testing.assert_allclose(constant(4.0)(1.2), [0, 0.25, 0.5, 0.75, 1.0])


def test_bursts_are_silent_between_and_keep_the_rate() -> None:
    times = bursts(50.0, _rng(), period=2.0, share=0.1)(400.0)
    assert len(times) == pytest.approx(20_000, abs=4 * 20_000**0.5)
    assert (times % 2.0).max() < 0.2
    assert (np.diff(times) >= 0).all()
    assert times[-1] > 398


def test_a_trace_of_lines_is_played_from_its_first_time_and_again(tmp_path: Path) -> None:
    path = tmp_path / "trace.txt"
    path.write_text("100\n101\n104\n")
    np.testing.assert_allclose(trace(path)(9.0), [0, 1, 4, 6, 7])  # 4 s and one mean gap of 2 s


def test_a_trace_is_a_column_of_a_csv_and_scales(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("user,seconds\n7,0\n8,1\n9,4\n")
    np.testing.assert_allclose(trace(path, rate=1.0)(4.0), [0, 0.5, 2, 3, 3.5])


@pytest.mark.parametrize("lines, says", [
    ("1\nx\n", "line 2 of .* is 'x', expected a number (seconds)"),
    ("1\n\n3\n2\n", "line 4 of .* is 2.0, expected a time of at least 3.0, the one above"),
    ("5\n5\n", "no two times that differ"),
    ("", "holds no line"),
    ("1,2\n", "line 1 of .* is '1,2', expected a number (seconds)"),
    ("a,seconds\n1\n", "line 2 of .* is '1', expected a number (seconds)"),
    ("1\nnan\n", "line 2 of .* is 'nan', expected a number (seconds)"),
])  # fmt: skip
def test_a_bad_trace(lines: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(lines)
    with pytest.raises(ValueError, match=says.replace("(", r"\(").replace(")", r"\)")):
        trace(path)


def test_no_trace(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no .*nowhere, expected a file with one of seconds a line"):
        trace(tmp_path / "nowhere")


@pytest.mark.parametrize("text, mean", [("poisson", 50), ("constant", 50), ("bursts", 50), ("bursts:0.5,0.1", 50)])
def test_names(text: str, mean: float) -> None:
    assert len(parse(text, 50.0, _rng())(100.0)) / 100 == pytest.approx(mean, rel=0.1)


def test_a_trace_by_name_needs_no_rate(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("0\n1\n")
    np.testing.assert_allclose(parse(f"trace:{tmp_path / 't'}", None, _rng())(3.0), [0, 1, 2])


@pytest.mark.parametrize("text, rate, says", [
    ("uniform", 1.0, "arrivals are 'uniform', expected one of poisson, constant, bursts[:PERIOD,SHARE], trace:PATH"),
    ("trace", 1.0, "arrivals are 'trace', expected one of poisson"),
    ("poisson:3", 1.0, "arrivals are 'poisson:3', expected one of poisson"),
    ("poisson", None, "arrivals 'poisson' have no rate, expected queries per second"),
    ("poisson", 0.0, "the rate is 0.0, expected more than 0 queries per second"),
    ("constant", float("nan"), "the rate is nan, expected more than 0"),
    ("bursts:1", 1.0, "arrivals are 'bursts:1', expected bursts:PERIOD,SHARE"),
    ("bursts:1,2", 1.0, "bursts are 1.0,2.0, expected PERIOD above 0 seconds and SHARE in (0, 1]"),
])  # fmt: skip
def test_bad_texts(text: str, rate: float | None, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        parse(text, rate, _rng())
