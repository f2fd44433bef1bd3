"""The search for the highest rate: against theory, against trying everything, in any order; in simulated time."""

from __future__ import annotations

import itertools
import math
from argparse import Namespace
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from load_study.engines.dispatcher import Dispatcher
from load_study.engines.simulated import SimulatedPool
from load_study.search import Goal, Grid, SearchResult, Verdict, best_of, exhaustive, highest_rate, judge, rising
from load_study.traffic import arrivals, sizes
from load_study.traffic.clock import VirtualClock
from load_study.traffic.generator import closed_loop, generate
from load_study.traffic.result import LoadResult
from load_study.traffic.theory import MMc
from load_study.windows import Candidate, LoadRunner

GRID = Grid(ratio=0.04)
RunWindow = Callable[[float], LoadResult]


class Model:
    """A pool whose service time is a start and so much an item; loads of fresh queries on it."""

    def __init__(self, start: float, item: float, *, servers: int = 2, window: float = 15.0) -> None:
        self._service = lambda size: start + item * size
        self._servers, self._window = servers, window

    def _sizes(self, number: int) -> sizes.Sizes:
        return sizes.parse("lognormal:5.1,0.4", 1024, np.random.default_rng([number, 1]))

    def _target(self, clock: VirtualClock, split: int) -> Dispatcher:
        return Dispatcher(SimulatedPool(clock, self._servers, self._service), split=split)

    def capacity(self, split: int) -> float:
        clock = VirtualClock()
        load = closed_loop(clock, self._target(clock, split), self._sizes(0), workers=8, duration=20.0)
        return load.completed_rate

    def windows_of(self, split: int) -> RunWindow:
        def window(rate: float, number: int) -> LoadResult:
            clock, seed = VirtualClock(), round(1e3 * rate) + number
            due = arrivals.poisson(rate, np.random.default_rng([seed, 2]))
            return generate(
                clock, self._target(clock, split), due, self._sizes(seed), duration=self._window, warm_up=2.0
            )

        return window


MODELS = {  # what a request costs, what an item costs, the target
    "items dominate": (Model(0.2e-3, 0.1e-3), 0.05),
    "requests dominate": (Model(8e-3, 0.01e-3), 0.06),
    "balanced": (Model(2e-3, 0.05e-3), 0.03),
}
SPLITS = (16, 64, 256, 1024)


def searched(model: Model, splits: tuple[int, ...], goal: Goal) -> list[SearchResult[int]]:
    return [highest_rate(split, model.windows_of(split), model.capacity(split), goal, GRID) for split in splits]


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_it_finds_what_trying_everything_finds(name: str) -> None:
    model, target = MODELS[name]
    goal = Goal(level=0.95, seconds=target)
    found = best_of(searched(model, SPLITS, goal))
    every = best_of([exhaustive(s, model.windows_of(s), model.capacity(s), goal, GRID, 0.6) for s in SPLITS])
    assert found.rate == pytest.approx(every.rate, rel=0.05)
    shuffled = best_of(searched(model, tuple(np.random.default_rng(5).permutation(SPLITS).tolist()), goal))
    assert (shuffled.candidate, shuffled.rate) == (found.candidate, found.rate)
    assert len(found.trials) <= 15  # of 60 rates


def test_the_best_split_is_where_it_must_be() -> None:
    """Where a request costs much, cutting wastes; where the items cost, a query must be spread over the servers."""
    goal = Goal(level=0.95, seconds=0.03)
    costly = searched(MODELS["requests dominate"][0], (16, 1024), goal)
    assert costly[0].rate < 0.5 * costly[1].rate
    large = searched(MODELS["items dominate"][0], (64, 1024), goal)
    assert large[1].rate == 0.0  # one in twenty queries has more than 316 items, 32 ms of one server
    assert large[0].rate > 30


def memoryless(seconds: float, window: float = 400.0) -> RunWindow:
    """An M/M/1 queue."""

    def run_window(rate: float, number: int) -> LoadResult:
        rng, clock = np.random.default_rng([7, number, round(rate)]), VirtualClock()
        pool = SimulatedPool(clock, 1, lambda size: rng.exponential(seconds))
        due = arrivals.poisson(rate, rng)
        return generate(clock, pool, due, sizes.fixed(1, 1), duration=window, warm_up=20.0)

    return run_window


