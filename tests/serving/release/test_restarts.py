"""Ends of the server are counted in a row, and the waits between its starts double."""

from __future__ import annotations

from serving.triton.restarts import LIMIT, LONGEST_WAIT, STABLE_SECONDS, Restarts


def test_waits_double_up_to_a_limit_and_then_it_is_given_up() -> None:
    restarts = Restarts()
    waits = [restarts.after_end(1.0) for _ in range(LIMIT)]
    assert waits == [0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, LONGEST_WAIT, LONGEST_WAIT, None]


def test_a_server_that_ran_well_starts_the_count_anew() -> None:
    restarts = Restarts()
    for _ in range(50):
        assert restarts.after_end(STABLE_SECONDS + 1) == 0.0
    assert [restarts.after_end(1.0) for _ in range(3)] == [1.0, 2.0, 4.0]
    assert restarts.after_end(STABLE_SECONDS) == 0.0
    assert restarts.after_end(1.0) == 1.0
