"""The cells of a table that is made from committed records, for Markdown and HTML alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.pages.committed import Committed, Row
from benchmarks.pages.layout import Layout, Published
from benchmarks.pages.values import Spec, at, middle_of, shown, spec
from recsys_core.measuring.records import TRANSCRIBED, Record

MARK = " †"
"""Behind a figure, or the name of a row, that was measured before records were kept, in a table that has others too."""


@dataclass(frozen=True, kw_only=True)
class Filled:
    """A table with its text."""

    headers: list[str]
    lines: list[list[str]]
    records: list[Record]
    """The records that it shows, each once."""
    commands: dict[str, list[str]]
    """Command -> the rows that it makes, by the text of their first cell."""

    @property
    def transcribed(self) -> list[Record]:
        return [record for record in self.records if TRANSCRIBED in record]


def _sorted(rows: Sequence[Row], path: str, *, descending: bool) -> list[Row]:
    """Rows in the order of a figure or a text; those without it come last."""
    found = [at(row.values, path) for row in rows]
    keys: list[Any] = [value if isinstance(value, str) else middle_of(value) for value in found]
    having = sorted((k for k in range(len(rows)) if keys[k] is not None), key=keys.__getitem__, reverse=descending)
    return [rows[k] for k in (*having, *(k for k in range(len(rows)) if keys[k] is None))]


class Filler:
    """Fills layouts with the figures of committed records."""

    def __init__(self, committed: Committed, published: Mapping[str, Published]) -> None:
        self.committed, self.published = committed, published

    def rows(self, layout: Layout) -> list[Row]:
        """The rows of a table, sorted as its layout says."""
        if layout.others:
            rows = self._others(layout.others)
        else:
            rows = self.committed.rows(layout.group, layout.rows)
        rows = [row for row in rows if all(at(row.values, name) in values for name, values in layout.only.items())]
        for figure in reversed([layout.sort] if isinstance(layout.sort, str) else layout.sort):
            rows = _sorted(rows, figure.removeprefix("-"), descending=figure.startswith("-"))
        return rows

    def _others(self, name: str) -> list[Row]:
        """The rows of a published table. They have no records.

        Raises:
            ValueError: published.yaml has no such table.
        """
        if name not in self.published:
            raise ValueError(f"published.yaml has no table {name!r}, known are: {', '.join(self.published)}")
        return [Row(values=values) for values in self.published[name].cited_rows]

    def _published_beside(self, layout: Layout, row: Row, how: Spec) -> str:
        """The figure of a published table for the same row; "" where it has none."""
        key = [at(row.values, name) for name in layout.rows]
        for values in self.published[layout.beside].rows:
            if [values.get(name) for name in layout.rows] == key:
                return shown(values.get(how.path), how)
        return ""

    def _cell(self, layout: Layout, row: Row, text: str | Sequence[str], marks: bool, used: dict[int, Record]) -> str:
        parts = [text] if isinstance(text, str) else list(text)
        cells = []
        for part in parts:
            if part.startswith("published "):
                cells.append(self._published_beside(layout, row, spec(part.removeprefix("published "))))
                continue
            how = spec(part)
            cell, record = row.text(how), row.source(how)
            if record is not None and how.path not in layout.rows and cell:
                used[id(record)] = record
                cell += MARK if marks and TRANSCRIBED in record else ""
            cells.append(layout.names.get(cell, cell))
        return " / ".join(cell for cell in cells if cell)

    def fill(self, layout: Layout) -> Filled:
        """All cells of a table. Columns that are empty are left out."""
        rows, used = self.rows(layout), dict[int, Record]()
        columns = layout.columns
        for row in rows:
            for text in columns.values():
                self._cell(layout, row, text, False, used)
        marks = 0 < sum(TRANSCRIBED in record for record in used.values()) < len(used)
        lines = [self._line(layout, row, marks) for row in rows]
        commands: dict[str, list[str]] = {}
        for row, line in zip(rows, lines, strict=True):
            own = {record["command"]: None for record in self._records_of(layout, row)}
            for command in own:
                commands.setdefault(command, []).append(self._name(layout, line))
        lines += [self._published_line(layout, name) for name in layout.published]
        kept = [k for k in range(len(columns)) if any(line[k] for line in lines)]
        return Filled(
            headers=[list(columns)[k] for k in kept],
            lines=[[line[k] for k in kept] for line in lines],
            records=list(used.values()),
            commands=commands,
        )

    def _line(self, layout: Layout, row: Row, marks: bool) -> list[str]:
        """The cells of a row. With marks: in its first cell if all of its figures are old, else in each that is."""
        old = [TRANSCRIBED in record for record in self._records_of(layout, row)]
        line = [self._cell(layout, row, text, marks and not all(old), {}) for text in layout.columns.values()]
        return [line[0] + MARK, *line[1:]] if marks and all(old) else line

    @staticmethod
    def _name(layout: Layout, line: Sequence[str]) -> str:
        """The cells that name a row."""
        keys = [k for k, text in enumerate(layout.columns.values()) if text in layout.rows]
        return ", ".join(line[k] for k in keys) or line[0]

    def _records_of(self, layout: Layout, row: Row) -> list[Record]:
        """The records of the figures that a row shows, each once, in the order of the columns."""
        found: dict[int, Record] = {}
        for text in layout.columns.values():
            self._cell(layout, row, text, False, found)
        return list(found.values())

    def _published_line(self, layout: Layout, name: str) -> list[str]:
        """A row of figures that others published, marked as such."""
        one = self.published[name]
        cells = [f"{one.about}; published, {one.cited}"]
        for text in list(layout.columns.values())[1:]:
            parts = [spec(p) for p in ([text] if isinstance(text, str) else text) if not p.startswith("published ")]
            found = [shown(one.values.get(how.path), how) for how in parts]
            cells.append(" / ".join(cell for cell in found if cell))
        return cells
