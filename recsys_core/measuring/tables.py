"""Tables of records: the same columns on the screen, in Markdown and in HTML."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass

from recsys_core.measuring.cells import Cell, Row


@dataclass(frozen=True, kw_only=True)
class Table:
    """Title, columns and note of the table that shows one kind of record."""

    title: str
    columns: Sequence[tuple[str, Cell]]
    """(header, cell)"""
    note: str = ""
    grouped_by: Sequence[str] = ()
    """Fields that all rows of one table share; records that differ in them stand in separate tables."""

    def groups(self, rows: Sequence[Row]) -> dict[str, list[Row]]:
        """Rows of each table by the text of the fields that they share."""
        found: dict[str, list[Row]] = {}
        for row in rows:
            shared = ", ".join(f"{name}: {row[name]}" for name in self.grouped_by if name in row)
            found.setdefault(shared, []).append(row)
        return found

    def _headers_and_lines(self, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
        """Headers and lines of cells, without the columns that are empty."""
        columns = [(header, [cell(row) for row in rows]) for header, cell in self.columns]
        kept = [(header, cells) for header, cells in columns if any(cells)]
        return [header for header, _ in kept], [list(line) for line in zip(*(c for _, c in kept), strict=True)]

    def as_text(self, rows: Sequence[Row]) -> str:
        """For the screen."""
        from tabulate import tabulate

        headers, lines = self._headers_and_lines(rows)
        return tabulate(lines, headers=headers, disable_numparse=True, stralign="right")

    def as_markdown(self, rows: Sequence[Row]) -> str:
        """For a README, with the note."""
        from tabulate import tabulate

        headers, lines = self._headers_and_lines(rows)
        table = tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)
        return table + (f"\n\n{self.note}" if self.note else "")

    def as_html(self, rows: Sequence[Row]) -> str:
        """For the report, with the note."""
        headers, lines = self._headers_and_lines(rows)
        head = "".join(f"<th>{html.escape(h)}</th>" for h in headers)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in line) + "</tr>" for line in lines)
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        return f"<table><tr>{head}</tr>{body}</table>{note}"
