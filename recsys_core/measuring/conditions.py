"""Whether a machine was quiet while something was measured: how much of it other programs and other guests took.

A figure of a busy machine says little about the program. It is recorded, and marked by what is recorded with it:
`report` and `compare` leave it out, and the command that measured it ends with status `BUSY`. RECSYS_BUSY=1 (or --busy)
says that the figure is wanted all the same.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

BUSY = 4
"""Exit status of a command whose figures were measured on a busy machine."""
WANTED_ALL_THE_SAME = "RECSYS_BUSY"
MOST_OTHERS = 0.10
"""Share of the machine's cores that programs outside the measurement may take."""
MOST_STEAL = 0.02
"""Share of the machine's cores that the host of a virtual machine may take away."""
SHORTEST_S = 0.5
"""Below this, a share of the clock ticks says nothing."""

Conditions = dict[str, float]
"""seconds; others and steal, shares of the machine's cores."""


class Watch:
    """Measures the conditions since it was made, or asked last."""

    def __init__(self) -> None:
        self._start = self._now()

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
        return {"seconds": seconds, "others": max(busy - used, 0.0) / cores, "steal": max(steal, 0.0) / cores}


def busy_reason(conditions: Mapping[str, Any] | None) -> str | None:
    """Why a machine was not quiet; None where it was, or where nothing is known (records of earlier versions)."""
    if not conditions or conditions["seconds"] < SHORTEST_S:
        return None
    if conditions["others"] > MOST_OTHERS:
        return f"other programs used {conditions['others']:.0%} of its cores (at most {MOST_OTHERS:.0%})"
    if conditions["steal"] > MOST_STEAL:
        return f"its host took {conditions['steal']:.0%} of its cores away (at most {MOST_STEAL:.0%})"
    return None


def is_wanted_all_the_same() -> bool:
    return os.environ.get(WANTED_ALL_THE_SAME, "0") not in ("", "0")


def quiet_ones(records: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], int]:
    """The records of a quiet machine, or all where those of a busy one are wanted; and how many are left out."""
    if is_wanted_all_the_same():
        return list(records), 0
    kept = [values for values in records if not values.get("invalid") and not busy_reason(values.get("conditions"))]
    return kept, len(records) - len(kept)
