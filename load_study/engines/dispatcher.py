"""The dispatcher: splits large queries into parts for several servers, or sends them whole to an accelerator."""

from __future__ import annotations

import threading

from load_study.traffic.queries import AnswerCallback, Query, Target


def even_parts(size: int, most: int) -> list[int]:
    """As few parts of at most `most` as possible, as even as possible (sizes differ by 1 at most, larger first)."""
    count = -(-size // most)
    small, larger = divmod(size, count)
    return [small + 1] * larger + [small] * (count - larger)


class _JoinParts:
    """Answers a query when the last of its parts is answered."""

    def __init__(self, query: Query, parts: int, on_answer: AnswerCallback) -> None:
        self._query, self._left, self._on_answer = query, parts, on_answer
        self._finished = float("-inf")
        self._error: str | None = None
        self._lock = threading.Lock()

    def __call__(self, part: Query, finished: float, error: str | None) -> None:
        with self._lock:
            self._left -= 1
            self._finished = max(self._finished, finished)
            self._error = self._error or error
            is_last = self._left == 0
        if is_last:
            self._on_answer(self._query, self._finished, self._error)


class Dispatcher:
    """A target in front of a pool: a query is answered with its last part; its error is the first error of a part.

    Args:
        split: largest size of a part.
        accelerator: gets queries larger than `offload_above`, whole.

    Raises:
        ValueError: split below 1, or only one of accelerator and offload_above.
    """

    def __init__(
        self, pool: Target, *, split: int, accelerator: Target | None = None, offload_above: int | None = None
    ) -> None:
        if split < 1:
            raise ValueError(f"split is {split}, expected at least 1")
        if (accelerator is None) != (offload_above is None):
            raise ValueError(
                f"accelerator is {accelerator} and offload_above {offload_above}, expected both or neither"
            )
        self._pool, self._split, self._accelerator, self._above = pool, split, accelerator, offload_above
        self.is_simulated = pool.is_simulated or (accelerator is not None and accelerator.is_simulated)

    def submit(self, query: Query, on_answer: AnswerCallback) -> None:
        if self._accelerator is not None and self._above is not None and query.size > self._above:
            self._accelerator.submit(query, on_answer)
            return
        sizes = even_parts(query.size, self._split)
        join = _JoinParts(query, len(sizes), on_answer)
        for part, size in enumerate(sizes):
            self._pool.submit(Query(query.number, query.due, size, part), join)
