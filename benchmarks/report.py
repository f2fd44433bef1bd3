"""A report of the benchmarks in a results file: one HTML page, and Markdown for a README.

The newest record of each setting counts. Records of inference under load are in `python -m load_study report`.
"""

from __future__ import annotations

import argparse

from benchmarks.gpu.tables import GPU_TABLES
from benchmarks.plots import PLOTS
from benchmarks.summary import SUMMARIES
from benchmarks.tables import TABLES
from recsys_core.measuring import report

REPORT = report.Report(title="Benchmarks", tables={**TABLES, **GPU_TABLES}, plots=PLOTS, summaries=SUMMARIES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    report.add_arguments(parser, "runs/benchmarks.html")


def main(args: argparse.Namespace) -> int:
    REPORT.write(args.results, args.html, args.markdown)
    return 0