@pytest.mark.slow
def test_the_rate_is_what_theory_says() -> None:
    """M/M/1: the response is exponential with rate mu - lambda, so p95 < T wants lambda < mu - ln(20) / T."""
    expected = 100 - math.log(20) / 0.1
    assert MMc(rate=expected, service=0.01).response_quantile(0.95) == pytest.approx(0.1, rel=1e-6)
    found = highest_rate("only", memoryless(0.01), 100.0, Goal(level=0.95, seconds=0.1, most=12), GRID)
    assert found.rate == pytest.approx(expected, rel=0.05)


def test_clear_cases_need_one_window_and_close_ones_more() -> None:
    goal = Goal(level=0.95, seconds=0.1, most=6)
    border = 100 - math.log(20) / 0.1
    easy, hard, over = (judge(memoryless(0.01), rate, goal) for rate in (30.0, border, 95.0))
    assert easy.meets and easy.is_significant and easy.windows == 1
    assert not over.meets and over.is_significant and over.windows <= 2
    assert hard.windows > 1
    assert hard.queries > easy.queries


def test_lost_queries_miss_the_target() -> None:
    """An engine that refuses what it cannot take at once has short latencies, and meets nothing."""

    def run_window(rate: float, number: int) -> LoadResult:
        clock = VirtualClock()
        pool = SimulatedPool(clock, 1, lambda size: 0.01, queue_limit=0)
        due = arrivals.poisson(rate, np.random.default_rng(number))
        return generate(clock, pool, due, sizes.fixed(1, 1), duration=60.0)

    verdict = judge(run_window, 50.0, Goal(level=0.95, seconds=0.1))
    assert run_window(50.0, 0).latencies.seconds.max() <= 0.01 + 1e-9
    assert not verdict.meets
    assert verdict.beyond == pytest.approx(1 / 3, abs=0.03)  # Erlang's B formula, half a server's work: 0.5 / 1.5


def test_a_target_that_cannot_be_met_gives_rate_0() -> None:
    found = highest_rate("only", memoryless(0.01, 60.0), 100.0, Goal(level=0.95, seconds=0.001), GRID)
    assert found.step is None and found.tail is None
    assert found.rate == 0.0


def test_a_grid_too_coarse_for_any_rate_gives_rate_0() -> None:
    found = highest_rate("only", memoryless(0.01), 100.0, Goal(level=0.95, seconds=0.1), Grid(ratio=1e4))
    assert not found.trials
    assert found.rate == 0.0


def test_a_stop_in_the_wrong_window_does_not_lead_astray() -> None:
    """A first window far below the answer misses, as if the machine had stopped in it; the second trial climbs back."""
    calm, stopped = memoryless(0.01, 120.0), []

    def run_window(rate: float, number: int) -> LoadResult:
        if number == 0 and 50 < rate < 60:
            stopped.append(rate)
            return calm(99.5, 0)
        return calm(rate, number)

    goal = Goal(level=0.95, seconds=0.1, most=3)
    found = highest_rate("only", run_window, 75.0, goal, GRID)
    assert stopped
    assert found.rate == pytest.approx(100 - math.log(20) / 0.1, rel=0.1)


def test_a_lucky_window_does_not_lead_above_the_answer() -> None:
    """The first windows of a trial meet at any rate, as if the pool were idle; two more trials agree that it misses."""
    calm = memoryless(0.01, 120.0)
    goal = Goal(level=0.95, seconds=0.1, most=3)

    def run_window(rate: float, number: int) -> LoadResult:
        return calm(20.0, number) if number < goal.most and 73 < rate < 80 else calm(rate, number)

    found = highest_rate("only", run_window, 85.0, goal, GRID)
    assert any(
        trials[0].meets and [trial.meets for trial in trials].count(False) == 2 for trials in found.trials.values()
    )
    assert found.rate == pytest.approx(100 - math.log(20) / 0.1, rel=0.1)


