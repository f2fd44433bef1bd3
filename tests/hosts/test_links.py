"""Predictions of a step from what was measured at other speeds of the link (`links`)."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.link import Wires
from tests.hosts.links import parts, prediction, speed, text_of, validity

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
    assert [text_of(rate) for rate in ("1gbit", "100mbit", "off")] == ["1 Gbit/s", "100 Mbit/s", "not limited"]


@pytest.mark.parametrize("rate", ["1gbit", "10gbit", "25gbit", "off"])
def test_each_step_follows_from_the_others(rate: str) -> None:
    jobs = {name: _job(name) for name in ("1gbit", "10gbit", "25gbit", "off")}
    found = prediction(rate, jobs)
    (exchange,) = jobs[rate]["seconds"]["exchange"]
    assert found["predicted_step_ms"] == pytest.approx(1e3 * (1.0 + exchange))
    assert found["predicted_exchange_ms"] == pytest.approx(1e3 * exchange)


def test_what_was_measured_at_the_rate_itself_is_not_used() -> None:
    jobs = {name: _job(name) for name in ("1gbit", "10gbit", "off")}
    expected = 1e3 * jobs["1gbit"]["seconds"]["whole"][0]
    jobs["1gbit"]["seconds"] |= {"whole": [99.0], "silent": [5.0]}
    assert prediction("1gbit", jobs)["predicted_step_ms"] == pytest.approx(expected)


def test_the_exposed_exchange_is_of_the_same_round() -> None:
    job = {"seconds": {"whole": [1.5, 2.5], "silent": [1.0, 1.5], "narrow": [1.25, 2.0], "exchange": [0.5, 1.0]}}
    found = parts(job)
    assert found["exposed_ms"] == [500.0, 1000.0] and found["exposed_fp16_ms"] == [250.0, 500.0]
    assert found["step_alone_ms"] == [1000.0, 1500.0] and found["exchange_ms"] == [500.0, 1000.0]


@pytest.mark.parametrize("stable", [True, False])
def test_a_rate_that_did_not_become_stable_is_not_valid(stable: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_BUSY", raising=False)
    found = validity({"seconds": {"whole": [1.0, 1.0]}, "warm_up": {"windows": 12, "stable": stable}})
    assert bool(found["invalid"]) is not stable
    assert (found["rounds"]["kept"], found["rounds"]["stable"]) == (2, stable)
