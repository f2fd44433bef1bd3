"""A report of a results file: one self-contained HTML page with tables and plots, and Markdown for a README.

The newest record of each setting counts. Every table has the commands, the machine and the versions.
"""

from __future__ import annotations

import argparse
import html
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from recsys_core.measuring.cells import Row
from recsys_core.measuring.drawing import Plot
from recsys_core.measuring.records import newest, read
from recsys_core.measuring.tables import Table

STYLE = """body{font:16px/1.5 sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0;font-size:14px}
td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:right}
td:first-child,th:first-child{text-align:left}code{background:#f3f3f3;padding:.2em .4em}
svg{max-width:100%;height:auto}details{color:#666;font-size:14px}"""


def circumstances(rows: Sequence[Row]) -> list[str]:
    """The different commands, machines and versions of some records, as lines."""
    lines: dict[str, None] = {}
    for row in rows:
        lines[row.get("command", "")] = None
        for name in ("machine", "versions"):
            lines[", ".join(f"{key} {value}" for key, value in row.get(name, {}).items() if value)] = None
    return [line for line in lines if line]


@dataclass(frozen=True, kw_only=True)
class Report:
    """How the records of one package are shown."""

    title: str
    tables: Mapping[str, Table]
    """Kind of record -> its table; in the order of the page."""
    plots: Mapping[str, Plot]
    """Kind of record -> its plot, for the kinds that have one."""

    def sections(self, records: Sequence[Row]) -> dict[str, list[Row]]:
        """Kind -> the newest record of every setting, for the kinds that have a table here."""
        found = newest([dict(values) for values in records])
        return {kind: [*found[kind]] for kind in self.tables if kind in found}

    def as_html(self, records: Sequence[Row]) -> str:
        """The page."""
        parts = []
        for kind, all_rows in self.sections(records).items():
            table = self.tables[kind]
            parts.append(f"<h2>{table.title}</h2>")
            for shared, rows in table.groups(all_rows).items():
                heading = f"<h3>{html.escape(shared)}</h3>" if shared else ""
                plot = self.plots[kind](rows) if kind in self.plots else ""
                lines = "".join(f"<div><code>{html.escape(line)}</code></div>" for line in circumstances(rows))
                details = f"<details><summary>How it was measured</summary>{lines}</details>"
                parts.append(f"{heading}{plot}{table.as_html(rows)}{details}")
        return (
            f"<!doctype html><html lang=en><meta charset=utf-8><title>{self.title}</title><style>{STYLE}</style>"
            f"<h1>{self.title}</h1>{''.join(parts)}</html>\n"
        )

    def as_markdown(self, records: Sequence[Row]) -> str:
        """The tables, each with its commands."""
        parts = []
        for kind, all_rows in self.sections(records).items():
            table = self.tables[kind]
            for shared, rows in table.groups(all_rows).items():
                lines = "\n".join(f"    {line}" for line in circumstances(rows))
                title = table.title + (f" ({shared})" if shared else "")
                parts.append(f"### {title}\n\n{table.as_markdown(rows)}\n\n{lines}\n")
        return "\n".join(parts)

    def write(self, results: Path, page: Path, markdown: Path | None) -> None:
        """Write the page, and the Markdown if it has a path.

        Raises:
            ValueError: the results file has no record of these kinds.
        """
        records = read(results)
        if not self.sections(records):
            raise ValueError(f"{results} holds nothing to report, expected records of: {', '.join(self.tables)}")
        _write_text(page, self.as_html(records))
        if markdown:
            _write_text(markdown, self.as_markdown(records))
        if other := sorted({row["kind"] for row in records} - {*self.tables}):
            print(f"not in this report: records of {', '.join(other)}")


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"report: {path}")


def add_arguments(parser: argparse.ArgumentParser, page: str) -> None:
    """Flags of a command that writes a report, by default to the file `page`."""
    parser.add_argument("--html", type=Path, default=Path(page), help="(default: %(default)s)")
    parser.add_argument("--markdown", type=Path, help="also as Markdown (default: no)")