def test_a_lucky_first_window_does_not_lead_to_nothing() -> None:
    """The first rate tried meets, as if the pool were idle, no higher one does and then neither does it: lower ones are
    tried, though the bisection never went there."""
    calm = memoryless(0.01, 120.0)

    def run_window(rate: float, number: int) -> LoadResult:
        return calm(20.0, number) if number == 0 and 80 < rate < 85 else calm(rate, number)

    found = highest_rate("only", run_window, 118.0, Goal(level=0.95, seconds=0.1, most=3), GRID)
    assert found.rate == pytest.approx(100 - math.log(20) / 0.1, rel=0.1)
    assert len(found.verdicts) <= 24  # halving leads there from below, not one rate after another


@pytest.mark.parametrize(
    ("otherwise", "answer", "order"),
    [
        ({}, 46, [44, 47, 45, 46, 47, 46]),
        ({}, 50, [44, 47, 48, 49, 50, 51, 51, 50]),
        ({44: 1}, 40, [44, 47, 45, 45, 44, 44, 34, 39, 41, 40, 41, 40]),  # meets once; at odds, then settled
        ({44: 1}, 46, [44, 34, 39, 41, 42, 43, 44, 44, 47, 45, 46, 47, 46]),  # misses once
        ({}, 24, [44, 34, 29, 26, 25, 25]),  # 24 is where it is given up
    ],
)
def test_rates_that_the_search_tries(
    monkeypatch: pytest.MonkeyPatch, otherwise: dict[int, int], answer: int, order: list[int]
) -> None:
    """By hand, between step 24 (a tenth of the capacity) and step 50, from step 44. Rates up to the answer meet the
    goal and those above do not, but for so many first trials `otherwise`."""
    grid, tried = Grid(ratio=0.1), list[int]()

    def judge_by_answer(run_window: RunWindow, rate: float, goal: Goal, first: int) -> Verdict:
        tried.append(grid.step_below(rate))
        meets = (tried[-1] <= answer) != (tried.count(tried[-1]) <= otherwise.get(tried[-1], 0))
        return verdict(rate, 0.0 if meets else 0.2)

    monkeypatch.setattr("load_study.search.judge", judge_by_answer)
    found = highest_rate("only", memoryless(0.01), 100.0, GOAL, grid)
    assert tried == order
    assert found.step == (answer if answer > 24 else None)


GOAL = Goal(level=0.95, seconds=0.1)


def verdict(rate: float, beyond: float) -> Verdict:
    return Verdict(
        rate=rate, meets=beyond <= 0.05, is_significant=True, beyond=beyond, tail=0.01, queries=1000, windows=1
    )


def searched_by_hand(shares: dict[int, list[float]]) -> SearchResult[str]:
    """What was found from the shares beyond the target at steps; the rate is a tenth of the step."""
    trials = {step: [verdict(step / 10, share) for share in values] for step, values in shares.items()}
    return SearchResult(candidate="a", capacity=2.0, goal=GOAL, trials=trials)


def test_a_lucky_rate_above_a_missed_one_does_not_count() -> None:
    assert searched_by_hand({10: [0.01], 12: [0.04], 11: [0.2]}).rate == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("shares", "rate"),
    [
        ({10: [0.01], 11: [0.06]}, 1.0),
        ({10: [0.06], 11: [0.07]}, 0.0),
        ({10: [0.01], 11: [0.9, 0.01, 0.02], 12: [0.3]}, 1.1),  # the machine stopped in one of three trials
        ({10: [0.01], 11: [0.01, 0.3, 0.2], 12: [0.4]}, 1.0),  # a lucky trial
        ({10: [0.01], 11: [0.06, 0.07], 12: [0.02, 0.03, 0.04], 13: [0.2]}, 1.2),  # five trials pooled: median 0.04
        ({10: [0.01], 11: [0.06, 0.07], 12: [0.04], 13: [0.2]}, 1.0),  # pooled: median 0.06
    ],
)
def test_all_looks_together_decide(shares: dict[int, list[float]], rate: float) -> None:
    assert searched_by_hand(shares).rate == pytest.approx(rate)


