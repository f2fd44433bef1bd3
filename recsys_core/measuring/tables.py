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
    """(header, cell); the header of a column of numbers ends with its unit in brackets, as "speed (users/s)"."""
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
        """For the screen; the units stand on a line of their own."""
        from tabulate import tabulate

        headers, lines = self._headers_and_lines(rows)
        headers = [header.replace(" (", "\n(") for header in headers]
        return tabulate(lines, headers=headers, disable_numparse=True, stralign="right")

    def as_markdown(self, rows: Sequence[Row]) -> str:
        """For a README, with the note."""
        from tabulate import tabulate

        headers, lines = self._headers_and_lines(rows)
        table = tabulate(lines, headers=headers, tablefmt="github", disable_numparse=True)
        return table + (f"\n\n{self.note}" if self.note else "")

    def as_html(self, rows: Sequence[Row]) -> str:
        """For the report, with the note. A table that is wider than the page scrolls in a box of its own."""
        headers, lines = self._headers_and_lines(rows)
        head = "".join(f"<th scope=col>{_with_unit(header)}</th>" for header in headers)
        body = "".join("<tr>" + "".join(f"<td>{_with_breaks(cell)}</td>" for cell in line) + "</tr>" for line in lines)
        note = f"<p class=note>{html.escape(self.note)}</p>" if self.note else ""
        box = f'<div class=scroll role=region tabindex=0 aria-label="{html.escape(self.title)}, table">'
        return f"{box}<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>{note}"


def _with_unit(header: str) -> str:
    """A header with its unit on a line of its own."""
    name, mark, unit = html.escape(header).partition(" (")
    return f"{name} <span class=unit>({unit}</span>" if mark else name


def _with_breaks(cell: str) -> str:
    """A cell whose interval stands below its median."""
    value, mark, interval = html.escape(cell).partition(" (")
    return f"{value} <span class=interval>({interval}</span>" if mark else value
