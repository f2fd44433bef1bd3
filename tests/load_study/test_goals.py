"""Where the target of a search comes from, and that an unverified number is marked."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest

from load_study.goals import DEFAULT, FROM_MEMORY, GIVEN, PUBLISHED, add_goal_flags, goal_of, target_of
from load_study.known_delays import rate_in_theory
from load_study.search import Goal
from load_study.subjects import Subject
from load_study.tables import goal
from load_study.traffic.theory import MDc, MMc


def _parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_goal_flags(parser)
    return parser.parse_args(words)


@pytest.mark.parametrize(
    ("subject", "words", "expected"),
    [
        (Subject(model="wnd"), (), (25.0, PUBLISHED)),
        (Subject(model="rmc2"), (), (400.0, FROM_MEMORY)),
        (Subject(model="rmc2"), ("--target-ms", "30"), (30.0, GIVEN)),
        (Subject(model="delay:10"), (), (50.0, DEFAULT)),
        (Subject(model="vaecf", export=Path("e")), (), (50.0, DEFAULT)),
    ],
)
def test_every_target_says_where_it_comes_from(
    subject: Subject, words: tuple[str, ...], expected: tuple[float, str]
) -> None:
    assert target_of(subject, _parsed(*words)) == expected


def test_the_goal_of_the_flags() -> None:
    found = goal_of(30.0, _parsed("--level", "p99", "--most", "2"))
    assert (found.level, found.seconds, found.most) == (0.99, 0.03, 2)


def test_a_number_from_memory_is_marked() -> None:
    row = {"level": 0.95, "target_ms": 100.0}
    assert goal(row) == goal(row | {"target_from": GIVEN}) == "p95 < 100 ms"
    assert goal(row | {"target_from": FROM_MEMORY}) == "p95 < 100 ms, unverified"


@pytest.mark.parametrize(("model", "law"), [("delay:10", MDc), ("delay-exponential:10", MMc)])
def test_the_highest_rate_in_theory_just_meets_the_target(model: str, law: type) -> None:
    wanted = Goal(level=0.95, seconds=0.05)
    rate = rate_in_theory(Subject(model=model), 0.01, 1, wanted)
    assert law(rate=rate, service=0.01, servers=1).response_quantile(0.95) == pytest.approx(0.05, rel=1e-6)


def test_a_target_below_the_service_time_is_never_met() -> None:
    assert rate_in_theory(Subject(model="delay:10"), 0.01, 1, Goal(level=0.95, seconds=0.009)) == 0.0


def test_a_generous_target_is_met_at_the_highest_load_of_the_theory() -> None:
    generous = Goal(level=0.95, seconds=60.0)
    assert rate_in_theory(Subject(model="delay:10"), 0.01, 2, generous) == pytest.approx(198.0)
    for service in np.random.default_rng(0).uniform(0.005, 0.05, 200):  # 0.99 / service * service may round above 0.99
        assert rate_in_theory(Subject(model="delay:10"), service, 1, generous) == pytest.approx(0.99 / service)
