"""Where the time of a run went."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recsys_core.training.durations import CompileTime, Durations, line


def test_every_second_counts_once_for_the_innermost_part() -> None:
    ticks: Iterator[float] = iter([0.0, 1.0, 3.0, 7.0, 8.0, 10.0])
    durations = Durations(clock=lambda: next(ticks))
    with durations.of("export"), durations.of("checkpoints"):  # opened at 1 and 3, closed at 7 and 8
        pass
    assert durations.seconds() == {"other": 1.0 + 2.0, "export": 2.0 + 1.0, "checkpoints": 4.0}


def test_the_first_call_is_longer_by_the_compilation() -> None:
    compiling = CompileTime()
    compiling.note(10, 5.0)
    assert compiling.seconds == 0  # nothing to compare with yet
    compiling.note(10, 1.0)
    compiling.note(20, 4.0)  # 5 s for 30 steps
    assert compiling.seconds == pytest.approx(5.0 - 10 * 5.0 / 30)


def test_the_line_lists_the_longest_first_and_leaves_out_the_small() -> None:
    seconds = {"preparation": 2.04, "steps": 7.5, "log": 0.05, "other": 0.41}
    assert line(seconds) == "time: 10.0 s (steps 7.5, preparation 2.0, other 0.4)"
