"""Step time of two hosts whose links are slowed down: python -m tests.hosts.links --data D [--rates 1gbit 10gbit].

The hosts are namespaces of this machine (hosts.sh): they share its cores, so only the time of the exchange is that of
two machines. Prints a row for each rate; medians over rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path

from tabulate import tabulate

from tests.conftest import ROOT
from tests.hosts.hosts import Hosts, hosts

HEADERS = ("link", "ranks by", "step ms", "without exchange", "exposed", "step ms, fp16", "exposed, fp16", "bytes")


def measured(two: Hosts, args: argparse.Namespace, words: list[str]) -> dict[str, list[float]]:
    """Seconds of a step by its variants, and the bytes of the gradients (`benchmarks.scaling_rank`)."""
    launch = [sys.executable, "-m", "horovod_launch", "run", "-H", "h1:1,h2:1", "--threads", "1", *words]
    program = ["benchmarks.scaling_rank", "--", "--model", "vae", "--data", str(args.data.absolute()), "--batch-size"]
    program += [str(args.batch_size), "--rounds", str(args.rounds), "--seconds", str(args.seconds)]
    done = two.run("h1", [*launch, *program], {**os.environ, "PYTHONPATH": str(ROOT)}, timeout=900)
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert done.returncode == 0 and lines, done.stderr
    found = json.loads(lines[-1].removeprefix("RESULT "))
    return found["seconds"] | {"bytes": [found["gradient_bytes"]]}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    add = parser.add_argument
    add("--data", type=Path, required=True, help="prepared data set")
    add("--rates", nargs="+", default=["1gbit", "10gbit", "off"], help="of tc; off: as fast as it is")
    add("--batch-size", type=int, default=2_048, help="global (default: %(default)s)")
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=4.0, help="of each window")
    add("--gloo", action="store_true")
    args = parser.parse_args()
    rows = []
    with hosts(prefix="links") as two:
        for rate in args.rates:
            for host in two.names:
                two.rate(host, None if rate == "off" else rate)
            found = measured(two, args, ["--gloo"] if args.gloo else [])
            middle = {name: 1e3 * statistics.median(values) for name, values in found.items()}
            whole, silent, narrow = (middle[name] for name in ("whole", "silent", "narrow"))
            size = f"{found['bytes'][0] / 1e6:.0f} MB"
            parts = (whole, silent, whole - silent, narrow, narrow - silent)
            rows.append((rate, "Gloo" if args.gloo else "MPI", *(f"{ms:,.0f}" for ms in parts), size))
    print(tabulate(rows, headers=HEADERS))
    return 0


if __name__ == "__main__":
    sys.exit(main())
