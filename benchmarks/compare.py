"""Test whether one set of results is faster or slower than another, beyond their noise.

Figures of A and B that were measured alike (same kind, same settings) are paired. A change counts when Welch's test on
the logarithms of the repeated windows says that chance alone would rarely bring it about (--chance), and when it is at
least --least. The exit status is 1 if anything became slower. Compare files of one machine: windows of one process
know nothing of how machines, or days, differ.
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

from recsys_core.measuring.records import Settings, read, settings

FIGURES = ("_per_second", "share_of_limit", "ratio", "strong", "weak")
"""Endings of the names of the figures that are compared: more is better."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """B over A."""

    ratio: float
    chance: float
    """Probability of a difference as large as this between windows of equal speed (1 where there are too few)."""

    def verdict(self, chance: float, least: float) -> str:
        if self.chance > chance or abs(math.log(self.ratio)) < math.log1p(least):
            return "same"
        return "faster" if self.ratio > 1 else "SLOWER"


def change(before: Sequence[float], after: Sequence[float]) -> Change:
    """Compare repeated windows."""
    from scipy.stats import ttest_ind

    old, new = ([math.log(v) for v in values] for values in (before, after))
    ratio = math.exp(statistics.mean(new) - statistics.mean(old))
    if min(len(old), len(new)) < 2:
        return Change(ratio=ratio, chance=1.0)
    if len({*old}) == len({*new}) == 1:
        return Change(ratio=ratio, chance=float(old[0] == new[0]))
    return Change(ratio=ratio, chance=float(ttest_ind(new, old, equal_var=False).pvalue))


def figures(records: Sequence[Mapping[str, Any]]) -> dict[Settings, list[float]]:
    """(settings, name) -> the windows of that figure in all records of the same settings."""
    found: dict[Settings, list[float]] = {}
    for values in records:
        for name, windows in values.items():
            if name.endswith(FIGURES) and isinstance(windows, list) and windows:
                found.setdefault((*settings(values), name), []).extend(windows)
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("before", type=Path, help="results file A")
    parser.add_argument("after", type=Path, help="results file B")
    parser.add_argument("--chance", type=float, default=0.01, help="chance of a false alarm (default: %(default)s)")
    parser.add_argument("--least", type=float, default=0.03, help="change that matters (default: %(default)s)")


def main(args: argparse.Namespace) -> int:
    from tabulate import tabulate

    before, after = figures(read(args.before)), figures(read(args.after))
    both = [key for key in before if key in after]
    if not both:
        raise ValueError(f"{args.before} and {args.after} have no setting in common; run the same commands for both")
    shown, slower = [], 0
    for key in both:
        found = change(before[key], after[key])
        verdict = found.verdict(args.chance, args.least)
        slower += verdict == "SLOWER"
        middle = [f"{statistics.median(values[key]):,.4g}" for values in (before, after)]
        shown.append((" ".join(key[:-1]), key[-1], *middle, f"{found.ratio - 1:+.1%}", f"{found.chance:.2g}", verdict))
    print(
        tabulate(shown, headers=("setting", "figure", "A", "B", "change", "chance", "verdict"), disable_numparse=True)
    )
    for name, few in (("A", set(before) - set(after)), ("B", set(after) - set(before))):
        if few:
            print(f"{len(few)} figures are in {name} only", file=sys.stderr)
    return 1 if slower else 0
