"""Command line: ``python -m benchmarks ACTION``; ``--help`` names the actions."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import prep, suite
from benchmarks.inference import conversions, load, operators, platforms, schedule, study
from benchmarks.results import compare, report
from benchmarks.training import embeddings, evaluate, ncf, ncf_table, peers, roofline, scaling, speedup, train

ACTIONS = (
    ("prep", prep, "data preparation beside the pandas way"),
    ("train", train, "training speed of VAE-CF and its limit"),
    ("ncf", ncf, "training speed of NCF and its limit"),
    ("embeddings", embeddings, "updates of embedding tables: whole or by rows"),
    ("speedup", speedup, "the speed-up ladder from the published way to Horovod, with the metric beside the speed"),
    ("inference", conversions, "the exported model and its conversions: agreement, metrics, size, latency"),
    ("scaling", scaling, "strong and weak scaling over ranks, and where the time goes"),
    ("roofline", roofline, "what bounds a step here, and the share of it that is reached"),
    ("peers", peers, "our step beside a plain PyTorch one"),
    ("evaluate", evaluate, "evaluation speed and its limit"),
    ("load", load, "open-loop load on engines or a Triton server: tail latency, throughput, errors"),
    ("schedule", schedule, "the highest rate within a tail-latency target, over the split of queries"),
    ("operators", operators, "share of time by kind of operator and batch size"),
    ("platforms", platforms, "speed-up of engines and precisions over TensorFlow"),
    ("study", study, "operators, platforms, schedule and load of a model or all of the zoo, and the report"),
    ("compare", compare, "whether results became slower"),
    ("suite", suite, "every benchmark in turn, and the report"),
    ("report", report, "HTML and Markdown of what was measured"),
    ("ncf-table", ncf_table, "the table of the NCF paper, made anew"),
)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__import__("benchmarks").__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    for name, module, text in ACTIONS:
        action = actions.add_parser(name, help=text, description=module.__doc__)
        module.add_arguments(action)
        action.add_argument(
            "--results",
            type=Path,
            default=Path("runs/results.jsonl"),
            help="file to append to (default: %(default)s)",
        )
        action.set_defaults(run=module.main)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
