"""All benchmarks that this machine can run, one after another, and the report.

The suite takes half an hour on two cores with the ML-20M shape; --quick takes a fifth of that, with fewer windows.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from benchmarks import report
from recsys_core.measuring.machine import gpus
from recsys_core.measuring.processes import run_action


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--data", type=Path, required=True, help="prepared data set, as synthetic --like ml-20m-prepared")
    add("--export", type=Path, help="RUN_DIR/export with its conversions, for `serve` (default: that is left out)")
    add("--ranks", type=int, default=2, help="of `scaling` and of the ladder's last rung (default: %(default)s)")
    add("--quick", action="store_true", help="shorter windows, fewer rounds, smaller batches")
    add("--only", nargs="+", metavar="NAME", help="of the benchmarks (default: all that can run)")
    report.add_page_arguments(parser)


def plan(args: argparse.Namespace, *, peers: bool, gpu: bool) -> dict[str, list[str]]:
    """Name of each benchmark -> its arguments.

    Args:
        peers: PyTorch is installed.
        gpu: the machine has a GPU, so fp16 and tf32 are measured too.
    """
    data = ["--data", str(args.data)]
    precisions = ["--precision", "fp32", "bf16", *(["fp16", "tf32"] if gpu else [])]
    window = ["--seconds", "1"] if args.quick else []
    rounds = ["--rounds", "1"] if args.quick else []
    ranks = str(args.ranks)
    found = {
        "train": [*data, *precisions, *window],
        "ncf": [*precisions, *window],
        "evaluate": [*data, *window],
        "scaling": [*data, "--ranks", ranks, *rounds, *window, *(["--batch-size", "2048"] if args.quick else [])],
        "speedup": [*data, "--ranks", ranks, *rounds, *window],
        "prep": ["--like", "ml-1m" if args.quick else "ml-20m", *rounds],
    }
    if peers:
        models = ["--model", "vae", "he2017-64", "nvidia"]
        found["peers"] = [*data, *models, *rounds, *window]
    if args.export:
        found["serve"] = ["--export", str(args.export), *window]
        found["batch"] = ["--export", str(args.export), *window]
    return {name: words for name, words in found.items() if not args.only or name in args.only}


def main(args: argparse.Namespace) -> int:
    todo = plan(args, peers=importlib.util.find_spec("torch") is not None, gpu=bool(gpus()))
    if args.only and (unknown := set(args.only) - set(todo)):
        raise ValueError(f"--only {sorted(unknown)[0]}: cannot be run, expected one of {', '.join(todo) or 'none'}")
    failed = [name for name, words in todo.items() if not run_action("benchmarks", name, words, args.results)]
    status = report.write_page(args)
    if failed:
        print(f"error: failed: {', '.join(failed)} (see above); the rest is in the report", file=sys.stderr)
    return 1 if failed else status
