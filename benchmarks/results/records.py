"""The results file: one JSON object a line, with all that is needed to read a figure and to repeat it."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from benchmarks.measure import machine, versions

CIRCUMSTANCES = ("time", "command", "machine", "versions", "torch")
"""Of a record: says how it came about, not what was measured."""
COUNTED = (
    "runs", "rows_equal_but_for_ties", "error_texts", "best_split", "best_offload_above", "exhaustive_split",
    "bisected_again_split",
)  # fmt: skip
"""Whole numbers of a record that are results, not settings."""

Key = tuple[str, ...]


def record(path: Path, kind: str, values: Mapping[str, Any]) -> None:
    """Append one line."""
    about = {
        "kind": kind,
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": f"python -m benchmarks {shlex.join(sys.argv[1:])}",
        "machine": machine(),
        "versions": versions(),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps({**about, **values}) + "\n")


def read(path: Path) -> list[dict[str, Any]]:
    """All records, in the order they were made.

    Raises:
        ValueError: there is no such file, or a line of it is not a record.
    """
    if not path.is_file():
        raise ValueError(f"there is no {path}, expected a results file, as `python -m benchmarks train` writes it")
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            values = json.loads(line)
        except json.JSONDecodeError:
            values = None
        if not isinstance(values, dict) or "kind" not in values:
            raise ValueError(f"line {number} of {path} is {line[:60]!r}, expected a record of benchmarks")
        found.append(values)
    return found


def _settings(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in values.items():
        if name in CIRCUMSTANCES or name in COUNTED:
            continue
        if isinstance(value, dict):
            yield from _settings(value, f"{prefix}{name}.")
        elif isinstance(value, str | int | bool):
            yield str(value) if name == "kind" else f"{prefix}{name}={value}"


def settings(values: Mapping[str, Any]) -> Key:
    """What a record is of: its words and whole numbers. Figures are floats and lists."""
    return tuple(_settings(values, ""))
