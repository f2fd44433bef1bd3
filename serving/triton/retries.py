"""When a client asks again: waits with jitter, a budget of retries, and one deadline over all tries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

FIRST_WAIT, LONGEST_WAIT = 0.1, 2.0
"""Seconds between two tries, before jitter; each wait is twice as long as the one before."""
PER_ANSWER = 0.1
"""Retries that an answered call adds to the budget: in the long run a client sends at most 10 % more than its calls."""
SMALLEST_BUDGET = 10.0


class Unanswered(Exception):
    """A try had no answer, and another may have one. The message says why."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a call may take and how often it may be repeated."""

    timeout: float = 5.0
    """Seconds for one try."""
    retries: int = 5
    """Further tries."""
    deadline: float | None = None
    """Seconds for all tries and the waits between them; None for `timeout` times the number of tries."""

    @property
    def seconds(self) -> float:
        return self.timeout * (self.retries + 1) if self.deadline is None else self.deadline

    def check(self) -> None:
        """Raise ValueError for a value that is out of range."""
        if self.retries < 0:
            raise ValueError(f"--retries is {self.retries}, expected 0 or more")
        for name, value in (("timeout", self.timeout), ("deadline", self.seconds)):
            if not value > 0:
                raise ValueError(f"--{name} is {value:g}, expected more than 0 seconds")


class RetryBudget:
    """Counts the retries that a client may still make. One budget serves all calls of a client.

    Every retry takes one, every answered call gives PER_ANSWER back. When the budget is empty, calls are tried once. So
    clients do not multiply the load of a server that is already overloaded.
    """

    def __init__(self, retries: int) -> None:
        self._most = max(SMALLEST_BUDGET, float(retries))
        self._left = self._most

    def answered(self) -> None:
        self._left = min(self._most, self._left + PER_ANSWER)

    def take(self) -> bool:
        """Take one retry; False if none is left."""
        if self._left < 1:
            return False
        self._left -= 1
        return True


def wait_before(retry: int, draw: Callable[[float, float], float] = random.uniform) -> float:
    """Seconds to wait before a retry, counted from 0: between half of FIRST_WAIT * 2^retry and all of it.

    The jitter keeps clients that failed at the same moment from coming back at the same moment.
    """
    longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(retry, 30))
    return draw(longest / 2, longest)


def call_with_retries(attempt: Callable[[float], object], limits: Limits, budget: RetryBudget) -> object:
    """The result of the first try that is answered.

    Args:
        attempt: makes one try; its argument is the seconds that it may take. It raises `Unanswered` if a further try
            may succeed; every other exception ends the call.

    Raises:
        Unanswered: no try was answered; the message counts the tries.
    """
    end, tries = time.monotonic() + limits.seconds, 0
    while True:
        result, problem = _tried(attempt, min(limits.timeout, end - time.monotonic()))
        if problem is None:
            budget.answered()
            return result
        wait = wait_before(tries)
        tries += 1
        over = tries > limits.retries or time.monotonic() + wait >= end
        if over or not budget.take():
            spent = "" if over else "; the client has used up its retries"
            raise Unanswered(f"in {tries} {'try' if tries == 1 else 'tries'}: {problem}{spent}")
        time.sleep(wait)


def _tried(attempt: Callable[[float], object], seconds: float) -> tuple[object, Unanswered | None]:
    """The result of a try, or why it had none."""
    try:
        return attempt(seconds), None
    except Unanswered as error:
        return None, error
