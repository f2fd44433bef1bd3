"""Who has been silent for how long: the rules of the watchdog, without sockets and clocks. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

FIRST_WORD = 120.0
"""Seconds of silence after which a rank is named, where half of the limit is not less."""
SILENT = 6
"""Exit status of a job in which a rank was silent or lost."""
CAUSES = "frozen, its host down, or the network cut"


class Silence:
    """Ranks that are heard from time to time, and the lines about those that are not."""

    def __init__(self, hosts: Mapping[int, str], limit: float) -> None:
        """
        Args:
            hosts: rank -> its host, of the ranks that are watched.
            limit: seconds of silence after which the job ends.
        """
        self.limit, self.first_word = limit, min(FIRST_WORD, limit / 2)
        self._hosts = dict(hosts)
        self._heard: dict[int, float] = {}
        self._named: set[int] = set()

    def heard(self, rank: int, now: float) -> str | None:
        """Note that a rank was heard; returns a line where it had been named as silent."""
        before, self._heard[rank] = self._heard.get(rank, now), now
        if rank not in self._named:
            return None
        self._named.remove(rank)
        return f"{self._who([rank])} is back after {now - before:.0f} s"

    def left(self, rank: int) -> None:
        """Forget a rank that ended its work."""
        self._hosts.pop(rank, None)
        self._heard.pop(rank, None)
        self._named.discard(rank)

    def shift(self, seconds: float) -> None:
        """Leave out a time in which nobody could be heard, because this process itself was stopped."""
        self._heard = {rank: time + seconds for rank, time in self._heard.items()}

    def unheard(self) -> list[int]:
        """Ranks that were never heard: they cannot be reached, and are not judged."""
        return [rank for rank in self._hosts if rank not in self._heard]

    def word(self, now: float) -> str | None:
        """A line on the ranks that have just been silent for long enough to be named."""
        silent = [rank for rank in self._silent(now, self.first_word) if rank not in self._named]
        if not silent:
            return None
        self._named.update(silent)
        has = "have" if len(silent) > 1 else "has"
        return (
            f"{self._who(silent)} {has} been silent for {self.first_word:.0f} s ({CAUSES}); the job ends after "
            f"{self.limit:.0f} s (RECSYS_SILENCE_SECONDS)"
        )

    def verdict(self, now: float) -> str | None:
        """A line on the ranks that were silent for the limit, so that the job has to end."""
        silent = self._silent(now, self.limit)
        if not silent:
            return None
        return f"{self._who(silent)} {'were' if len(silent) > 1 else 'was'} silent for {self.limit:.0f} s ({CAUSES})"

    def _silent(self, now: float, seconds: float) -> list[int]:
        return sorted(rank for rank, time in self._heard.items() if now - time >= seconds)

    def _who(self, ranks: Sequence[int]) -> str:
        """ "rank 1 on h2", or "ranks 1, 2 on h2 and 3 on h3"."""
        on: dict[str, list[str]] = {}
        for rank in ranks:
            on.setdefault(self._hosts[rank], []).append(str(rank))
        parts = [f"{', '.join(numbers)} on {host}" for host, numbers in on.items()]
        return f"rank{'s' * (len(ranks) > 1)} {' and '.join(parts)}"
