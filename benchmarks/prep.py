"""Data preparation from end to end, in turn with the published pandas code: time and peak memory."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from recsys_core.measuring.processes import Cost, cost_of
from recsys_core.measuring.records import record
from recsys_core.measuring.rounds import Rounds, fields, in_rounds
from recsys_core.measuring.windows import ratios, spread

COLD = "each run is a new process, as users run it; the file was read or written before"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--like", default="ml-20m", help="sizes of the synthetic ratings.csv (default: %(default)s)")
    parser.add_argument("--raw", type=Path, help="a ratings.csv that is there already (default: one is drawn)")
    parser.add_argument("--held-out-users", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3, help="pairs of runs (default: %(default)s)")
    parser.add_argument("--without-pandas", action="store_true", help="measure ours only (Netflix does not fit pandas)")


def _ratings_file(args: argparse.Namespace, folder: Path) -> Path:
    if args.raw is not None:
        return args.raw
    path = folder / "ratings.csv"
    print(f"drawing {path.name} like {args.like} ...", flush=True)
    cost_of([sys.executable, "-m", "data_prep", "synthetic", "--like", args.like, "--write-csv", str(path)])
    return path


def _measure(args: argparse.Namespace, raw: Path, folder: Path) -> Rounds[Cost]:
    """Both in turn, so that changes of the machine's speed affect both."""
    held_out, out = str(args.held_out_users), folder / "out"

    def ours() -> Cost:
        words = ["csv", "--raw", str(raw), "--held-out-users", held_out, "--out", str(out / "ours")]
        return cost_of([sys.executable, "-m", "data_prep", *words])

    def pandas() -> Cost:
        return cost_of([sys.executable, "-m", "benchmarks.published_prep", str(raw), str(out / "pandas"), held_out])

    sides = {"ours": ours} if args.without_pandas else {"ours": ours, "pandas": pandas}
    return in_rounds(sides, args.rounds, before=lambda: shutil.rmtree(out, ignore_errors=True))


def main(args: argparse.Namespace) -> int:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        raw = _ratings_file(args, folder)
        rounds = _measure(args, raw, folder)
        size = raw.stat().st_size
    costs = rounds.values
    for name, runs in costs.items():
        wall, peak = [c.wall_s for c in runs], [c.peak_bytes / 2**30 for c in runs]
        print(f"{name:7} {spread(wall)} s wall, {spread(peak, '.2f')} GiB peak")
        values = {"way": name, "wall_s": wall, "peak_gib": peak, "input_bytes": size, "like": args.like}
        record(args.results, "prep", values | fields(rounds, why_cold=COLD))
    if "pandas" in costs:
        speed_up = ratios([c.wall_s for c in costs["pandas"]], [c.wall_s for c in costs["ours"]])
        print(f"in each round ours is {spread(speed_up)} times as fast")
    return 0
