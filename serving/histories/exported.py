"""Histories of an export that holds its users: one of an earlier version, or made with --export-users. Read only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from serving.export_folder import ExportFolder, open_export
from serving.histories.read_only import ReadOnlyStore
from serving.ids import Id, IdTypes


class ExportStore(ReadOnlyStore):
    """The users of an export."""

    read_only = True

    def __init__(self, export: ExportFolder | Path) -> None:
        """
        Raises:
            ValueError: there is no export, or it does not hold its users.
        """
        self._export = export if isinstance(export, ExportFolder) else open_export(export)
        self.address = str(self._export.folder)
        if not self._export.holds_users:
            raise ValueError(f"{self.address} holds no users; name a store with --store, or the data set with --data")
        rows = self._export.users["row"].astype(int).tolist()
        self._rows: dict[Id, int] = dict(zip(self._export.user_ids.tolist(), rows, strict=True))
        self._histories, self._item_ids = self._export.histories, self._export.item_ids

    @property
    def id_types(self) -> IdTypes:
        return self._export.id_types

    def histories(self, users: Sequence[Id]) -> list[tuple[Id, ...] | None]:
        rows = [self._rows.get(user) for user in users]
        return [None if row is None else tuple(self._item_ids[self._histories.row(row)].tolist()) for row in rows]

    def rows(self, users: Sequence[Id], training_users: str) -> list[int | None]:
        del training_users  # the users are those of this export
        return [self._rows.get(user) for user in users]

    def users(self, block: int = 4096) -> Iterator[list[Id]]:
        ids = self._export.user_ids
        for start in range(0, len(ids), block):
            yield ids[start : start + block].tolist()

    @property
    def refusal(self) -> str:
        return f"{self.address} is an export, which never changes; name a store with --store"
