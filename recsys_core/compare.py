"""Compare runs over the same held-out users: ``python -m recsys_core.compare runs/a runs/b``.

Each run is compared with one of them, the reference, by the differences of their values user by user. In Python:
`compare_runs` gives the same as a table. Nothing here imports TensorFlow.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys_core.errors import UserError
from recsys_core.parser import CommandParser

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Models compared with a reference, over the same users."""

    metric: str
    split: str
    reference: str
    """Name of the model that the others are compared with."""
    data_set: str
    """Fingerprint of the data set whose users these are."""
    confidence: float
    table: pd.DataFrame
    """A row for each model by name; see `compare_runs`."""
    notes: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Plain values; None where there is no value."""
        rows = {
            name: {column: _number(value) for column, value in row.items()}
            for name, row in self.table.to_dict("index").items()
        }
        about = {name: getattr(self, name) for name in ("metric", "split", "reference", "data_set", "confidence")}
        return {**about, "comparisons": len(rows) - 1, "models": rows, "notes": list(self.notes)}


def _number(value: Any) -> Any:
    return None if math.isnan(value) else int(value) if float(value).is_integer() and value > 1 else float(value)


def compare_runs(
    runs: Sequence[str | Path],
    metric: str | None = None,
    *,
    split: str = "test",
    reference: str | Path | None = None,
    confidence: float = 0.95,
    resamples: int = 9_999,
    seed: int = 0,
) -> pd.DataFrame:
    """A row for each run: its mean, and its paired difference to the reference with interval and p values.

    Args:
        runs: folders of runs, as "runs/a", baselines of runs, as "runs/a:ease", or files that `evaluate --per-user`
            wrote; two or more.
        metric: NAME@K (default: the primary metric of the first run, or the first metric of its file).
        split: "valid" or "test".
        reference: the run that the others are compared with, written as in `runs` (default: the first).
        confidence: of the intervals, between 0 and 1; each interval is for one comparison.
        resamples: random sign flips of each permutation test.
        seed: of the sign flips.

    Returns:
        A table by name of the run: mean, standard_error, difference, low, high, p_permutation, p_t, each p also
        corrected for the number of comparisons (`_holm`), and users; NaN for the reference.

    Raises:
        UserError: a run without per-user values, runs over other users or data, or a metric that one does not have.
    """
    names = [str(run) for run in runs]
    return comparison(
        names,
        metric,
        split=split,
        reference=None if reference is None else str(reference),
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    ).table


def comparison(
    names: Sequence[str],
    metric: str | None,
    *,
    split: str = "test",
    reference: str | None = None,
    confidence: float = 0.95,
    resamples: int = 9_999,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
) -> Comparison:
    """`compare_runs` with what belongs to it.

    Args:
        progress: called with the number of sign flips that were just computed.
    """
    from recsys_core.evaluation import runs_compared

    if not 0 < confidence < 1:
        raise UserError(f"confidence is {confidence}, expected a share between 0 and 1, as 0.95")
    found = runs_compared.read(names, metric, split, reference)
    table = runs_compared.table(found, confidence=confidence, resamples=resamples, seed=seed, progress=progress)
    return Comparison(
        metric=found.metric,
        split=split,
        reference=found.reference,
        data_set=found.data_set,
        confidence=confidence,
        table=table,
        notes=found.notes,
    )


def text(found: Comparison) -> str:
    """The comparison as a table with a line on how to read it."""
    from tabulate import tabulate

    share = f"{100 * found.confidence:g} %"
    rows = []
    for name, row in found.table.iterrows():
        means = [name, f"{row['mean']:.4f} ± {row['standard_error']:.4f}"]
        if name == found.reference:
            rows.append([*means, "reference", "", "", ""])
            continue
        interval = f"{row['low']:+.4f} to {row['high']:+.4f}"
        p_values = [_p(row["p_permutation_holm"]), _p(row["p_t_holm"])]
        rows.append([*means, f"{row['difference']:+.4f}", interval, *p_values])
    headers = ["run", found.metric, "difference", f"{share} interval", "p (permutation)", "p (t test)"]
    users = int(found.table["users"].iloc[0])
    lines = [tabulate(rows, headers, disable_numparse=True), f"{users:,} {found.split} users"]
    if len(rows) > 2:
        lines.append(f"p values are corrected for {len(rows) - 1} comparisons (Holm), intervals are for one each")
    return "\n".join([*lines, *found.notes])


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _parser() -> CommandParser:
    command = "python -m recsys_core.compare"
    parser = CommandParser(
        prog=command,
        description="Compare runs over the same held-out users: the difference of each to the first, user by user, "
        "with its interval and two tests.",
        epilog=f"examples:\n  {command} runs/a runs/b\n  {command} runs/a runs/b runs/a:ease --reference runs/a:ease "
        "--metric recall@20 --picture differences.png\n\nexit status: 0 done, 2 bad input, 130 Ctrl-C",
    )
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="folders of two runs or more; RUN:ease is a baseline of a run; a file that vaecf.evaluate --per-user "
        "wrote is a run too",
    )
    parser.add_argument("--metric", metavar="NAME@K", help="default: the primary metric of the first run")
    parser.add_argument("--split", default="test", help="valid or test (default: %(default)s)")
    parser.add_argument("--reference", metavar="RUN", help="the run to compare the others with (default: the first)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE", help="draw the differences with their intervals (PNG, SVG or PDF)"
    )
    parser.add_argument("--confidence", type=float, default=0.95, help="of the intervals (default: %(default)s)")
    parser.add_argument(
        "--resamples", type=int, default=9_999, help="random signs of a permutation test (default: %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random signs (default: %(default)s)")
    return parser


def _compared(args: argparse.Namespace) -> Comparison:
    """The comparison that the flags ask for, with a progress bar where it takes long."""
    from tqdm import tqdm

    if args.resamples < 1:
        raise UserError(f"--resamples is {args.resamples}, expected a whole number from 1")
    if args.seed < 0:
        raise UserError(f"--seed is {args.seed}, expected a whole number from 0")
    total = args.resamples * max(len(args.runs) - 1, 1)
    with tqdm(total=total, unit=" signs", delay=2, leave=False, file=sys.stderr, disable=None) as bar:
        return comparison(
            args.runs,
            args.metric,
            split=args.split,
            reference=args.reference,
            confidence=args.confidence,
            resamples=args.resamples,
            seed=args.seed,
            progress=lambda count: (bar.update(count), None)[1],
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input."""
    args = _parser().parse_args(argv)
    from recsys_core.cli import command
    from recsys_core.files import write_json
    from recsys_core.measuring.records import circumstances

    with command() as status:
        if args.picture is not None:
            from recsys_core.evaluation import difference_plot

            difference_plot.check_name(args.picture)
        found = _compared(args)
        print(text(found))
        if args.json is not None:
            write_json(args.json, {**found.as_json(), "measured": circumstances()})
        if args.picture is not None:
            difference_plot.draw(args.picture, found.table, found.reference, found.metric, found.confidence)
    return status.code


if __name__ == "__main__":
    sys.exit(main())
