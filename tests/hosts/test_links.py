"""Predictions of a step from what was measured at other speeds of the link (`links`)."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.link import Wires
from tests.hosts.links import predictions, speed

WIRES = Wires(latency=5e-5, host=2e-10, wire=1.1)


def _job(rate: str) -> dict[str, Any]:
    """What two ranks would measure: one second of compute and 100 MB of gradients."""
    link = WIRES.link(speed(rate))
    exchange = link.seconds(2, 100e6)
    sums = [{"bytes": size, "seconds": [link.seconds(2, size)]} for size in (1_024, 1_048_576, 67_108_864)]
    seconds = {"whole": [1.0 + exchange], "silent": [1.0], "exchange": [exchange]}
    return {"ranks": 2, "gradient_bytes": 100e6, "seconds": seconds, "sums": sums}


def test_speeds_of_tc() -> None:
    assert speed("10gbit") == 1.25e9
    assert speed("100mbit") == 12.5e6
    assert speed("off") == float("inf")


@pytest.mark.parametrize("rate", ["1gbit", "10gbit", "25gbit", "off"])
def test_each_step_follows_from_the_others(rate: str) -> None:
    jobs = {name: _job(name) for name in ("1gbit", "10gbit", "25gbit", "off")}
    row = next(row for row in predictions(jobs) if row[0] == rate)
    assert row[1] == row[2]  # the measured and the predicted step, in ms
    assert row[3] in ("+0%", "-0%")
    assert row[4] == row[5]


def test_what_was_measured_at_the_rate_itself_is_not_used() -> None:
    jobs = {name: _job(name) for name in ("1gbit", "10gbit", "off")}
    slow = jobs["1gbit"]["seconds"]["whole"][0]
    jobs["1gbit"]["seconds"]["whole"] = [2 * slow]
    jobs["1gbit"]["seconds"]["silent"] = [5.0]
    row = predictions(jobs)[0]
    assert (row[1], row[2], row[3]) == (f"{2e3 * slow:,.0f}", f"{1e3 * slow:,.0f}", "-50%")
