"""The users that a command names: of a file, of a data set, or those of the export."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from serving.batch.user_files import HistoryFile, read_users
from serving.batch.users import ChosenUsers, DataSetUsers, ExportUsers, UserSource
from serving.export_folder import ExportFolder


@dataclass(frozen=True, kw_only=True)
class SourceChoice:
    """What the flags say; each None where the flag was not given."""

    users: Path | None = None
    histories: Path | None = None
    data: Path | None = None
    notes: list[str] = field(default_factory=list, compare=False)
    """Filled by `open_source`: what the user should know of a file."""


def _all_users(choice: SourceChoice, export: ExportFolder) -> ExportUsers | DataSetUsers:
    return DataSetUsers(export, choice.data) if choice.data else ExportUsers(export)


def open_source(choice: SourceChoice, export: ExportFolder) -> UserSource:
    """
    Raises:
        ValueError: a file or the data set cannot be read, or does not fit the model.
    """
    if choice.histories is not None:
        trained = _all_users(choice, export).model_rows if export.knows_users else None
        source = HistoryFile(choice.histories, export, trained)
        if source.unknown_items:
            choice.notes.append(
                f"{source.unknown_items:,} interactions of items that the model does not know are left out"
            )
        return source
    everyone = _all_users(choice, export)
    if choice.users is None:
        return everyone
    ids, content, repeated = read_users(choice.users, export)
    if repeated:
        choice.notes.append(f"--users {choice.users} names {repeated:,} users again; each is answered once")
    return ChosenUsers(everyone, ids, content)
