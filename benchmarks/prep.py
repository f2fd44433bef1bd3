"""Data preparation from end to end, in turn with the published pandas code: time and peak memory."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from recsys_core.measuring.processes import Cost, cost_of
from recsys_core.measuring.records import record
from recsys_core.measuring.windows import ratios, spread


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


def main(args: argparse.Namespace) -> int:
    """Alternate both, so that changes of the machine's speed affect both."""
    costs: dict[str, list[Cost]] = {"ours": [], "pandas": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        raw, held_out = _ratings_file(args, folder), str(args.held_out_users)
        for k in range(args.rounds):
            ours = [sys.executable, "-m", "data_prep", "csv", "--raw", str(raw), "--held-out-users", held_out]
            costs["ours"].append(cost_of([*ours, "--out", str(folder / f"ours-{k}")]))
            if not args.without_pandas:
                published = [sys.executable, "-m", "benchmarks.published_prep", str(raw)]
                costs["pandas"].append(cost_of([*published, str(folder / f"pandas-{k}"), held_out]))
        size = raw.stat().st_size
    for name, runs in costs.items():
        if runs:
            wall, peak = [c.wall_s for c in runs], [c.peak_bytes / 2**30 for c in runs]
            print(f"{name:7} {spread(wall)} s wall, {spread(peak, '.2f')} GiB peak")
            values = {"way": name, "wall_s": wall, "peak_gib": peak, "input_bytes": size, "like": args.like}
            record(args.results, "prep", values)
    if costs["pandas"]:
        speed_up = ratios([c.wall_s for c in costs["pandas"]], [c.wall_s for c in costs["ours"]])
        print(f"in each round ours is {spread(speed_up)} times as fast")
    return 0
