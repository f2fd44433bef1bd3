"""Keep figures in results/: records of a results file, runs, or the JSON of compare and baselines.

Each record gets the name of a group, its units, and its command without the paths of this machine. Records that no
table shows any more are removed from the file of the group. `report --docs` makes the pages from what is kept.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.pages.collect import collected, named
from benchmarks.pages.committed import FOLDER
from recsys_core.measuring.records import Record


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("files", type=Path, nargs="+", metavar="FILE", help="results file (.jsonl), run folder, or JSON of a command")
    add("--as", dest="group", required=True, metavar="SUBJECT/NAME", help="group, as accuracy/vae-ml-1m")
    add("--kind", nargs="+", default=[], help="of the records of a results file (default: all)")
    add("--only", nargs="+", default=[], metavar="MODEL", help="models that are kept, as shallow ease (default: all)")
    add("--data-command", default="", metavar="COMMAND", help="that makes the data set D of the command")
    add("--set", nargs="+", default=[], metavar="FIELD=TEXT", help="fields that name the row in its table")
    add("--folder", type=Path, default=FOLDER, help="of the committed records (default: results/)")


def _fields(words: Sequence[str]) -> dict[str, str]:
    """
    Raises:
        ValueError: a word without "=".
    """
    wrong = [word for word in words if "=" not in word]
    if wrong:
        raise ValueError(f"--set is {wrong[0]!r}, expected FIELD=TEXT, as set=MovieLens-100K")
    return dict(word.split("=", 1) for word in words)


def write(path: Path, records: Sequence[Record]) -> None:
    """Write the records of a subject, one a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))


def keep(new: Sequence[Record], subject: str, folder: Path) -> int:
    """Add records to the file of a subject, and remove from their group those that no table shows any more.

    Returns:
        Number of the removed records.
    """
    from benchmarks.pages.render import Renderer
    from recsys_core.measuring.records import read

    path = folder / f"{subject}.jsonl"
    old = read(path, transcribed=True) if path.is_file() else []
    write(path, [*(record for record in old if record not in new), *new])  # twice the same is once
    group = f"{subject}/{new[0]['name']}"
    renderer = Renderer(folder.parent)
    tables = [table for table, layout in renderer.layouts.items() if layout.group == group]
    if not tables:
        print(f"no table shows {group} yet: describe one in {folder / 'tables.yaml'}")
        return 0
    shown = [json.dumps(record, sort_keys=True) for record in renderer.records_of(tables)]
    records = read(path, transcribed=True)
    kept = [r for r in records if r["name"] != new[0]["name"] or json.dumps(r, sort_keys=True) in shown]
    write(path, kept)
    return len(records) - len(kept)


def main(args: argparse.Namespace) -> int:
    subject, slash, name = args.group.partition("/")
    if not (subject and slash and name) or "/" in name:
        raise ValueError(f"--as is {args.group!r}, expected SUBJECT/NAME, as accuracy/vae-ml-1m")
    more = _fields(args.set)
    found = [record for path in args.files for record in collected(path, args.kind)]
    if args.only:
        found = [record for record in found if record.get("model") in args.only]
    if not found:
        raise ValueError(f"no record of {', '.join(args.only)} in {', '.join(map(str, args.files))}")
    if any(" D" in r["command"] for r in found) and not args.data_command:
        raise ValueError("--data-command is missing, expected the command that makes D, as 'python -m data_prep ...'")
    removed = keep(named(found, name, args.data_command, more), subject, args.folder)
    print(f"{len(found)} records kept in {args.folder / subject}.jsonl, {removed} removed that no table shows any more")
    return 0
