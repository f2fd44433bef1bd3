"""The files of a batch: parts that are written whole, the manifest that a resumed batch must fit, and the end.

OUT/part-00000.parquet ...      the answers for some users each, in the order of the users
OUT/_batch/manifest.json        what the parts are: export, model, K, users, format
OUT/_batch/part-00000.json      number of users and rows of a part, and the users without an answer of the model
OUT/_batch/unknown_users.csv    all users without an answer of the model, when all parts are there

With a single file OUT.parquet, all this lies in OUT.parquet.parts/ until the end, and the list is
OUT.unknown_users.csv.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys_core.errors import UserError
from recsys_core.files import WRITING, publish, remove_leftovers, write_json
from serving.batch.tables import SUFFIXES, join_files

HIDDEN = "_batch"
"""Readers of Parquet data sets pass over names that begin with an underscore."""
MANIFEST = f"{HIDDEN}/manifest.json"
FORMAT_VERSION = 1
LISTED = "unknown_users.csv"
OTHER_FILES = frozenset(
    {".xlsx", ".xls", ".json", ".tsv", ".txt", ".gz", ".zst", ".zip", ".feather", ".arrow", ".orc", ".avro", ".db"}
)
"""Ends of names that are no folder's; without a list, `recs.xlsx` would become a folder of Parquet files."""


@dataclass(frozen=True, kw_only=True)
class Output:
    """Where a batch is written."""

    folder: Path
    """Of the parts."""
    file: Path | None
    """The single file that they become; None for a folder of parts."""
    format: str

    @property
    def unknown_users(self) -> Path:
        if self.file is None:
            return self.folder / HIDDEN / LISTED
        return self.file.with_name(f"{self.file.stem}.{LISTED}")

    @property
    def kept_users(self) -> Path:
        """The list of the users of a store, while the batch goes on."""
        return self.folder / HIDDEN / "users.parquet"

    @property
    def name(self) -> Path:
        """What the user named."""
        return self.file or self.folder


def output_of(out: Path, file_format: str | None) -> Output:
    """A single file if the name ends as the files of a format do, else a folder of parts.

    Args:
        file_format: None for that of the file's name; Parquet for a folder.

    Raises:
        ValueError: the format is not that of the file's name, or the file exists.
    """
    of_name = SUFFIXES.get(out.suffix.lower())
    if out.suffix.lower() in OTHER_FILES and not out.is_dir():
        raise ValueError(
            f"--out {out} has the name of a {out.suffix} file, which is not written; expected a name that ends in "
            f"{', '.join(SUFFIXES)}, or a folder"
        )
    if of_name is None or out.is_dir():
        return Output(folder=out, file=None, format=file_format or "parquet")
    if file_format not in (None, of_name):
        raise ValueError(f"--format is {file_format}, --out {out} has the name of a {of_name} file")
    parts = out.with_name(f"{out.name}.parts")
    if out.exists() and not parts.exists():
        raise ValueError(f"--out {out} exists; remove it, or choose another name")
    return Output(folder=parts, file=out, format=of_name)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the users of a batch are divided into parts."""

    output: Output
    users: int
    part_users: int
    settings: Mapping[str, Any]
    """What the parts are: a batch that is gone on with must have the same."""

    def __len__(self) -> int:
        return -(-self.users // self.part_users)

    def bounds(self, part: int) -> tuple[int, int]:
        """First user, and the user after the last."""
        return part * self.part_users, min((part + 1) * self.part_users, self.users)

    def path(self, part: int) -> Path:
        return self.output.folder / f"part-{part:05}.{self.output.format}"

    def about(self, part: int) -> Path:
        return self.output.folder / HIDDEN / f"part-{part:05}.json"

    def missing(self) -> list[int]:
        """Parts that are not written yet. A part that is there is whole."""
        return [part for part in range(len(self)) if not self.path(part).exists()]


def check_folder(folder: Path) -> None:
    """Refuse a folder that holds something else than a batch, before it is touched.

    Raises:
        ValueError: names what it holds.
    """
    if not folder.exists() or (folder / MANIFEST).is_file():
        return
    if not folder.is_dir():
        raise ValueError(f"--out {folder} is a file, expected a folder, or a name that ends in {', '.join(SUFFIXES)}")
    foreign = [p for p in sorted(folder.iterdir()) if p.name != HIDDEN and not p.name.startswith(WRITING)]
    if foreign:
        raise ValueError(f"--out {folder} holds {foreign[0].name}, and no batch to go on with; choose another folder")


def begin(plan: Plan) -> bool:
    """Write the manifest, or check that the folder holds a batch with the same settings.

    Returns:
        Whether the batch is gone on with.

    Raises:
        ValueError: the folder holds another batch.
    """
    folder = plan.output.folder
    path = folder / MANIFEST
    # What follows from a setting, as the users of a part from K, is compared after it: the message names the cause.
    wanted = {"format_version": FORMAT_VERSION, **plan.settings, "users": plan.users, "part_users": plan.part_users}
    if not path.is_file():
        write_json(path, wanted)
        return False
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}); remove {folder} and start again") from None
    for name, value in wanted.items():
        if found.get(name) != value:
            raise ValueError(
                f"--out {plan.output.name} was begun with {name.replace('_', ' ')} {_short(found.get(name))}, this "
                f"command has {_short(value)}; choose another name, or remove {folder}"
            )
    remove_leftovers(folder)
    return True


def _short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def write_part(plan: Plan, part: int, table: Any, about: Mapping[str, Any]) -> None:
    """Write a part whole, after what is to be known of it.

    Raises:
        UserError: the disk is full, or cannot be written; names what to do.
    """
    from serving.batch.tables import write_table

    try:
        write_json(plan.about(part), dict(about))
        publish(plan.path(part), lambda working: write_table(table, working, plan.output.format))
    except UserError as error:
        raise UserError(
            f"{_plain(error)}; the parts before it are whole: make room, then give the same command again to go on"
        ) from None


def _plain(error: UserError) -> str:
    """The message without what Arrow adds to the reason."""
    text = " ".join(str(error).split())
    return text.partition(": [Errno")[0] + ": No space left on device" if "No space left" in text else text


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Totals of a finished batch."""

    users: int
    rows: int
    short: int
    """Users with fewer than K items, because they have nearly all of them."""
    unknown: int
    """Users without an answer of the model."""


def finish(plan: Plan) -> Summary:
    """List the users without an answer, and make the single file if one was asked for.

    Raises:
        UserError: the disk is full, or cannot be written.
    """
    output = plan.output
    found = [json.loads(plan.about(part).read_text()) for part in range(len(plan))]
    unknown = [(user, reason) for about in found for user, reason in about["unknown"]]
    if unknown:
        publish(output.unknown_users, lambda working: _write_unknown(working, unknown))
    if output.file is not None:
        paths = [plan.path(part) for part in range(len(plan))]
        publish(output.file, lambda working: join_files(paths, working, output.format))
        shutil.rmtree(output.folder)
    totals = {name: sum(about[name] for about in found) for name in ("users", "rows", "short")}
    return Summary(**totals, unknown=len(unknown))


def _write_unknown(path: Path, rows: Sequence[tuple[Any, str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("user", "reason"))
        writer.writerows(rows)
