"""A check of times that fails on a quiet machine fails; on a busy one it is tried again, and then skipped."""

from __future__ import annotations

import pytest

from tests.load_study import quiet
from tests.load_study.quiet import on_a_quiet_machine


def _failing(times: int) -> tuple[list[int], object]:
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        assert len(calls) > times

    return calls, check


@pytest.fixture(autouse=True)
def _no_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "SHORTEST_S", 0.0)


def test_a_failure_on_a_quiet_machine_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "busy_reason", lambda conditions: None)
    calls, check = _failing(1)
    with pytest.raises(AssertionError):
        on_a_quiet_machine(check)  # type: ignore[arg-type]
    assert len(calls) == 1


def test_a_failure_on_a_busy_machine_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quiet, "busy_reason", lambda conditions: "other programs")
    calls, check = _failing(2)
    on_a_quiet_machine(check)  # type: ignore[arg-type]
    assert len(calls) == 3
    with pytest.raises(pytest.skip.Exception, match="the machine was busy in 2 tries: other programs"):
        on_a_quiet_machine(_failing(9)[1], tries=2)  # type: ignore[arg-type]
