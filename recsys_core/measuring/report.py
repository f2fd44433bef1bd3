"""A report of a results file: one self-contained HTML page, and Markdown for a README.

The newest record of each setting counts. First come the date, the machine and a summary in sentences, then for each
kind of record its plot, its table and its commands.
"""

from __future__ import annotations

import argparse
import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recsys_core.measuring import page
from recsys_core.measuring.cells import Row
from recsys_core.measuring.conditions import quiet_ones
from recsys_core.measuring.drawing import Plot
from recsys_core.measuring.records import newest, read
from recsys_core.measuring.tables import Table

Summary = Callable[[Sequence[Row]], list[str]]
"""Records of one kind -> sentences with their main figures; none where the records lack the fields."""
Front = Callable[[Sequence[Row]], page.Tile | None]
"""Records of one kind -> their main figure, for the first screen; None where the records lack the fields."""
Sections = Mapping[str, Sequence[Row]]
"""Kind -> its records."""
HOW_TO_READ = (
    "A figure is the median of repeated windows of one run, with their minimum and maximum in brackets, if the table "
    "says nothing else. Other work on the machine can move it by more than that."
)


def circumstances(rows: Sequence[Row]) -> list[str]:
    """The different commands, machines, versions and the time of some records, as lines."""
    lines: dict[str, None] = {}
    for row in rows:
        lines[row.get("command", "")] = None
        lines[page.machine_text(row.get("machine", {}))] = None
        lines[page.versions_text(row.get("versions", {}))] = None
    lines[page.measured_from_to(rows)] = None
    return [line for line in lines if line]


