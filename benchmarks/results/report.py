"""A report of a results file: one self-contained HTML page with tables and plots, and Markdown for a README.

Of each setting the newest record counts. Beside every table stand the commands, the machine and the versions it was
measured with.
"""

from __future__ import annotations

import argparse
import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.results import plots, tables
from benchmarks.results.records import read, settings

STYLE = """body{font:16px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;font-size:14px}
td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:right}
td:first-child,th:first-child{text-align:left}code{background:#f3f3f3;padding:.2em .4em}
svg{max-width:100%;height:auto}details{color:#666;font-size:14px}"""


def newest(records: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """By kind, the last record of every setting, in the order of the settings' first appearance."""
    found: dict[str, dict[tuple[str, ...], Mapping[str, Any]]] = {}
    for values in records:
        if values["kind"] in tables.TABLES:
            found.setdefault(values["kind"], {})[settings(values)] = values
    return {kind: list(found[kind].values()) for kind in tables.TABLES if kind in found}


def circumstances(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The different commands, machines and versions of some records, as lines."""
    lines: dict[str, None] = {}
    for row in rows:
        lines[row.get("command", "")] = None
        for name in ("machine", "versions"):
            lines[", ".join(f"{key} {value}" for key, value in row.get(name, {}).items() if value)] = None
    return [line for line in lines if line]


def as_html(sections: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """The page."""
    parts = []
    for kind, everything in sections.items():
        parts.append(f"<h2>{tables.TABLES[kind].title}</h2>")
        for shared, rows in tables.apart(kind, everything).items():
            heading = f"<h3>{html.escape(shared)}</h3>" if shared else ""
            drawn = plots.PLOTS[kind](rows) if kind in plots.PLOTS else ""
            lines = "".join(f"<div><code>{html.escape(line)}</code></div>" for line in circumstances(rows))
            about = f"<details><summary>How it was measured</summary>{lines}</details>"
            parts.append(f"{heading}{drawn}{tables.as_html(kind, rows)}{about}")
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Benchmarks</title><style>{STYLE}</style>"
        f"<h1>Benchmarks</h1>{''.join(parts)}</html>\n"
    )


def as_markdown(sections: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Tables, each with its commands."""
    parts = []
    for kind, everything in sections.items():
        for shared, rows in tables.apart(kind, everything).items():
            lines = "\n".join(f"    {line}" for line in circumstances(rows))
            title = tables.TABLES[kind].title + (f" ({shared})" if shared else "")
            parts.append(f"### {title}\n\n{tables.markdown(kind, rows)}\n\n{lines}\n")
    return "\n".join(parts)


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"report: {path}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--html", type=Path, default=Path("runs/benchmarks.html"), help="(default: %(default)s)")
    parser.add_argument("--markdown", type=Path, help="also as Markdown (default: no)")


def main(args: argparse.Namespace) -> int:
    sections = newest(read(args.results))
    if not sections:
        raise ValueError(f"{args.results} holds nothing to report, expected records of: {', '.join(tables.TABLES)}")
    write(args.html, as_html(sections))
    if args.markdown:
        write(args.markdown, as_markdown(sections))
    return 0
