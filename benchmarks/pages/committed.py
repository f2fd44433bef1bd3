"""The committed records: `results/SUBJECT.jsonl`, and the groups of records that tables are made from.

A record of a group names a row of its table by some fields. Of several records of a row the newest that holds a figure
counts, figure by figure; a record that was transcribed from an earlier page counts only where no other has the figure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.pages.fields import figure_names
from benchmarks.pages.values import Spec, at, shown
from recsys_core.measuring.records import TRANSCRIBED, Record, read

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "results"
NOT_SHOWN = ("bench-check",)
"""Files of the folder that no page shows: runs that `benchmarks check` compares new ones with."""
REQUIRED = ("name", "kind", "command", "fields", "machine")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table: its figures, each with the record that it comes from."""

    values: dict[str, Any] = field(default_factory=dict)
    sources: dict[str, Record] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Take over what a newer record holds."""
        for name, value in record.items():
            before = self.sources.get(name)
            if before is not None and TRANSCRIBED in record and TRANSCRIBED not in before:
                continue
            self.values[name], self.sources[name] = value, record

    def source(self, how: Spec) -> Record | None:
        """The record of a figure; None where the row has no such figure."""
        if at(self.values, how.path) is None:
            return None
        return self.sources.get(how.path) or self.sources.get(how.path.partition(".")[0])

    def text(self, how: Spec) -> str:
        """A figure as text; "" where the row has none."""
        record = self.source(how)
        about = record["fields"].get(how.path, {}) if record else {}
        return shown(at(self.values, how.path), how, about.get("decimals"))


@dataclass(frozen=True, kw_only=True)
class Committed:
    """All committed records by group."""

    groups: Mapping[str, Sequence[Record]]
    """"SUBJECT/NAME" -> its records, the oldest first."""

    @property
    def records(self) -> list[Record]:
        return [record for records in self.groups.values() for record in records]

    def rows(self, group: str, key: Sequence[str]) -> list[Row]:
        """The rows of a table in the order in which they first appear.

        Args:
            key: fields that name a row.

        Raises:
            ValueError: there is no such group.
        """
        if group not in self.groups:
            raise ValueError(f"there is no group {group!r} of records, known are: {', '.join(sorted(self.groups))}")
        found: dict[str, Row] = {}
        for record in self.groups[group]:
            found.setdefault(repr([at(record, name) for name in key]), Row()).add(record)
        return list(found.values())


def problems(record: Record) -> list[str]:
    """What a committed record lacks: a required field, an empty command or machine, or the unit of a figure."""
    lacking = [name for name in REQUIRED if not record.get(name)]
    if not record.get("time") and TRANSCRIBED not in record:
        lacking.append("time")
    units = {name for name, about in (record.get("fields") or {}).items() if about.get("unit") and about.get("is")}
    lacking += [f"the unit of {name}" for name in figure_names(record) if name not in units]
    if not figure_names(record):
        lacking.append("a figure")
    return lacking


def read_all(folder: Path = FOLDER) -> Committed:
    """The records of all files of a folder.

    Raises:
        ValueError: a file holds a line that is no record, or a record that lacks something.
    """
    groups: dict[str, list[Record]] = {}
    for path in sorted(p for p in folder.glob("*.jsonl") if p.stem not in NOT_SHOWN):
        for number, record in enumerate(read(path, transcribed=True), 1):
            if lacking := problems(record):
                raise ValueError(f"line {number} of {path} lacks {', '.join(lacking)}")
            groups.setdefault(f"{path.stem}/{record['name']}", []).append(record)
    if not groups:
        raise ValueError(f"{folder} holds no records, expected files as accuracy.jsonl")
    return Committed(groups=groups)
