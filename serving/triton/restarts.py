"""When a server that has ended is started again: at once, then after waits that double, until it runs well again."""

from __future__ import annotations

from dataclasses import dataclass

LIMIT = 10
"""Ends in a row after which the server is not started any more."""
STABLE_SECONDS = 120.0
"""A server that ran for so long, its start included, ran well: its end is the first in a row."""
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before the second restart in a row, and before the later ones at most."""


@dataclass(kw_only=True)
class Restarts:
    """Counts the ends of a server."""

    in_a_row: int = 0

    def after_end(self, ran: float) -> float | None:
        """Seconds to wait before the next start; None if the server is not started any more.

        Args:
            ran: seconds from its start to its end.
        """
        self.in_a_row = 1 if ran >= STABLE_SECONDS else self.in_a_row + 1
        if self.in_a_row >= LIMIT:
            return None
        return 0.0 if self.in_a_row == 1 else min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** (self.in_a_row - 2))
