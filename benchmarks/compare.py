"""Test whether one set of results is better or worse than another, beyond their noise.

Figures of A and B that were measured alike (same kind, same settings) are paired: times, rates, latencies, memory and
metrics; `recsys_core.measuring.figures` says which way each is better. A change counts when it is at least --least and

- of repeated windows: Welch's test on their logarithms says that chance alone would rarely bring it about (--chance);
- of a latency with its interval: the intervals do not overlap;
- of what is the same each time (a metric, a size): always.

The exit status is 1 if anything became worse. Compare files of one machine: windows of one process know nothing of how
machines, or days, differ.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys_core.measuring.conditions import quiet_ones
from recsys_core.measuring.figures import figure, values_of
from recsys_core.measuring.records import Settings, read, settings

TINY = 1e-12
"""Stands for 0 under the logarithm, as a wait for input that is none."""
BETTER, WORSE, SAME, UNKNOWN = "better", "WORSE", "same", "one window"


@dataclass(frozen=True, kw_only=True)
class Change:
    """B over A."""

    ratio: float
    chance: float | None
    """Probability of a difference as large as this between windows that are alike; None where one window each cannot
    tell."""
    more_is_better: bool = True

    def verdict(self, chance: float, least: float) -> str:
        if self.ratio == 1 or abs(math.log(self.ratio)) < math.log1p(least):
            return SAME
        if self.chance is None:
            return UNKNOWN
        if self.chance > chance:
            return SAME
        return BETTER if (self.ratio > 1) == self.more_is_better else WORSE


def change_of_windows(before: Sequence[float], after: Sequence[float], more_is_better: bool = True) -> Change:
    """Compare repeated windows."""
    from scipy.stats import ttest_ind

    old, new = ([math.log(max(v, TINY)) for v in values] for values in (before, after))
    ratio = math.exp(statistics.mean(new) - statistics.mean(old))
    chance: float | None
    if min(len(old), len(new)) < 2:
        chance = None
    elif len({*old}) == len({*new}) == 1:
        chance = float(old[0] == new[0])
    else:
        chance = float(ttest_ind(new, old, equal_var=False).pvalue)
    return Change(ratio=ratio, chance=chance, more_is_better=more_is_better)


def change(kind: str, name: str, before: Sequence[float], after: Sequence[float]) -> Change:
    """Compare the numbers of one figure, as `values_of` gives them."""
    found = figure(kind, name)
    assert found is not None, name
    if found.noise == "windows":
        return change_of_windows(before, after, found.more_is_better)
    ratio = max(after[0], TINY) / max(before[0], TINY)
    apart = found.noise == "none" or after[1] > before[2] or before[1] > after[2]
    return Change(ratio=ratio, chance=float(not apart), more_is_better=found.more_is_better)


def figures(records: Sequence[Mapping[str, Any]]) -> dict[Settings, list[float]]:
    """(settings, name) -> all windows of the records of these settings; of other figures, those of the last record."""
    found: dict[Settings, list[float]] = {}
    for values in records:
        for name, value in values.items():
            about, numbers = figure(values["kind"], name), values_of(values["kind"], name, value)
            if about is None or numbers is None:
                continue
            key = (*settings(values), name)
            found[key] = [*found.get(key, []), *numbers] if about.noise == "windows" else numbers
    return found


def _quiet_figures(path: Path) -> dict[Settings, list[float]]:
    """The figures of a results file, without those of a busy machine."""
    records, left_out = quiet_ones(read(path))
    if left_out:
        print(f"{path}: {left_out} records of a busy machine left out (--busy compares them too)", file=sys.stderr)
    return figures(records)


def _middle(key: Settings, numbers: Sequence[float]) -> float:
    found = figure(key[0], key[-1])
    return statistics.median(numbers) if found is not None and found.noise == "windows" else numbers[0]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", type=Path, help="results file A")
    parser.add_argument("after", type=Path, help="results file B")
    parser.add_argument("--chance", type=float, default=0.01, help="chance of a false alarm (default: %(default)s)")
    parser.add_argument("--least", type=float, default=0.03, help="change that matters (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    from tabulate import tabulate

    before, after = (_quiet_figures(path) for path in (args.before, args.after))
    both = [key for key in before if key in after]
    if not both:
        raise ValueError(f"{args.before} and {args.after} have no setting in common; run the same commands for both")
    shown, worse = [], 0
    for key in both:
        found = change(key[0], key[-1], before[key], after[key])
        verdict = found.verdict(args.chance, args.least)
        worse += verdict == WORSE
        middle = [f"{_middle(key, values[key]):,.4g}" for values in (before, after)]
        chance = "" if found.chance is None else f"{found.chance:.2g}"
        shown.append((" ".join(key[:-1]), key[-1], *middle, f"{found.ratio - 1:+.1%}", chance, verdict))
    print(
        tabulate(shown, headers=("setting", "figure", "A", "B", "change", "chance", "verdict"), disable_numparse=True)
    )
    for name, few in (("A", set(before) - set(after)), ("B", set(after) - set(before))):
        if few:
            print(f"{len(few)} figures are in {name} only", file=sys.stderr)
    return 1 if worse else 0
