"""Cores of the engines and of the generator: who gets which, and pinning the generator's threads to its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

SPARE_FROM = 4
"""Number of cores from which one is kept free for the generator by default."""


@dataclass(frozen=True, kw_only=True)
class CorePlan:
    """Which cores the engines and the generator run on."""

    engines: tuple[tuple[int, ...], ...]
    """Of each engine."""
    generator: tuple[int, ...]
    is_shared: bool
    """Every core has an engine, so that the generator runs beside them."""


def usable_cores() -> list[int]:
    """Numbers of the cores that this process may use, ascending."""
    return sorted(os.sched_getaffinity(0))


def default_engines(count: int, each: int) -> int:
    """Number of engines of `each` cores on a machine of `count`: from SPARE_FROM cores on one core stays free."""
    return max((count - (count >= SPARE_FROM)) // each, 1)


def divide_cores(mine: Sequence[int], engines: int, each: int) -> CorePlan:
    """Engines take the first cores and share them where there are too few; the generator gets those that are left, or
    runs on all where none is left."""
    own = tuple(tuple(sorted({mine[(k * each + j) % len(mine)] for j in range(each)})) for k in range(engines))
    taken = {core for cores in own for core in cores}
    free = tuple(core for core in mine if core not in taken)
    return CorePlan(engines=own, generator=free or tuple(mine), is_shared=not free)


def _threads() -> list[int]:
    """Numbers of all threads of this process."""
    return [int(task.name) for task in Path("/proc/self/task").iterdir()]


@contextlib.contextmanager
def pinned_to(cores: Sequence[int]) -> Iterator[None]:
    """Keep all threads of this process on some cores; threads and processes started meanwhile inherit that."""
    before = {thread: os.sched_getaffinity(thread) for thread in _threads()}
    first = os.sched_getaffinity(0)
    _pin({thread: set(cores) for thread in before})
    try:
        yield
    finally:
        _pin({thread: before.get(thread, first) for thread in _threads()})


def _pin(wanted: dict[int, set[int]]) -> None:
    for thread, cores in wanted.items():
        with contextlib.suppress(ProcessLookupError):  # it ended just now
            os.sched_setaffinity(thread, cores)
