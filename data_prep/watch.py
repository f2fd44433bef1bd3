"""Looking at the times of a source while it is read: their range, and suspicious ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from data_prep.parallel import Ranks
from data_prep.read import moments
from data_prep.read.rows import Rows
from data_prep.read.schema import Schema
from data_prep.read.source import Source


class Watch:
    """A source whose times are looked at while it is read."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._outside: list[tuple[int, int]] = []
        self._ranges: list[tuple[float, float]] = []

    @property
    def schema(self) -> Schema:
        """As the source's."""
        return self._source.schema

    def rows_estimate(self) -> int:
        """As the source's."""
        return self._source.rows_estimate()

    def widen(self, column: str, values: Sequence[str]) -> None:
        """As the source's."""
        self._source.widen(column, values)

    def read(self, rank: int, size: int, use: Any, **options: Any) -> Iterator[Any]:
        """As the source's."""
        self._outside.clear()
        self._ranges.clear()
        unit = self.schema.time_unit

        def watched(rows: Rows) -> Any:
            if rows.times is not None and len(rows.times):
                self._outside.append(moments.outside(rows.times, unit))
                self._ranges.append((rows.times.min().item(), rows.times.max().item()))
            return use(rows)

        return self._source.read(rank, size, watched, **options)

    def notes(self, ranks: Ranks) -> list[str]:
        """Sentences on times before 1970 and in the future, on rank 0."""
        found = [pair for mine in ranks.gather(self._outside) for pair in mine]
        return moments.warnings(found, self.schema) if found else []

    def times(self, ranks: Ranks) -> dict[str, Any]:
        """First and last time of all rows, and their unit, on rank 0; empty where there are no times."""
        found = [pair for mine in ranks.gather(self._ranges) for pair in mine]
        if not found:
            return {}
        return {"first": min(f for f, _ in found), "last": max(t for _, t in found), "unit": self.schema.time_unit}
