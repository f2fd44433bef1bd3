"""The command line of `python -m FAMILY.tune`, read and checked. Nothing here imports TensorFlow."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recsys_core.config import ModelSpec, Preset
from recsys_core.evaluation.condition import check_decides
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.parser import CommandParser
from recsys_core.search_space import Parameter
from recsys_core.tuning.spaces import space_of

PRUNERS = ("median", "none")
DEFAULT_BUDGET = "1h"
SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}
EVALUATIONS = 20
"""Evaluations of a trial where the preset leaves their interval to the data."""


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """What a command line of `tune` asks for."""

    spec: ModelSpec
    preset_name: str
    data: Path
    out: Path
    budget: float | None
    """Seconds that all commands on this study may take together; None for no limit."""
    trials: int | None
    """Finished trials of the whole study; None for no limit."""
    workers: int
    ranks: int
    seed: int
    pruner: str
    metric: str
    space: Mapping[str, Parameter]
    command: str
    """What was typed, for the comment of the answer."""

    @property
    def preset(self) -> Preset:
        """The preset that trials change."""
        return self.spec.presets[self.preset_name]

    @property
    def epochs(self) -> int:
        """Epochs of the shortest trial."""
        searched = self.space.get("epochs")
        return int(min(searched.examples()) if searched else self.preset.config.training.epochs)

    @property
    def evaluate_every(self) -> int:
        """Epochs between two evaluations of a trial, the same in all trials, so that they can be compared."""
        return int(self.preset.config.training.evaluate_every or max(1, self.epochs // EVALUATIONS))


def build_parser(spec: ModelSpec) -> CommandParser:
    """The flags of `tune`."""
    command, presets = f"python -m {spec.family}.tune", ", ".join(spec.presets)
    parser = CommandParser(
        prog=command,
        description="Search for better settings of a preset on the validation users of a data set. The same command "
        "again goes on with a search that was stopped. The answer is OUT/best.yaml, a preset file: "
        f"python -m {spec.family}.train --preset OUT/best.yaml",
        epilog=f"examples:\n  {command} --data data/mine --out searches/a --budget 1h\n  {command} --data data/mine "
        f"--out searches/b --preset {list(spec.presets)[1]} \\\n      --trials 50 --workers 2 --space "
        "learning_rate=1e-4..1e-2:log epochs=50\n\nexit status: 0 done, 2 bad input, 130 Ctrl-C",
    )
    add = parser.add_argument
    add("--data", type=Path, required=True, metavar="PATH", help="prepared data set (required)")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the search: study.db, best.yaml (required)")
    add("--preset", default=next(iter(spec.presets)), metavar="NAME", help=f"{presets} (default: %(default)s)")
    add("--budget", metavar="TIME", help=f"time for the whole search, as 1h, 30m or 90s (default: {DEFAULT_BUDGET} "
        "without --trials)")  # fmt: skip
    add("--trials", type=int, metavar="N", help="finished trials of the whole search")
    add("--workers", type=int, default=1, metavar="N", help="trials at one time, each in a process of its own that "
        "gets its share of the cores (default: %(default)s)")  # fmt: skip
    add("--ranks", type=int, default=1, metavar="N", help="Horovod processes of each trial (default: %(default)s)")
    add("--seed", type=int, default=0, metavar="N", help="seed of the search and of every trial (default: %(default)s)")
    add("--pruner", default="median", choices=PRUNERS, help="median: end trials that are worse than the median of "
        "those before at the same epoch; or none (default: %(default)s)")  # fmt: skip
    add("--metric", metavar="NAME@K", help="what validation users are judged by (default: the preset's)")
    add("--space", nargs="+", default=[], metavar="NAME=VALUES", help="change what is searched: NAME=LOW..HIGH, "
        "NAME=LOW..HIGH:log, NAME=A,B,C, or NAME=VALUE to fix a setting")  # fmt: skip
    return parser


def parse(spec: ModelSpec, words: Sequence[str]) -> SearchRequest:
    """The request of a command line.

    Raises:
        ValueError: an unknown preset or setting, nothing to do, or a value that cannot be used.
    """
    args = build_parser(spec).parse_args(list(words))
    if args.preset not in spec.presets:
        raise ValueError(f"unknown preset {args.preset!r}, known are: {', '.join(spec.presets)}")
    _check_counts(args)
    preset = spec.presets[args.preset]
    if getattr(preset.config.training, "final_fit", False):
        raise ValueError(f"preset {args.preset} trains on the validation users, so nothing is left to judge trials by")
    metric = args.metric or preset.config.evaluation.primary
    check_decides(parse_metric(metric, preset.config.evaluation.PROTOCOL), "--metric")
    budget = args.budget if args.budget or args.trials is not None else DEFAULT_BUDGET
    typed = " ".join(word if re.fullmatch(r"[\w@%+=:,./-]+", word) else f"'{word}'" for word in words)
    return SearchRequest(
        spec=spec,
        preset_name=args.preset,
        data=args.data.absolute(),
        out=args.out.absolute(),
        budget=None if budget is None else seconds_of(budget),
        trials=args.trials,
        workers=args.workers,
        ranks=args.ranks,
        seed=args.seed,
        pruner=args.pruner,
        metric=metric,
        space=space_of(preset, args.space),
        command=f"python -m {spec.family}.tune {typed}",
    )


def _check_counts(args: argparse.Namespace) -> None:
    for name in ("trials", "workers", "ranks"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ValueError(f"--{name} is {value}, expected a whole number from 1")
    if args.seed < 0:
        raise ValueError(f"--seed is {args.seed}, expected a whole number from 0")


def seconds_of(text: str) -> float:
    """Seconds of a time as 1h, 30m, 90s or 1h30m.

    Raises:
        ValueError: another form, or no time at all.
    """
    parts = re.findall(r"(\d+(?:\.\d+)?)([hms])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"--budget is {text!r}, expected a time as 1h, 30m or 90s")
    total = math.fsum(float(number) * SECONDS[unit] for number, unit in parts)
    if not total:
        raise ValueError(f"--budget is {text}, expected more than nothing, as 30m")
    return total
