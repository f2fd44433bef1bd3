"""Tables of committed records in Markdown, each with its commands and with when and where it was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.pages.cells import MARK, Filled
from recsys_core.measuring.page import machine_text, measured_from_to
from recsys_core.measuring.records import TRANSCRIBED, Record

MOST_NAMED = 4
"""Rows that a command names; more are not listed."""


def table(filled: Filled) -> str:
    """Header and rows."""
    rule = ["---"] * len(filled.headers)
    return "\n".join(f"| {' | '.join(line)} |" for line in (filled.headers, rule, *filled.lines))


def usual_machine(records: Sequence[Record]) -> Mapping[str, Any]:
    """The machine on which most of the records were measured."""
    texts = Counter(machine_text(record["machine"]) for record in records)
    most = texts.most_common(1)[0][0]
    return next(record["machine"] for record in records if machine_text(record["machine"]) == most)


def _commands(filled: Filled) -> str:
    found = filled.commands
    if len(found) == 1:
        return f"`{next(iter(found))}`"
    lines = []
    for command, rows in found.items():
        names = [row.replace(MARK, "") for row in dict.fromkeys(rows)]
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        lines.append(f"- {'; '.join(names[:MOST_NAMED])}{more}: `{command}`")
    return "\n".join(lines)


def _short(commits: str | None) -> str:
    """Commits in nine characters, and whether files were changed after them."""
    found = []
    for commit in (commits or "unknown").split(", "):
        digits, changed, _ = commit.partition("+")
        found.append(digits[:9] + (" with changed files" if changed else ""))
    return ", ".join(found)


def _when(records: Sequence[Record]) -> str:
    """When, at which commits and in which state of the machine some records were measured."""
    kept = [record for record in records if TRANSCRIBED not in record]
    if not kept:
        return ""
    commits = list(dict.fromkeys(_short(record.get("commit")) for record in kept))
    return f"Measured {measured_from_to(kept)}, commit {', '.join(commits)}."


def _data(records: Sequence[Record]) -> str:
    """How the data sets are made."""
    commands = list(dict.fromkeys(record["data"] for record in records if record.get("data")))
    return f"D: {', '.join(f'`{command}`' for command in commands)}." if commands else ""


def _machines(records: Sequence[Record], usual: Mapping[str, Any]) -> str:
    """The machines that are not the usual one."""
    others = dict.fromkeys(machine_text(record["machine"]) for record in records)
    others.pop(machine_text(usual), None)
    return f"On: {'; '.join(others)}." if others else ""


def age(filled: Filled) -> str:
    """Says that the figures of a table, or the marked ones, were measured before records were kept; "" for none."""
    if not filled.transcribed:
        return ""
    mark = "" if len(filled.transcribed) == len(filled.records) else f"{MARK.strip()} "
    return f"{mark}Measured before records were kept."


def notes(filled: Filled, usual: Mapping[str, Any]) -> str:
    """The lines below a table: its commands, its data, when and where it was measured."""
    remarks = dict.fromkeys(record["note"] for record in filled.records if record.get("note"))
    parts = [_data(filled.records), *remarks, _when(filled.records), _machines(filled.records, usual), age(filled)]
    text = " ".join(part for part in parts if part)
    return "\n\n".join(part for part in (_commands(filled), text) if part)
