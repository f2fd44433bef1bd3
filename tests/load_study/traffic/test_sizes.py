"""Every query has a size of its own, within its limits."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from load_study.traffic.sizes import Sizes, parse


def _sizes(text: str, maximum: int = 1024) -> Sizes:
    return parse(text, maximum, np.random.default_rng(0))


def test_fixed() -> None:
    assert _sizes("fixed:16")(3).tolist() == [16, 16, 16]


def test_normal_takes_the_standard_deviation() -> None:
    drawn = _sizes("normal:165,16")(20_000)
    assert drawn.dtype == np.int64
    assert drawn.mean() == pytest.approx(165, abs=0.5)
    assert drawn.std() == pytest.approx(16, abs=0.4)


def test_lognormal() -> None:
    drawn = _sizes("lognormal:5.1,0.2")(20_000)
    smooth = drawn + np.random.default_rng(1).random(20_000) - 0.5  # undoes the rounding
    assert stats.kstest((np.log(smooth) - 5.1) / 0.2, "norm").pvalue > 0.001
    assert np.median(drawn) == pytest.approx(math.exp(5.1), rel=0.01)


def test_sizes_are_drawn_anew_for_every_query() -> None:
    sizes = _sizes("lognormal:5.1,0.2")
    first, second = sizes(5000), sizes(5000)
    assert not np.array_equal(first, second)
    assert len(np.unique(first)) > 150
    for lag in (1, 32, 512):  # no short list is played again
        assert abs(np.corrcoef(first[lag:], first[:-lag])[0, 1]) < 0.06


@pytest.mark.parametrize("text", ["normal:4,50", "lognormal:1,3"])
def test_sizes_are_clipped(text: str) -> None:
    drawn = _sizes(text, 8)(1000)
    assert drawn.min() == 1
    assert drawn.max() == 8


def test_a_file_is_drawn_from_uniformly_and_clipped(tmp_path: Path) -> None:
    path = tmp_path / "sizes.txt"
    path.write_text("2\n4\n4\n90\n")
    values, counts = np.unique(_sizes(f"file:{path}", 64)(8000), return_counts=True)
    assert values.tolist() == [2, 4, 64]
    assert stats.chisquare(counts, [2000, 4000, 2000]).pvalue > 0.001


@pytest.mark.parametrize("line, given", [("0", "0"), ("2.5", "2.5"), ("-3", "-3")])
def test_a_bad_line(line: str, given: str, tmp_path: Path) -> None:
    path = tmp_path / "sizes.txt"
    path.write_text(f"7\n{line}\n")
    with pytest.raises(ValueError, match=rf"line 2 of .* is {given}, expected a whole number of at least 1"):
        _sizes(f"file:{path}")


@pytest.mark.parametrize("text, says", [
    ("fixed", "sizes are 'fixed', expected one of fixed:SIZE, normal:MEAN,STD, lognormal:MU,SIGMA, file:PATH"),
    ("fixed:2.5", "sizes are 'fixed:2.5', expected one of"),
    ("normal:1", "sizes are 'normal:1', expected one of"),
    ("normal:nan,1", "sizes are 'normal:nan,1', expected one of"),
    ("zipf:1", "sizes are 'zipf:1', expected one of"),
    ("normal:9,-1", "the standard deviation of the sizes is -1.0, expected at least 0"),
    ("lognormal:9,-1", "sigma of the sizes is -1.0, expected at least 0"),
    ("fixed:2000", "the fixed size is 2000, expected 1 to 1024"),
])  # fmt: skip
def test_bad_texts(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=re.escape(says)):
        _sizes(text)


def test_a_bad_maximum() -> None:
    with pytest.raises(ValueError, match="the largest size is 0, expected at least 1"):
        _sizes("fixed:1", 0)