@dataclass(frozen=True, kw_only=True)
class Report:
    """How the records of one package are shown."""

    title: str
    tables: Mapping[str, Table]
    """Kind of record -> its table; in the order of the page."""
    plots: Mapping[str, Plot]
    """Kind of record -> its plot, for the kinds that have one."""
    summaries: Mapping[str, Summary]
    """Kind of record -> its sentences in the summary."""
    front: Mapping[str, Front] = field(default_factory=dict)
    """Kind of record -> its main figure."""
    what: str = ""
    """What the report is about, in a sentence."""

    def sections(self, records: Sequence[Row]) -> dict[str, list[Row]]:
        """Kind -> the newest record of every setting, for the kinds that have a table here."""
        found = newest([dict(values) for values in records])
        return {kind: [*found[kind]] for kind in self.tables if kind in found}

    def as_html(self, records: Sequence[Row]) -> str:
        """The page."""
        sections = self.sections(records)
        summary = page.unordered(
            f"<a href=#{kind}>{html.escape(self.tables[kind].title)}</a>: {html.escape(text)}"
            for kind, text in self.sentences(sections)
        )
        contents = page.unordered(f"<a href=#{kind}>{html.escape(self.tables[kind].title)}</a>" for kind in sections)
        head = f"<h1>{html.escape(self.title)}</h1>{self._front(sections)}{page.described(self.facts(sections))}"
        body = "".join(self._section_html(kind, rows) for kind, rows in sections.items())
        return page.frame(
            self.title,
            f"{head}<h2 id=summary>Summary</h2>{summary}<p class=note>{HOW_TO_READ}</p>"
            f"<nav aria-labelledby=contents><h2 id=contents>Contents</h2>{contents}</nav>{body}",
        )

    def _front(self, sections: Sections) -> str:
        """What the report is about, and the main figures."""
        found = [make(sections[kind]) for kind, make in self.front.items() if kind in sections]
        boxes = [tuple(map(html.escape, one)) for one in found if one is not None]
        about = f"<p class=about>{html.escape(self.what)}</p>" if self.what else ""
        return about + (page.tiles(boxes) if boxes else "")  # type: ignore[arg-type]

    def facts(self, sections: Sections) -> list[tuple[str, str]]:
        """(name, text): when it was measured, on which machines, with which versions, and what."""
        rows = [row for own in sections.values() for row in own]
        machines: dict[str, dict[str, None]] = {}
        for kind, own in sections.items():
            for row in own:
                machines.setdefault(page.machine_text(row.get("machine", {})), {})[self.tables[kind].title] = None
        several = len(machines) > 1
        versions = {page.versions_text(row.get("versions", {})): None for row in rows}
        return [
            ("Measured", page.measured_from_to(rows) or "date not recorded"),
            *(
                ("Machine", (text or "not recorded") + (f" (of: {', '.join(titles)})" if several else ""))
                for text, titles in machines.items()
            ),
            *(("Versions", text) for text in versions if text),
            ("Shown", f"{len(rows)} settings of {len(sections)} measurements, the newest record of each"),
        ]

    def sentences(self, sections: Sections) -> list[tuple[str, str]]:
        """(kind, sentence) of the summary."""
        found = []
        for kind in (kind for kind in sections if kind in self.summaries):
            groups = self.tables[kind].groups(sections[kind])
            for shared, rows in groups.items():
                prefix = f"({shared}) " if len(groups) > 1 else ""
                found += [(kind, prefix + text) for text in self.summaries[kind](rows)]
        return found

    def _section_html(self, kind: str, all_rows: Sequence[Row]) -> str:
        table = self.tables[kind]
        parts = [f"<section><h2 id={kind}>{html.escape(table.title)}</h2>"]
        for shared, rows in table.groups(all_rows).items():
            heading = f"<h3>{html.escape(shared)}</h3>" if shared else ""
            plot = self.plots[kind].as_html(rows) if kind in self.plots else ""
            lines = "".join(f"<div><code>{html.escape(line)}</code></div>" for line in circumstances(rows))
            details = f"<details><summary>How it was measured</summary>{lines}</details>"
            parts.append(f"{heading}{plot}{table.as_html(rows)}{details}")
        return "".join(parts) + "</section>"

    def as_markdown(self, records: Sequence[Row]) -> str:
        """Date, machine and summary, then the tables, each with its commands."""
        sections = self.sections(records)
        facts = [f"{name}: {text}" for name, text in self.facts(sections)]
        summary = [f"- {self.tables[kind].title}: {text}" for kind, text in self.sentences(sections)]
        parts = ["  \n".join(facts) + "\n\n" + "\n".join(summary) + "\n"]
        for kind, all_rows in sections.items():
            table = self.tables[kind]
            for shared, rows in table.groups(all_rows).items():
                lines = "\n".join(f"    {line}" for line in circumstances(rows))
                title = table.title + (f" ({shared})" if shared else "")
                parts.append(f"### {title}\n\n{table.as_markdown(rows)}\n\n{lines}\n")
        return "\n".join(parts)

    def write(self, results: Path, to: Path, markdown: Path | None) -> None:
        """Write the page, and the Markdown if it has a path.

        Raises:
            ValueError: the results file has no record of these kinds.
        """
        records, left_out = quiet_ones(read(results))
        if left_out:
            print(f"{left_out} record{'s' if left_out > 1 else ''} of a busy machine left out (--busy shows them)")
        if not self.sections(records):
            raise ValueError(f"{results} holds nothing to report, expected records of: {', '.join(self.tables)}")
        write_text(to, self.as_html(records))
        if markdown:
            write_text(markdown, self.as_markdown(records))
        if other := sorted({row["kind"] for row in records} - {*self.tables}):
            print(f"not in this report: records of {', '.join(other)}")


def write_text(path: Path, text: str) -> None:
    """Write a report, and say so."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    print(f"report: {path}")


def add_arguments(parser: argparse.ArgumentParser, default: str) -> None:
    """Flags of a command that writes a report, by default to the file `default`."""
    parser.add_argument("--html", type=Path, default=Path(default), help="(default: %(default)s)")
    parser.add_argument("--markdown", type=Path, help="also as Markdown (default: no)")
