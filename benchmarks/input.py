"""The input pipeline alone, of one rank of a job of any size: private memory, CPU time of a batch, head of an epoch.

The data are random and lie in memory-mapped files, as those of a prepared data set do. The rank is pretended: nothing
is exchanged. Each row of the table is measured by processes of their own:

    python -m benchmarks.input --events 5e6 20e6 --ranks 1 64
    python -m benchmarks.input --events 1e8 --ranks 1 --family vaecf --batch-size 50000
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
import time
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from recsys_core.measuring.commands import quiet_status
from recsys_core.measuring.processes import print_result, result_of
from recsys_core.measuring.records import record
from recsys_core.measuring.rounds import fields, in_rounds
from recsys_core.measuring.windows import spread

COLD = "each run is a new process, whose first batch is a figure of its own"
EVENTS_OF_USER = 150
ITEMS = 20_000


def write_events(folder: Path, events: int, n_items: int = ITEMS, each: int = EVENTS_OF_USER) -> None:
    """Users of as many random items each, as `train.indptr.npy` and `train.indices.npy`, written in blocks."""
    users, gap = events // each, n_items // each
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "train.indptr.npy", np.arange(users + 1, dtype=np.int64) * each)
    path = folder / "train.indices.npy"
    indices = np.lib.format.open_memmap(path, mode="w+", dtype=np.int32, shape=(users * each,))
    rng, block = np.random.default_rng(0), max(1, 2**20 // each)
    first = np.arange(each, dtype=np.int32) * gap
    for user in range(0, users, block):
        count = min(block, users - user)
        rows = first + rng.integers(0, gap, (count, each), dtype=np.int32)  # ascending, and no item twice
        indices[user * each : (user + count) * each] = rows.ravel()
    indices.flush()


def private_bytes() -> int:
    """Memory of this process that no file backs, in bytes."""
    return 1024 * int(re.findall(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())[0])


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """One row of the table."""
    from recsys_core.input.batches import pair_batches, train_batches
    from recsys_core.matrices import Csr
    from recsys_core.world import World

    world = World()
    world.rank, world.size = args.ranks[0] // 2, args.ranks[0]
    train = Csr(
        indptr=np.load(args.folder / "train.indptr.npy", mmap_mode="r"),
        indices=np.load(args.folder / "train.indices.npy", mmap_mode="r"),
        n_items=ITEMS,
    )
    common: dict[str, Any] = {"seed": 0, "world": world, "start_step": 0, "total_steps": 2 + args.batches}
    next(iter(train_batches(train, batch_size=world.size, **common)))  # TensorFlow's own memory
    before, start = private_bytes(), time.perf_counter()
    if args.family == "ncf_tf":
        batches = iter(pair_batches(train, pairs=args.batch_size, **common))
    else:
        batches = iter(train_batches(train, batch_size=args.batch_size, **common))
    next(batches)
    head, highest = time.perf_counter() - start, private_bytes()
    start = time.process_time()
    for _ in batches:
        highest = max(highest, private_bytes())
    used = time.process_time() - start
    return {"private_bytes": highest - before, "cpu_seconds": used / args.batches, "head_seconds": head}


def _of_process(args: argparse.Namespace, folder: Path, ranks: int) -> dict[str, Any]:
    """`measure` in a process of its own."""
    words = ["-m", "benchmarks.input", "--folder", str(folder), "--ranks", str(ranks), "--family", args.family]
    return result_of([*words, "--batch-size", str(args.batch_size), "--batches", str(args.batches)])


def rows(args: argparse.Namespace) -> None:
    """Print the table, and record each row."""
    print(f"{'events':>12} {'ranks':>5} {'private MiB':>22} {'CPU ms a batch':>22} {'first batch s':>22}")
    with tempfile.TemporaryDirectory() as temporary:
        for events, ranks in product(args.events, args.ranks):
            folder = Path(temporary) / f"{events:.0f}"
            if not folder.exists():
                write_events(folder, int(events))
            rounds = in_rounds({"input": partial(_of_process, args, folder, ranks)}, args.rounds)
            runs = rounds.values["input"]
            values = {
                "private_gib": [found["private_bytes"] / 2**30 for found in runs],
                "batch_cpu_ms": [1e3 * found["cpu_seconds"] for found in runs],
                "head_s": [found["head_seconds"] for found in runs],
            }
            texts = [
                spread([1024 * gib for gib in values["private_gib"]], ",.0f"),
                spread(values["batch_cpu_ms"]),
                spread(values["head_s"], ".2f"),
            ]
            print(f"{events:12,.0f} {ranks:5} {texts[0]:>22} {texts[1]:>22} {texts[2]:>22}", flush=True)
            about = {"family": args.family, "events": int(events), "ranks": ranks, "batch_size": args.batch_size}
            record(args.results, "input", {**about, **values, **fields(rounds, why_cold=COLD)})


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.input", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--events", type=float, nargs="+", default=[5e6, 10e6, 20e6])
    add("--rounds", type=int, default=3, help="processes of each row (default: %(default)s)")
    add("--results", type=Path, default=Path("runs/results.jsonl"), help="results file (default: %(default)s)")
    add("--ranks", type=int, nargs="+", default=[1, 4, 64, 256], help="of the job of which this is one")
    add("--family", choices=("ncf_tf", "vaecf"), default="ncf_tf", help="batches of pairs, or of users")
    add("--batch-size", type=int, default=200_000, help="pairs or users of a global batch (default: %(default)s)")
    add("--batches", type=int, default=40, help="that are timed (default: %(default)s)")
    add("--folder", type=Path, help=argparse.SUPPRESS)
    return parser


def main() -> int:
    args = build_parser().parse_args()
    if args.folder is None:
        rows(args)
        return quiet_status()
    print_result(measure(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
