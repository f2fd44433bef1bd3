"""The rules of measuring: each is broken here, and the figure is marked."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from recsys_core.measuring import clock, rounds
from recsys_core.measuring.conditions import Watch, busy_reason, quiet_ones
from recsys_core.measuring.rounds import WarmUp, fields, in_rounds, warm_up

QUIET = {"seconds": 5.0, "others": 0.0, "steal": 0.0}
BUSY = QUIET | {"others": 0.5}
SAID = "other programs used 50% of its cores (at most 10%)"


@pytest.fixture(autouse=True)
def strict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RECSYS_BUSY", raising=False)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, float]]:
    """The conditions of the rounds to come; quiet after the last."""
    found: list[dict[str, float]] = []
    monkeypatch.setattr(Watch, "since", lambda self: found.pop(0) if found else QUIET)
    return found


def _counter() -> Iterator[float]:
    return map(float, itertools.count(1))


def test_a_busy_round_is_discarded_counted_and_measured_again(seen: list[dict[str, float]]) -> None:
    seen += [QUIET, BUSY, QUIET]
    a, b = _counter(), _counter()
    found = in_rounds({"a": lambda: next(a), "b": lambda: -next(b)}, 3)
    assert found.values == {"a": [1.0, 3.0, 4.0], "b": [-1.0, -3.0, -4.0]}  # the whole round, so that pairs stay pairs
    assert (found.kept, found.discarded, found.reason()) == (3, [SAID], None)
    assert fields(found) == {"rounds": {"kept": 3, "discarded": 1, "reasons": [SAID]}, "invalid": []}


def test_too_few_rounds_make_no_valid_figure(seen: list[dict[str, float]]) -> None:
    seen += [QUIET, *[BUSY] * 9]
    a = _counter()
    found = in_rounds({"a": lambda: next(a)}, 2, tries=3)
    assert len(found.values["a"]) == 6, "at most three times as many as wanted"
    assert fields(found)["invalid"] == [f"1 of 6 rounds count, 2 are needed: {SAID}"]


def test_all_rounds_count_where_they_are_wanted_all_the_same(
    seen: list[dict[str, float]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECSYS_BUSY", "1")
    seen += [BUSY] * 9
    assert in_rounds({"a": lambda: 1.0}, 2).kept == 2


def test_a_warm_up_ends_when_its_last_windows_agree() -> None:
    rates = iter([10.0, 50.0, 90.0, 99.0, 95.0, 1.0])
    assert warm_up(lambda: next(rates)) == WarmUp(windows=5, stable=True)


def test_a_warm_up_that_does_not_become_stable_is_bounded_and_makes_no_valid_figure() -> None:
    rates = itertools.cycle([1.0, 2.0])
    found = warm_up(lambda: next(rates), most=7)
    assert found == WarmUp(windows=7, stable=False)
    told = fields(in_rounds({"a": lambda: 1.0}, 1), [WarmUp(windows=3, stable=True), found])
    assert told["rounds"]["stable"] is False
    assert told["invalid"] == ["the last 3 of 7 windows of the warm-up differ by more than 10%"]


def test_ranks_end_a_warm_up_together() -> None:
    answers = iter([False, False, False, True])
    assert warm_up(lambda: 1.0, together=lambda _: next(answers)) == WarmUp(windows=4, stable=True)


def test_windows_that_agree() -> None:
    assert rounds.agree([1.0, 1.0, 1.1])
    assert not rounds.agree([1.0, 1.0, 1.11])
    assert not rounds.agree([1.0, 1.0])
    assert not rounds.agree([0.0, 0.0, 0.0])


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        ({"steal": 0.05}, "its host took 5% of its cores away (at most 2%)"),
        ({"throttled": 2}, "its cores were slowed down because they were hot"),
        ({"clock": 0.7}, "its cores ran at 70% of their base clock (at least 95%)"),
        ({"clock": 1.3, "throttled": 0}, None),
    ],
)
def test_what_makes_a_machine_slower_is_a_reason(about: dict[str, float], reason: str | None) -> None:
    assert busy_reason(QUIET | about) == reason


def _machine(folder: Path, now: int, base: int, throttled: int) -> Path:
    for name, value in (
        ("cpufreq/scaling_cur_freq", now),
        ("cpufreq/base_frequency", base),
        ("thermal_throttle/core_throttle_count", throttled),
    ):
        for core in range(2):
            path = folder / f"cpu{core}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{value - 100 * core}\n")
    return folder


def test_the_clock_is_that_of_the_fastest_core_over_its_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "SPIN_S", 0.0)
    assert clock.share_of_base(_machine(tmp_path, 1_500_000, 2_000_000, 107)) == 0.75
    assert clock.throttled(tmp_path) == 107 + 7
    assert clock.share_of_base(tmp_path / "none") is clock.throttled(tmp_path / "none") is None


def test_a_core_that_is_throttled_meanwhile_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "SPIN_S", 0.0)
    monkeypatch.setattr(clock.share_of_base, "__defaults__", (_machine(tmp_path, 2_000_000, 2_000_000, 100),))
    monkeypatch.setattr(clock.throttled, "__defaults__", (tmp_path,))
    watch = Watch()
    _machine(tmp_path, 2_000_000, 2_000_000, 103)
    found = watch.since()
    assert (found["clock"], found["throttled"]) == (1.0, 6)
    assert watch.since()["throttled"] == 0


def test_rounds_decide_whether_a_record_counts() -> None:
    """Loading and compiling between rounds may meet a busy machine: no window was measured then."""
    told = {"conditions": BUSY, "rounds": {"kept": 3, "discarded": 1}}
    assert quiet_ones([told | {"invalid": []}, told | {"invalid": ["1 of 6 rounds count"]}])[1] == 1