def test_rising_is_the_nearest_curve_that_never_falls() -> None:
    assert rising([[1.0], [3.0], [2.0], [4.0]]) == [1.0, 2.5, 2.5, 4.0]
    assert rising([[3.0], [2.0], [1.0]]) == [2.0, 2.0, 2.0]
    assert rising([[9.0], [1.0, 1.0], [2.0]]) == [1.0, 1.0, 2.0]
    assert rising([]) == []


@pytest.mark.parametrize("seed", range(20))
def test_no_other_rising_curve_is_nearer(seed: int) -> None:
    """Against every rising curve through the values themselves, among which a nearest one always is."""
    rng = np.random.default_rng(seed)
    groups = [rng.integers(0, 6, rng.integers(1, 4)).astype(float).tolist() for _ in range(4)]

    def distance(curve: tuple[float, ...] | list[float]) -> float:
        return sum(abs(v - height) for values, height in zip(groups, curve, strict=True) for v in values)

    curve = rising(groups)
    assert curve == sorted(curve)
    heights = sorted({v for values in groups for v in values})
    assert distance(curve) == min(distance(c) for c in itertools.combinations_with_replacement(heights, len(groups)))


def test_of_equal_candidates_the_larger_capacity_wins() -> None:
    pair = [
        SearchResult(candidate=c, capacity=v, goal=GOAL, trials={1: [verdict(5.0, 0.0)]})
        for c, v in (("a", 6.0), ("b", 7.0))
    ]
    assert best_of(pair).candidate == best_of(pair[::-1]).candidate == "b"


def test_steps_of_the_grid() -> None:
    assert GRID.rate(0) == 1.0
    assert GRID.rate(GRID.step_below(100.0)) <= 100.0 < GRID.rate(GRID.step_below(100.0) + 1)
    assert GRID.step_below(GRID.rate(-7)) == -7


def test_nothing_due_is_an_error() -> None:
    with pytest.raises(ValueError, match="no query was due in 4 windows at 1e-06 queries/s"):
        judge(memoryless(0.01, 1.0), 1e-6, Goal(level=0.95, seconds=0.1))


def test_a_late_window_is_run_again_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_BUSY", raising=False)
    good = MODELS["balanced"][0].windows_of(64)(20.0, 0)  # type: ignore[call-arg]
    late = replace(good, late_sends=good.queries // 10)
    running: Any = SimpleNamespace(engines=1)
    runner = LoadRunner(running, None, Goal(level=0.95, seconds=0.05), Namespace(window=1, timeout=1))
    loads = iter([late, late, good])
    monkeypatch.setattr(runner, "_load", lambda *_: next(loads))
    assert runner.window(Candidate(64), 20.0, 0) is good
    assert runner.late.fields() == {"discarded_windows": 2.0, "invalid_windows": 0.0, "invalid": []}


def test_a_window_that_is_late_each_time_is_kept_and_makes_the_search_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search goes to its end, and its record says that it does not count."""
    monkeypatch.delenv("RECSYS_BUSY", raising=False)
    good = MODELS["balanced"][0].windows_of(64)(20.0, 0)  # type: ignore[call-arg]
    late = replace(good, late_sends=good.queries // 10)
    running: Any = SimpleNamespace(engines=1)
    runner = LoadRunner(running, None, Goal(level=0.95, seconds=0.05), Namespace(window=1, timeout=1))
    monkeypatch.setattr(runner, "_load", lambda *_: late)
    assert runner.window(Candidate(64), 20.0, 0) is late
    fields = runner.late.fields()
    assert (fields["discarded_windows"], fields["invalid_windows"]) == (3.0, 1.0)
    (reason,) = fields["invalid"]
    assert reason.startswith(
        "the generator was late in 1 windows that were taken: the generator sent 10% of the queries"
    )
    monkeypatch.setenv("RECSYS_BUSY", "1")  # taken at once, and still not valid
    assert runner.window(Candidate(64), 20.0, 1) is late
    assert (runner.late.fields()["discarded_windows"], runner.late.fields()["invalid_windows"]) == (3.0, 2.0)
