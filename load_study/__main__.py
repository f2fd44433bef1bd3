"""Command line: ``python -m load_study ACTION``; ``--help`` lists the actions."""

from __future__ import annotations

import sys

import load_study
from recsys_core.measuring.commands import CommandLine

COMMAND_LINE = CommandLine(
    package="load_study",
    description=load_study.__doc__ or "",
    actions={
        "load": "open-loop load on engines or a Triton server: tail latency, throughput, errors",
        "schedule": "the highest rate within a tail-latency target, over the split of queries",
        "operators": "share of time by kind of operator and batch size",
        "platforms": "speed-up of engines and precisions over TensorFlow, for models of the zoo",
        "loadgen": "the same rate as MLPerf's LoadGen finds it, beside ours",
        "study": "all of these for one model or the whole zoo, and the report",
        "report": "HTML and Markdown of a results file",
    },
    examples=(
        "load --model rmc1 --rate 50 100",
        "schedule --export runs/a/export --level p99",
        "loadgen --model delay:10 ncf --engines 1 --compare",
    ),
)
main = COMMAND_LINE.main

if __name__ == "__main__":
    sys.exit(main())
