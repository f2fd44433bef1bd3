"""The start and the end of ranks: parameters of one seed are not sent; rank 0 goes on alone at the end."""

from __future__ import annotations

import pytest

from tests.conftest import Command

pytestmark = pytest.mark.ranks


@pytest.mark.parametrize("gloo", [False, True], ids=["mpi", "gloo"])
def test_rank_0_goes_on_alone(gloo: bool, on_ranks: Command) -> None:
    """Before, the other ranks held their memory and their GPUs until rank 0 had exported."""
    done = on_ranks(2, "tests.ranks.part", gloo=gloo)
    lines = [line.split(":", 1)[-1] if gloo else line for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert "1 others ended: True" in done.stdout, lines
    assert "alone: 1, heard" in done.stdout, lines


def test_only_variables_that_differ_are_sent(on_ranks: Command) -> None:
    """A table of gigabytes that every rank draws from the seed was sent at the start of each run."""
    done = on_ranks(2, "tests.ranks.alike")
    one = (["near:0"], 1.0, [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]])
    assert done.returncode == 0, done.stderr
    assert str([one, one]) in done.stdout, done.stdout
