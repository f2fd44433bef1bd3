"""Simulated engines: who is served when, stalls, and profiles that are not cut off."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from load_study.engines.profile import Profile
from load_study.engines.simulated import SimulatedPool
from load_study.traffic.clock import VirtualClock
from load_study.traffic.queries import Query


class Answers:
    """Who finished when, with what."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float, str | None]] = []

    def __call__(self, query: Query, finished: float, error: str | None) -> None:
        self.seen.append((query.number, finished, error))


def _served(clock: VirtualClock, pool: SimulatedPool, *queries: tuple[float, int]) -> Answers:
    answers = Answers()
    for number, (due, size) in enumerate(queries):
        clock.sleep_until(due)
        pool.submit(Query(number, due, size), answers)
    clock.run_all()
    return answers


def test_two_servers_one_queue() -> None:
    clock = VirtualClock()
    answers = _served(clock, SimulatedPool(clock, 2, float), (0, 5), (0, 1), (0, 2), (0, 1))
    assert answers.seen == [(1, 1.0, None), (2, 3.0, None), (3, 4.0, None), (0, 5.0, None)]


def test_a_queue_limit_counts_who_waits() -> None:
    clock = VirtualClock()
    answers = _served(clock, SimulatedPool(clock, 1, float, queue_limit=1), (0, 2), (0, 2), (1, 2), (2, 2))
    assert answers.seen == [(2, 1.0, "queue full"), (0, 2.0, None), (1, 4.0, None), (3, 6.0, None)]


def test_a_stall_stops_who_is_served_and_who_comes() -> None:
    clock = VirtualClock()
    pool = SimulatedPool(clock, 2, float)
    pool.stall(at=1.0, seconds=10.0)
    answers = _served(clock, pool, (0, 2), (3, 2), (20, 2))
    assert answers.seen == [(0, 12.0, None), (1, 13.0, None), (2, 22.0, None)]


def test_stalls_that_overlap_are_not_added() -> None:
    clock = VirtualClock()
    pool = SimulatedPool(clock, 1, float)
    pool.stall(at=1.0, seconds=4.0)
    pool.stall(at=2.0, seconds=1.0)
    pool.stall(at=3.0, seconds=4.0)
    assert _served(clock, pool, (0, 2)).seen == [(0, 8.0, None)]  # stopped from 1 to 7


@pytest.mark.parametrize("servers, limit, says", [
    (0, None, "servers are 0, expected at least 1"),
    (1, -1, "queue_limit is -1, expected None or at least 0"),
])  # fmt: skip
def test_a_bad_pool(servers: int, limit: int | None, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        SimulatedPool(VirtualClock(), servers, float, queue_limit=limit)


def test_a_bad_service() -> None:
    clock = VirtualClock()
    with pytest.raises(ValueError, match="the service of size 3 takes 0 s, expected more than 0"):
        _served(clock, SimulatedPool(clock, 1, lambda size: 0), (0, 3))


PROFILE = {1: 2e-3, 64: 3e-3, 1024: 11e-3, 512: 5e-3}


@pytest.mark.parametrize("size, seconds", [
    (1, 2e-3), (64, 3e-3), (1024, 11e-3),
    (288, 4e-3),  # halfway from 64 to 512
    (1536, 17e-3), (4096, 47e-3),  # 6 ms for each 512 more, for ever
])  # fmt: skip
def test_a_profile(size: int, seconds: float) -> None:
    assert Profile(PROFILE)(size) == pytest.approx(seconds)
    assert Profile.is_simulated


def test_below_its_least_point_a_profile_is_flat() -> None:
    assert Profile({16: 2e-3, 32: 3e-3})(1) == 2e-3


@pytest.mark.parametrize("name, text", [
    ("p.json", '{"1": 0.002, "3": 0.004}'),
    ("p.csv", "1,0.002\n3,0.004\n"),
    ("p.csv", "size,seconds\n3,0.004\n\n1,0.002\n"),
])  # fmt: skip
def test_reading_a_profile(name: str, text: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    assert Profile.read(tmp_path / name)(2) == pytest.approx(0.003)


@pytest.mark.parametrize("name, text, says", [
    ("p.csv", "size,seconds\n1,0.1\n2,x\n", "line 3 of .* is '2,x', expected SIZE,SECONDS"),
    ("p.csv", "1,0.1\n2.5,0.2\n", "line 2 of .* is '2.5,0.2', expected SIZE,SECONDS"),
    ("p.csv", "1,0.1\n2\n", "line 2 of .* is '2', expected SIZE,SECONDS"),
    ("p.csv", "1,0.1\n1,0.2\n", "line 2 of .* is '1,0.2', expected a size that is not there yet"),
    ("p.csv", "1,0.1\n", "the profile has 1 points, expected at least 2"),
    ("p.csv", "0,0.1\n2,0.1\n", "the profile says 0.1 s for size 0, expected both above 0"),
    ("p.csv", "1,0.1\n2,0\n", "the profile says 0.0 s for size 2, expected both above 0"),
    ("p.csv", "1,0.2\n2,0.1\n", "the profile falls from size 1 to 2, expected not"),
    ("p.json", "{1}", "line 1 of .* is not JSON"),
    ("p.json", "[1]", "holds a list, expected an object"),
    ("p.json", '{"1": null, "2": 1}', "an entry of .* is '1,None', expected SIZE,SECONDS"),
])  # fmt: skip
def test_a_bad_profile(name: str, text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=says):
        Profile.read(tmp_path / name)


def test_no_profile(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape("expected a profile: JSON {SIZE: SECONDS} or CSV SIZE,SECONDS")):
        Profile.read(tmp_path / "nowhere.json")
