"""A report of the benchmarks in a results file: one HTML page, and Markdown. The newest record of each setting counts.

With --docs: docs/results.md, the tables of other pages and one HTML page, made from the committed records in results/.
Records of inference under load are in `python -m load_study report`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.front import FRONT, WHAT_IT_IS
from benchmarks.gpu.tables import GPU_TABLES
from benchmarks.plots import PLOTS
from benchmarks.summary import SUMMARIES
from benchmarks.tables import TABLES
from recsys_core.measuring import report

RESULTS_PAGE = "runs/results.html"
REPORT = report.Report(
    title="Benchmarks",
    what=WHAT_IT_IS,
    tables={**TABLES, **GPU_TABLES},
    plots=PLOTS,
    summaries=SUMMARIES,
    front=FRONT,
)


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """Flags of `write_page`."""
    report.add_arguments(parser, "runs/benchmarks.html")


def write_page(args: argparse.Namespace) -> int:
    """The report of the records in --results."""
    REPORT.write(args.results, args.html, args.markdown)
    return 0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_page_arguments(parser)
    parser.add_argument(
        "--docs", action="store_true", help=f"instead: docs/results.md, tables of other pages, and {RESULTS_PAGE}"
    )


def _write_pages() -> int:
    """Write the pages of this repository; says what is left that was measured before records were kept."""
    from benchmarks.pages import web
    from benchmarks.pages.committed import ROOT
    from benchmarks.pages.render import Renderer

    renderer = Renderer(ROOT)
    changed = renderer.write()
    report.write_text(Path(RESULTS_PAGE), web.as_html(ROOT))
    print(f"written: {', '.join(str(path.relative_to(ROOT)) for path in changed) or 'nothing had changed'}")
    old = renderer.left()
    counts = renderer.counts
    print(f"measured before records were kept: {counts['transcribed']} of {counts['records']} records, by table:")
    for name, count in old.items():
        print(f"  {name}: {count}")
    return 0


def main(args: argparse.Namespace) -> int:
    return _write_pages() if args.docs else write_page(args)
