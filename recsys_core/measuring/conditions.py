"""Whether a machine was quiet while something was measured: what other programs and other guests took, and its clock.

A figure of a busy machine says little about the program. It is recorded, and marked by what is recorded with it:
`report` and `compare` leave it out, and the command that measured it ends with status `BUSY`. RECSYS_BUSY=1 (or --busy)
says that the figure is wanted all the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from recsys_core.measuring import clock

BUSY = 4
"""Exit status of a command that has no valid figure, most often because the machine was busy."""
WANTED_ALL_THE_SAME = "RECSYS_BUSY"
MOST_OTHERS = 0.10
"""Share of the machine's cores that programs outside the measurement may take."""
MOST_STEAL = 0.02
"""Share of the machine's cores that the host of a virtual machine may take away."""
LEAST_CLOCK = 0.95
"""Least clock of the fastest core at the end, as a share of the processor's base clock."""
SHORTEST_S = 0.5
"""Below this, a share of the clock ticks says nothing."""

Conditions = dict[str, float]
"""seconds; others and steal, shares of the machine's cores; where the machine tells them: clock, a share of the base
clock, and throttled, how often a core was slowed down because it was hot."""


class Watch:
    """Measures the conditions since it was made, or asked last."""

    def __init__(self) -> None:
        self._start, self._throttled = self._now(), clock.throttled()

    @staticmethod
    def _now() -> tuple[float, float, float, float]:
        """Seconds: the clock, and of all cores: busy, stolen, and used by this process and those it started."""
        import psutil

        times, own = psutil.cpu_times(), psutil.Process()
        busy = times.user + times.system + times.nice + getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0)
        used = 0.0
        for process in (own, *own.children(recursive=True)):
            try:
                spent = process.cpu_times()
            except psutil.Error:  # it ended just now; its parent has its time
                continue
            used += spent.user + spent.system + spent.children_user + spent.children_system
        return time.perf_counter(), busy, getattr(times, "steal", 0.0), used

    def since(self) -> Conditions:
        """The conditions since the last call."""
        before, self._start = self._start, self._now()
        seconds, busy, steal, used = (now - then for now, then in zip(self._start, before, strict=True))
        cores = (os.cpu_count() or 1) * max(seconds, 1e-9)
        found = {"seconds": seconds, "others": max(busy - used, 0.0) / cores, "steal": max(steal, 0.0) / cores}
        return found | self._clock()

    def _clock(self) -> Conditions:
        found: Conditions = {}
        if (share := clock.share_of_base()) is not None:
            found["clock"] = share
        if (count := clock.throttled()) is not None:
            found["throttled"], self._throttled = count - (self._throttled or 0), count
        return found


def busy_reason(conditions: Mapping[str, Any] | None) -> str | None:
    """Why a machine was not quiet; None where it was, or where nothing is known (records of earlier versions)."""
    if not conditions or conditions["seconds"] < SHORTEST_S:
        return None
    if conditions["others"] > MOST_OTHERS:
        return f"other programs used {conditions['others']:.0%} of its cores (at most {MOST_OTHERS:.0%})"
    if conditions["steal"] > MOST_STEAL:
        return f"its host took {conditions['steal']:.0%} of its cores away (at most {MOST_STEAL:.0%})"
    if conditions.get("throttled", 0) > 0:
        return "its cores were slowed down because they were hot"
    if conditions.get("clock", 1.0) < LEAST_CLOCK:
        return f"its cores ran at {conditions['clock']:.0%} of their base clock (at least {LEAST_CLOCK:.0%})"
    return None


def is_wanted_all_the_same() -> bool:
    return os.environ.get(WANTED_ALL_THE_SAME, "0") not in ("", "0")


def quiet_ones(records: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The records of a quiet machine, or all where those of a busy one are wanted; and how many are left out."""
    if is_wanted_all_the_same():
        return list(records), 0
    kept = [values for values in records if _is_quiet(values)]
    return kept, len(records) - len(kept)


def _is_quiet(values: Mapping[str, Any]) -> bool:
    """Whether a record counts. Where it has rounds, each of them was watched; the time between them does not matter."""
    if values.get("invalid"):
        return False
    return "rounds" in values or not busy_reason(values.get("conditions"))
