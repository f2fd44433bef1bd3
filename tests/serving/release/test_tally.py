"""The counts of a shadow: agreement, quantiles, and the sum over instances."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from serving.triton.shadow import settings
from serving.triton.shadow.tally import Durations, Tally


@pytest.mark.parametrize(
    ("served", "candidate", "overlap", "same_first"),
    [
        ([1, 2, 3], [1, 2, 3], 1.0, 1),
        ([1, 2, 3], [3, 2, 1], 1.0, 0),
        ([1, 2, 3, 4], [1, 9], 0.25, 1),
        (["a"], ["b"], 0.0, 0),
        ([1], [], 0.0, 0),
        ([], [], 1.0, 1),
    ],
)
def test_agreement(served: list[object], candidate: list[object], overlap: float, same_first: int) -> None:
    tally = Tally()
    tally.add(served, candidate, (False, True))
    assert (tally.answered, tally.overlap, tally.same_first) == (1, overlap, same_first)
    assert (tally.popular_served, tally.popular_candidate) == (0, 1)


def test_quantiles_are_exact_to_five_percent() -> None:
    seconds = np.random.default_rng(0).lognormal(-5, 1, 5_000)
    found = Durations()
    for value in seconds.tolist():
        found.add(value)
    for share in (0.5, 0.95, 0.99):
        assert found.quantile(share) == pytest.approx(float(np.quantile(seconds, share)), rel=0.06)
    assert found.milliseconds()["max"] == pytest.approx(1e3 * seconds.max(), abs=1e-3)
    assert math.isnan(Durations().quantile(0.5)) and Durations().milliseconds()["mean"] is None


def test_instances_add_up_and_survive_their_file(tmp_path: object) -> None:
    one, other = Tally(offered=10, dropped=2), Tally(offered=5, failed=1, last_error="out of memory")
    one.add([1, 2], [1, 3], (True, False))
    one.served.add(0.001)
    one.candidate.add(0.002)
    other.served.add(0.1)
    one.merge(Tally.from_json(json.loads(json.dumps(other.as_json()))))
    assert (one.offered, one.dropped, one.failed, one.last_error) == (15, 2, 1, "out of memory")
    assert (one.served.count, one.candidate.count, one.served.longest) == (2, 1, 0.1)
    assert one.summary()["overlap_at_k"] == 0.5
    assert Tally.from_json(json.loads(json.dumps(one.as_json()))) == one


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, math.nan])
def test_a_share_that_is_none(share: float) -> None:
    with pytest.raises(ValueError, match="expected a share of the requests above 0 and up to 1"):
        settings.check_share(share)
