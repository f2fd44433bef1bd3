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

import numpy as np
from tabulate import tabulate

from benchmarks.link import fitted_wires, predicted
from recsys_core.measuring.records import record
from recsys_core.measuring.rounds import Rounds, WarmUp, fields
from tests.conftest import ROOT
from tests.hosts.hosts import Hosts, hosts

UNITS = {"mbit": (1e6 / 8, "Mbit/s"), "gbit": (1e9 / 8, "Gbit/s")}
"""Unit of tc -> bytes/s, and its text."""
LEAST_BYTES = 2**19
"""Of a sum that the wires are fitted to: smaller ones take a cycle of Horovod, a millisecond, over any link."""
PARTS = {
    "link": "link",
    "step_ms": "step ms",
    "step_alone_ms": "without exchange",
    "exposed_ms": "exposed",
    "step_fp16_ms": "step ms, fp16",
    "exposed_fp16_ms": "exposed, fp16",
}
PREDICTED = {
    "link": "link",
    "step_ms": "step ms",
    "predicted_step_ms": "predicted ms",
    "exchange_ms": "exchange alone ms",
    "predicted_exchange_ms": "predicted ms ",
}
"""Field of a row -> header of its column."""


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
    return next(float(rate.removesuffix(unit)) * size for unit, (size, _) in UNITS.items() if rate.endswith(unit))


def text_of(rate: str) -> str:
    """A rate of tc for a reader: "10 Gbit/s"."""
    if rate == "off":
        return "not limited"
    return next(f"{rate.removesuffix(unit)} {text}" for unit, (_, text) in UNITS.items() if rate.endswith(unit))


def milliseconds(job: dict[str, Any], name: str) -> list[float]:
    """The windows of a variant of the step, or of the exchange alone."""
    return [1e3 * seconds for seconds in job["seconds"][name]]


def parts(job: dict[str, Any]) -> dict[str, list[float]]:
    """The step at one rate and its parts, in ms, window by window; the differences are of the same round."""
    whole, silent, narrow = (milliseconds(job, name) for name in ("whole", "silent", "narrow"))
    return {
        "step_ms": whole,
        "step_alone_ms": silent,
        "exposed_ms": [a - b for a, b in zip(whole, silent, strict=True)],
        "step_fp16_ms": narrow,
        "exposed_fp16_ms": [a - b for a, b in zip(narrow, silent, strict=True)],
        "exchange_ms": milliseconds(job, "exchange"),
    }


def validity(job: dict[str, Any]) -> dict[str, Any]:
    """The fields `rounds` and `invalid` of a record. No window is discarded: the programs of the hosts, which would
    count as others, are those that are measured."""
    kept, warm_up = len(job["seconds"]["whole"]), WarmUp(**job["warm_up"])
    return fields(Rounds(values={}, wanted=kept, kept=kept), [warm_up])


def prediction(rate: str, found: dict[str, dict[str, Any]]) -> dict[str, float]:
    """The step and the exchange at one rate, in ms, as they follow from what was measured at the other rates.

    Args:
        found: the result of `benchmarks.scaling_rank` by rate.
    """
    job, others = found[rate], {name: other for name, other in found.items() if name != rate}
    points = [
        (speed(name), float(part["bytes"]), statistics.median(part["seconds"]))
        for name, other in others.items()
        for part in other["sums"]
        if part["bytes"] >= LEAST_BYTES
    ]
    link = fitted_wires(job["ranks"], points).link(speed(rate))
    compute = statistics.median(s for other in others.values() for s in other["seconds"]["silent"])
    size = job["gradient_bytes"]
    step, exchange = predicted(compute, link, job["ranks"], size), link.seconds(job["ranks"], size)
    return {"predicted_step_ms": 1e3 * step, "predicted_exchange_ms": 1e3 * exchange}


def shown(rows: list[dict[str, Any]], columns: dict[str, str]) -> str:
    """A table of rows: medians of windows, in whole milliseconds."""

    def cell(value: Any) -> str:
        return value if isinstance(value, str) else f"{statistics.median(np.ravel(value)):,.0f}"

    return tabulate([[cell(row[name]) for name in columns] for row in rows], headers=list(columns.values()))


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
    add("--results", type=Path, help="append a record of each rate to this results file")
    args = parser.parse_args()
    jobs = {}
    with hosts(prefix="links") as two:
        for rate in args.rates:
            for host in two.names:
                two.rate(host, None if rate == "off" else rate)
            jobs[rate] = measured(two, args, ["--gloo"] if args.gloo else [])
    rows: list[dict[str, Any]] = [{"link": text_of(rate), **parts(job)} for rate, job in jobs.items()]
    print(shown(rows, PARTS))
    if len(jobs) > 2:
        rows = [row | prediction(rate, jobs) for row, rate in zip(rows, jobs, strict=True)]
        print(f"\n{shown(rows, PREDICTED)}")
    if args.json:
        args.json.write_text(json.dumps(jobs))
    for row, job in zip(rows, jobs.values(), strict=True) if args.results else ():
        record(args.results, "hosts", {"by": "Gloo" if args.gloo else "MPI", **row, **validity(job)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
