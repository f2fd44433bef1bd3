"""What stores have in common that take no events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from serving.histories.events import Event, ReadOnlyStoreError
from serving.ids import Id


class ReadOnlyStore:
    """Refuses every change with one line."""

    @property
    def refusal(self) -> str:
        """Why nothing can be changed, and what to do instead."""
        raise NotImplementedError

    def append(self, events: Iterable[Event]) -> int:
        raise ReadOnlyStoreError(self.refusal)

    def append_groups(self, groups: Sequence[Sequence[Event]]) -> list[int]:
        raise ReadOnlyStoreError(self.refusal)

    def append_rows(self, users: Sequence[Id], first_row: int, training_users: str) -> None:
        raise ReadOnlyStoreError(self.refusal)

    def forget(self, users: Sequence[Id]) -> int:
        raise ReadOnlyStoreError(self.refusal)

    def close(self) -> None:
        """Nothing is open."""
