"""Checks of measured times: what a busy machine spoilt is discarded, as the commands discard such windows."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from recsys_core.measuring.conditions import SHORTEST_S, Watch, busy_reason


def on_a_quiet_machine(check: Callable[[], None], tries: int = 4) -> None:
    """Run a check of times. It fails where the machine was quiet; where it was not, it is tried again.

    After the last try the test is skipped, with what the other programs took.
    """
    reason = None
    for _ in range(tries):
        watch = Watch()
        try:
            check()
            return
        except AssertionError:
            time.sleep(SHORTEST_S)  # of a shorter time nothing is known
            reason = busy_reason(watch.since())
            if reason is None:
                raise
    pytest.skip(f"the machine was busy in {tries} tries: {reason}")
