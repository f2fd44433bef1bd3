"""Step time of two hosts whose links are slowed down, and as predicted: python -m tests.hosts.links --data D.

The hosts are namespaces of this machine (hosts.sh): they share its cores, so only the time of the exchange is that of
two machines. Prints a row for each rate; medians over rounds. The second table has each step as it is predicted from
what was measured at the other rates: their compute, and an exchange by `benchmarks.link.Wires`, nothing hidden.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

from tabulate import tabulate

from benchmarks.link import fitted_wires, predicted
from tests.conftest import ROOT
from tests.hosts.hosts import Hosts, hosts

UNITS = {"mbit": 1e6 / 8, "gbit": 1e9 / 8}
"""Bytes/s of a rate of tc."""
PREDICTED = ("link", "step ms", "predicted ms", "difference", "exchange alone ms", "predicted ms ")
HEADERS = ("link", "ranks by", "step ms", "without exchange", "exposed", "step ms, fp16", "exposed, fp16", "bytes")


def measured(two: Hosts, args: argparse.Namespace, words: list[str]) -> dict[str, Any]:
    """The result of `benchmarks.scaling_rank` on both hosts."""
    launch = [sys.executable, "-m", "horovod_launch", "run", "-H", "h1:1,h2:1", "--threads", "1", *words]
    program = ["benchmarks.scaling_rank", "--", "--model", "vae", "--data", str(args.data.absolute()), "--batch-size"]
    program += [str(args.batch_size), "--rounds", str(args.rounds), "--seconds", str(args.seconds)]
    done = two.run("h1", [*launch, *program], {**os.environ, "PYTHONPATH": str(ROOT)}, timeout=900)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert done.returncode == 0 and lines, done.stderr
    found: dict[str, Any] = json.loads(lines[-1].removeprefix("RESULT "))
    return found


def speed(rate: str) -> float:
    """Bytes/s of a rate of tc; infinity where the link is as fast as it is."""
    if rate == "off":
        return float("inf")
    return next(float(rate.removesuffix(unit)) * size for unit, size in UNITS.items() if rate.endswith(unit))


def predictions(found: dict[str, dict[str, Any]]) -> list[tuple[str, ...]]:
    """Each step as it follows from what was measured at the other rates.

    Args:
        found: the result of `benchmarks.scaling_rank` by rate.
    """
    rows = []
    for rate, job in found.items():
        others = {name: other for name, other in found.items() if name != rate}
        points = [
            (speed(name), float(part["bytes"]), statistics.median(part["seconds"]))
            for name, other in others.items()
            for part in other["sums"]
        ]
        link = fitted_wires(job["ranks"], points).link(speed(rate))
        compute = statistics.median(s for other in others.values() for s in other["seconds"]["silent"])
        step, alone = (statistics.median(job["seconds"][name]) for name in ("whole", "exchange"))
        expected = predicted(compute, link, job["ranks"], job["gradient_bytes"])
        exchange = link.seconds(job["ranks"], job["gradient_bytes"])
        times = (f"{1e3 * step:,.0f}", f"{1e3 * expected:,.0f}", f"{expected / step - 1:+.0%}")
        rows.append((rate, *times, f"{1e3 * alone:,.0f}", f"{1e3 * exchange:,.0f}"))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="prepared data set")
    add("--rates", nargs="+", default=["1gbit", "10gbit", "25gbit", "off"], help="of tc; off: as fast as it is")
    add("--batch-size", type=int, default=2_048, help="global (default: %(default)s)")
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=4.0, help="of each window")
    add("--gloo", action="store_true")
    add("--json", type=Path, help="write what was measured there")
    args = parser.parse_args()
    rows, jobs = [], {}
    with hosts(prefix="links") as two:
        for rate in args.rates:
            for host in two.names:
                two.rate(host, None if rate == "off" else rate)
            jobs[rate] = found = measured(two, args, ["--gloo"] if args.gloo else [])
            middle = {name: 1e3 * statistics.median(values) for name, values in found["seconds"].items()}
            whole, silent, narrow = (middle[name] for name in ("whole", "silent", "narrow"))
            size = f"{found['gradient_bytes'] / 1e6:.0f} MB"
            parts = (whole, silent, whole - silent, narrow, narrow - silent)
            rows.append((rate, "Gloo" if args.gloo else "MPI", *(f"{ms:,.0f}" for ms in parts), size))
    print(tabulate(rows, headers=HEADERS))
    if len(jobs) > 2:
        print()
        print(tabulate(predictions(jobs), headers=PREDICTED))
    if args.json:
        args.json.write_text(json.dumps(jobs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
