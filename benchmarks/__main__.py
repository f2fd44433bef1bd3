"""Command line: ``python -m benchmarks ACTION``; ``--help`` lists the actions."""

from __future__ import annotations

import sys

import benchmarks
from recsys_core.measuring.commands import CommandLine

COMMAND_LINE = CommandLine(
    package="benchmarks",
    description=benchmarks.__doc__ or "",
    actions={
        "prep": "data preparation: time and memory, ours and the published pandas code",
        "train": "VAE-CF training step: speed, operations, bytes, and the share of its limit",
        "ncf": "NCF training step: speed, operations, bytes, and the share of its limit",
        "speedup": "the speed-up ladder of NVIDIA's case study, from dense batches to Horovod",
        "scaling": "strong and weak scaling over ranks, and the parts of a step's time",
        "embeddings": "updates of embedding tables: the whole table or single rows",
        "peers": "training step, ours and plain PyTorch",
        "trainings": "whole trainings, ours and of RecBole and implicit: time to the same quality",
        "evaluate": "evaluation over the whole catalogue, and the share of its limit",
        "serve": "an export and its conversions: agreement, metrics, size, latency",
        "release": "a version published, shadowed, promoted and rolled back while a Triton server answers",
        "batch": "recommendations for all users, and the share of the limit",
        "suite": "all of these in turn, and the report",
        "gpu": "tests, speed and memory of one GPU beside compiled PyTorch, in eight minutes",
        "check": "test whether a part is slower than recorded, by ratio to this machine's own limits",
        "report": "HTML and Markdown of a results file; --docs: the pages made from committed records",
        "record": "keep figures of results files and runs in results/, for the pages",
        "compare": "test whether the results in one file are slower than in another",
    },
    examples=(
        "train --data data/mine",
        "scaling --data data/mine --ranks 1 2 4",
        "trainings --data data/per-user --peer-python V/bin/python",
        "release --export runs/first --candidate runs/next",
        "check --folder runs/check",
        "suite --data data/mine --export runs/a/export --quick",
    ),
    moved={
        **{name: f"is now `python -m load_study {name}`"
           for name in ("load", "schedule", "operators", "platforms", "study")},
        "inference": "is now `python -m benchmarks serve`",
        "roofline": "is now part of `python -m benchmarks train` and `python -m benchmarks ncf`",
        "ncf-table": "is now `python -m benchmarks.reproduce.ncf_table`",
    },
)  # fmt: skip
main = COMMAND_LINE.main

if __name__ == "__main__":
    sys.exit(main())
