"""The results file: one JSON object a line, with the figures and with the command, machine and versions behind them."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from recsys_core.measuring.conditions import Watch, busy_reason
from recsys_core.measuring.machine import commit, machine, versions
from recsys_core.measuring.older_records import in_current_form

CIRCUMSTANCES = ("time", "command", "commit", "machine", "versions", "conditions", "rounds", "invalid", "torch")
"""Fields that say how a record was measured. They are neither settings nor figures."""
RESULT_FIELDS = (
    "runs", "rows_equal_but_for_ties", "error_texts", "best_split", "best_offload_above", "exhaustive_split",
    "bisected_again_split", "bound", "operations", "bytes", "requests",
)  # fmt: skip
"""Whole numbers and words that are results, not settings."""

TRANSCRIBED = "transcribed"
"""Field of a record that was copied from a page: which page."""

Record = dict[str, Any]
Settings = tuple[str, ...]
_watch = Watch()
"""Watches the machine from the start of the command, and from record to record."""
invalid_records: list[str] = []
"""What this process recorded that says nothing: kind and reason."""


def running_command() -> str:
    """The command that is running, as it was typed."""
    return shlex.join(["python", *sys.orig_argv[1:]])


def circumstances() -> dict[str, Any]:
    """The command that is running, when, from which commit, on which machine, with which versions, and how busy the
    machine was since this was last asked (at first: since the command began)."""
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": running_command(),
        "commit": commit(),
        "machine": machine(),
        "versions": versions(),
        "conditions": {name: round(value, 4) for name, value in _watch.since().items()},
    }


def record(path: Path, kind: str, values: Mapping[str, Any]) -> None:
    """Append one record of a kind to the results file, with the command that is running."""
    about = circumstances()
    invalid = list(values.get("invalid") or [])
    if not invalid and "rounds" not in values:  # where there are rounds, each was watched alone
        invalid = [reason] if (reason := busy_reason(about["conditions"])) is not None else []
    if invalid:
        invalid_records.append(f"{kind}: {invalid[0]}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(json.dumps({"kind": kind, **about, **values}) + "\n")


def read(path: Path, *, transcribed: bool = False) -> list[Record]:
    """All records in the order of the file, or of the files of a folder; those of earlier versions in the current form.

    Args:
        transcribed: records that were copied from a page too; they hold no windows, so they cannot be compared.

    Raises:
        ValueError: the file does not exist, or a line of it is not a record.
    """
    if path.is_dir() and (files := sorted(path.glob("*.jsonl"))):
        return [values for file in files for values in read(file, transcribed=transcribed)]
    if not path.is_file():
        raise ValueError(f"there is no {path}, expected a results file, as `python -m benchmarks train` writes it")
    found = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        try:
            values = json.loads(line)
        except json.JSONDecodeError:
            values = None
        if not isinstance(values, dict) or "kind" not in values:
            raise ValueError(f"line {number} of {path} is {line[:60]!r}, expected a record (a JSON object with a kind)")
        if transcribed or not values.get(TRANSCRIBED):
            found.append(in_current_form(values))
    return found


def _setting_texts(values: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for name, value in values.items():
        if name in CIRCUMSTANCES or name in RESULT_FIELDS:
            continue
        if isinstance(value, dict):
            yield from _setting_texts(value, f"{prefix}{name}.")
        elif isinstance(value, str | int | bool):
            yield str(value) if name == "kind" else f"{prefix}{name}={value}"


def settings(values: Mapping[str, Any]) -> Settings:
    """The settings of a record: its kind, words and whole numbers. Figures are floats and lists."""
    return tuple(_setting_texts(values, ""))


def newest(records: list[Record]) -> dict[str, list[Record]]:
    """Kind -> the last record of every setting, in the order in which the settings first appear."""
    found: dict[str, dict[Settings, Record]] = {}
    for values in records:
        found.setdefault(values["kind"], {})[settings(values)] = values
    return {kind: list(rows.values()) for kind, rows in found.items()}
