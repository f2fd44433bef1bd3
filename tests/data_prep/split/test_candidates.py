"""Candidates: the lists that a dense table of what is known gives, in memory that does not grow with users x items."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from data_prep.split import candidates
from data_prep.split.matrix import Matrix, from_pairs
from data_prep.split.result import generator
from tests.conftest import ROOT, _environment


def dense(known: np.ndarray, count: int, kind: str, seed: int, purpose: str, lists: int) -> np.ndarray:
    """The lists of earlier versions: each block looks up every entry of its lists in a table of all pairs.

    Args:
        known: bool [S, I]
        lists: of a block.
    """
    result = np.empty((len(known), count), np.int32)
    for block, start in enumerate(range(0, len(known), lists)):
        rng = generator(seed, f"negatives/{purpose}/{block}")
        table = known[start : start + lists]
        drawn = rng.integers(0, table.shape[1], (len(table), count), dtype=np.int32)
        if kind == "clean":
            for row in np.flatnonzero((~table).sum(axis=1) < 2 * count):
                drawn[row] = rng.permutation(np.flatnonzero(~table[row]))[:count]
        pending = np.arange(len(table))
        while len(pending):
            part = drawn[pending]
            wrong = table[pending[:, None], part]
            if kind == "clean":
                for row, own in zip(wrong, part.tolist(), strict=True):
                    row |= [item in own[:place] for place, item in enumerate(own)]
            part[wrong] = rng.integers(0, table.shape[1], int(wrong.sum()), dtype=np.int32)
            drawn[pending] = part
            pending = pending[wrong.any(axis=1)]
        result[start : start + lists] = drawn
    return result


def _known(users: int, items: int, share: float, seed: int) -> tuple[Matrix, np.ndarray]:
    table = np.random.default_rng(seed).random((users, items)) < share
    table[0] = False
    return from_pairs(*np.nonzero(table), table.shape), table


@pytest.mark.parametrize("kind", candidates.KINDS)
@pytest.mark.parametrize(("items", "share", "count"), [(300, 0.05, 20), (40, 0.5, 9), (30, 0.2, 1), (64, 0.1, 32)])
def test_as_from_a_dense_table(
    items: int, share: float, count: int, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "LEAST_LISTS", 7)
    monkeypatch.setattr(candidates, "BLOCK_CELLS", 40 * items)
    known, table = _known(150, items, share, seed=count)
    assert candidates.lists_at_once(items) == 40
    expected = dense(table, count, kind, 5, "test", 40)
    found = candidates.draw(known, count, kind=kind, seed=5, purpose="test")
    assert np.array_equal(found, expected)
    assert not table[np.arange(150)[:, None], found].any()
    some = np.array([3, 3, 149, 0])
    found = candidates.draw(known, count, kind=kind, seed=5, purpose="valid", users=some)
    assert np.array_equal(found, dense(table[some], count, kind, 5, "valid", 40))


def test_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "LEAST_LISTS", 7)
    monkeypatch.setattr(candidates, "BLOCK_CELLS", 1)
    known, _ = _known(50, 80, 0.2, seed=1)
    positives = np.arange(50, dtype=np.int32)
    whole = candidates.draw(known, 6, kind="clean", seed=5, purpose="test")
    for path in (None, tmp_path / "lists"):
        blocks = candidates.drawn(known, 6, kind="clean", seed=5, purpose="test")
        found = candidates.with_positives(positives, blocks, 6, path)
        assert np.array_equal(found, np.column_stack([positives, whole]))
    none = candidates.drawn(known.rows(np.empty(0, np.int64)), 6, kind="clean", seed=5, purpose="test")
    assert candidates.with_positives(positives[:0], none, 6, tmp_path / "none").shape == (0, 7)


def test_memory_does_not_grow_with_the_catalogue() -> None:
    """3 million items, 3000 users with 30 items each: a table of all pairs would have 9 billion cells."""
    items, users = 3_000_000, 3000
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, items, (users, 30), dtype=np.int32), axis=1)
    columns += np.arange(30, dtype=np.int32)  # distinct
    known = Matrix(indptr=np.arange(users + 1) * 30, indices=columns.ravel(), n_items=items + 30)
    tracemalloc.start()
    found = candidates.draw(known, 99, kind="clean", seed=1, purpose="test")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20 << 20
    assert not (found[:, :, None] == columns[:, None, :]).any()
    assert all(len(set(row)) == 99 for row in found.tolist())


def test_the_command_with_three_million_items(tmp_path: Path) -> None:
    """Users have few of the items, and one user has 100,000; the process takes little more than for few items."""
    rng = np.random.default_rng(0)
    users = np.concatenate([np.repeat(np.arange(300), 10), np.full(100_000, 300)])
    items = np.concatenate([rng.permutation(3_000_000)[:3000], np.arange(0, 3_000_000, 30)])
    rows = np.column_stack([users, items])
    np.savetxt(tmp_path / "r.csv", rows, fmt="%d", delimiter=",", header="user,item", comments="")
    code = (
        "import re, sys; from data_prep.__main__ import main; status = main(sys.argv[1:]); "
        # not ru_maxrss: it begins with the memory of the process that started this one
        "peak = re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read()); "
        "print(int(peak[1]) // 1024, file=sys.stderr); sys.exit(status)"
    )
    words = ["table", "--raw", tmp_path / "r.csv", "--protocol", "leave-one-out", "--out", tmp_path / "out"]
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, words)], cwd=ROOT, env=_environment(None), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stderr.split()[-1]) < 600  # tables of users times items would be 900
