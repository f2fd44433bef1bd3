"""Rounds of windows: the rules by which every benchmark measures its figures more than once.

A round measures every side once, one after another. It counts if the machine was quiet meanwhile (`conditions`); else
it is discarded, counted, and measured again. Before the first round a side is warmed up until its windows agree.
`fields` says in a record how that went; what could not be measured by these rules is marked there as not valid.
"""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from recsys_core.measuring.conditions import Watch, busy_reason, is_wanted_all_the_same

T = TypeVar("T")
Side = Callable[[], T]
"""Measures one window; returns its figure, or all that it found."""

AGREE = 0.10
"""The last windows of a warm-up agree if the largest is at most this share above the smallest."""
LAST = 3
"""Windows of a warm-up that have to agree."""
MOST_WARM_UP = 12
"""Windows after which a warm-up ends without having become stable."""
MOST_REASONS = 3
"""Different reasons that a record holds."""
TRIES = 3
"""Rounds that are measured at most, for each round that is wanted."""


@dataclass(frozen=True, kw_only=True)
class WarmUp:
    """How a warm-up went."""

    windows: int
    stable: bool

    def reason(self) -> str | None:
        """Why figures after this warm-up are not valid; None where they are."""
        if self.stable:
            return None
        return f"the last {LAST} of {self.windows} windows of the warm-up differ by more than {AGREE:.0%}"


def agree(values: Sequence[float], share: float = AGREE) -> bool:
    """Whether the last windows of a warm-up agree.

    Args:
        values: positive figures of windows of the same length, in their order.
    """
    last = values[-LAST:]
    return len(last) == LAST and min(last) > 0 and max(last) <= (1 + share) * min(last)


def warm_up(side: Side[float], *, most: int = MOST_WARM_UP, together: Callable[[bool], bool] = bool) -> WarmUp:
    """Repeat a window until the last ones agree.

    Args:
        side: measures a window.
        most: windows after which it ends all the same.
        together: makes ranks decide alike, as `World.broadcast` does.
    """
    values: list[float] = []
    is_stable = False
    while not is_stable and len(values) < most:
        values.append(side())
        is_stable = together(agree(values))
    return WarmUp(windows=len(values), stable=is_stable)


@dataclass(frozen=True, kw_only=True)
class Rounds(Generic[T]):
    """The windows of a benchmark, and what became of those that do not count."""

    values: dict[str, list[T]]
    """Side -> its windows, one of every round that counts; of all rounds where too few count."""
    wanted: int
    kept: int
    discarded: list[str] = field(default_factory=list)
    """Why each of the other rounds does not count."""

    def reason(self) -> str | None:
        """Why the figures are not valid; None where enough rounds count."""
        if self.kept >= self.wanted:
            return None
        return (
            f"{self.kept} of {self.kept + len(self.discarded)} rounds count, {self.wanted} are needed: "
            + (Counter(self.discarded).most_common(1)[0][0])
        )


def in_rounds(
    sides: Mapping[str, Side[T]], wanted: int, *, tries: int = TRIES, before: Callable[[], None] | None = None
) -> Rounds[T]:
    """Measure all sides in turn until as many rounds count as are wanted, or `tries` times as many were measured.

    Args:
        before: called before each round; its time does not count.
    """
    kept: dict[str, list[T]] = {name: [] for name in sides}
    others: dict[str, list[T]] = {name: [] for name in sides}
    discarded: list[str] = []
    count, all_count = 0, is_wanted_all_the_same()
    while count < wanted and count + len(discarded) < tries * wanted:
        if before is not None:
            before()
        watch = Watch()
        found = {name: side() for name, side in sides.items()}
        reason = None if all_count else busy_reason(watch.since())
        count += reason is None
        for name, value in found.items():
            (kept if reason is None else others)[name].append(value)
        if reason is not None:
            discarded.append(reason)
    enough = count >= wanted
    values = kept if enough else {name: [*kept[name], *others[name]] for name in sides}
    return Rounds(values=values, wanted=wanted, kept=count, discarded=discarded)


def fields(rounds: Rounds[Any], warm_ups: Sequence[WarmUp] = (), *, why_cold: str | None = None) -> dict[str, Any]:
    """The fields `rounds` and `invalid` of a record.

    Args:
        warm_ups: of every side, or of every process.
        why_cold: what a user of the record has to know where nothing was warmed up.
    """
    told: dict[str, Any] = {"kept": rounds.kept, "discarded": len(rounds.discarded)}
    if rounds.discarded:
        told["reasons"] = sorted(set(rounds.discarded))[:MOST_REASONS]
    if warm_ups:
        told["warm_up_windows"] = statistics.median(w.windows for w in warm_ups)
        told["stable"] = all(w.stable for w in warm_ups)
    elif why_cold:
        told["cold"] = why_cold
    unstable = () if is_wanted_all_the_same() else (w.reason() for w in warm_ups)
    reasons = [reason for reason in (rounds.reason(), *unstable) if reason is not None]
    return {"rounds": told, "invalid": list(dict.fromkeys(reasons))}
