"""A report of inference under load in a results file: one HTML page, and Markdown for a README.

The newest record of each setting counts. Records of the other benchmarks are in `python -m benchmarks report`.
"""

from __future__ import annotations

import argparse

from load_study.plots import PLOTS
from load_study.summary import SUMMARIES
from load_study.tables import TABLES
from recsys_core.measuring import report

REPORT = report.Report(title="Inference under load", tables=TABLES, plots=PLOTS, summaries=SUMMARIES)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    report.add_arguments(parser, "runs/load_study.html")


def main(args: argparse.Namespace) -> int:
    REPORT.write(args.results, args.html, args.markdown)
    return 0
