"""What a search prints: a line for each finished trial, a bar on a terminal, and the table of the best at the end."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tabulate import tabulate
from tqdm import tqdm

from recsys_core.search_space import Choice, label

if TYPE_CHECKING:
    from recsys_core.tuning.request import SearchRequest
    from recsys_core.tuning.study import Outcome

SHOWN = 5
"""Trials in the table."""


def best_of(outcomes: Sequence[Outcome]) -> Outcome | None:
    """The trial with the highest value among those that were trained to their end; the first of equals."""
    complete = [o for o in outcomes if o.state == "complete"]
    return max(complete, key=lambda o: (o.value or 0.0, -o.number)) if complete else None


def clock(seconds: float) -> str:
    """A time as 1:02:03 or 2:03."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"


def measured(outcome: Outcome) -> str:
    """Value and standard error."""
    if outcome.value is None:
        return ""
    return f"{outcome.value:.4f}" + (f" ± {outcome.error:.4f}" if outcome.error is not None else "")


class Report:
    """Prints how a search goes."""

    def __init__(self, request: SearchRequest, earlier: Sequence[Outcome]) -> None:
        """
        Args:
            earlier: trials of earlier commands on the same study.
        """
        self._request, self._best, self._count = request, best_of(earlier), len(earlier)
        self._searched = [n for n, p in request.space.items() if not (isinstance(p, Choice) and len(p.values) == 1)]
        total = request.budget if request.budget is not None else request.trials
        self._bar = tqdm(
            total=round(total or 0), disable=not sys.stderr.isatty(), dynamic_ncols=True, desc="search", leave=False,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {postfix}",
        )  # fmt: skip

    def wait(self, seconds: float) -> None:
        """Move the bar while trials run."""
        done = self._count if self._request.budget is None else min(seconds, self._request.budget)
        self._bar.n = round(done)
        best = f", best {self._best.value:.4f}" if self._best else ""
        count = f"{self._count} trial{'s'[: self._count != 1]}"
        self._bar.set_postfix_str(f"{count}{best}{self._left(seconds)}")

    def finished(self, outcome: Outcome, seconds: float) -> None:
        """Print a line about a trial."""
        self._count += 1
        best = best_of([*([self._best] if self._best else []), outcome])
        is_new, self._best = best is not self._best, best
        found = f"{self._request.metric} {measured(outcome)}" if outcome.value is not None else "no value"
        state = {"complete": "", "pruned": " (pruned)", "failed": f" (failed: {outcome.reason})"}[outcome.state]
        so_far = "" if best is None else " (best)" if is_new else f", best {best.value:.4f} of trial {best.number}"
        settings = " ".join(f"{name}={label(outcome.settings[name])}" for name in self._searched)
        line = f"trial {outcome.number}: {found}{state}{so_far}, {clock(outcome.seconds)}{self._left(seconds)}"
        tqdm.write(f"{line}  {settings}", file=sys.stdout)
        sys.stdout.flush()

    def _left(self, seconds: float) -> str:
        """The rest of the budget, of time or of trials."""
        if self._request.budget is not None:
            return f", {clock(self._request.budget - seconds)} left"
        left = max(0, (self._request.trials or 0) - self._count)
        return f", {left} trial{'s'[: left != 1]} left"

    def close(self) -> None:
        self._bar.close()


def table(request: SearchRequest, outcomes: Sequence[Outcome], importances: Mapping[str, float]) -> str:
    """The best trials with what they tried, and below each parameter its importance."""
    complete = sorted((o for o in outcomes if o.state == "complete"), key=lambda o: (-(o.value or 0.0), o.number))
    names = [n for n, p in request.space.items() if not (isinstance(p, Choice) and len(p.values) == 1)]
    rows = [
        [str(o.number), measured(o), f"{o.epoch:g}", clock(o.seconds), *(label(o.settings[n]) for n in names)]
        for o in complete[:SHOWN]
    ]
    if importances:
        rows.append(["importance", "", "", "", *(f"{importances[n]:.2f}" if n in importances else "" for n in names)])
    heads = ["trial", f"validation {request.metric}", "epoch", "time", *names]
    return tabulate(rows, headers=heads, disable_numparse=True)
