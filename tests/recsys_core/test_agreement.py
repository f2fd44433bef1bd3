"""What ranks must have alike, and the lines that name who differs. Expected lines are typed by hand."""

from __future__ import annotations

import pytest

from recsys_core import agreement
from recsys_core.errors import errors_of_ranks

SAME = {"NumPy": "1.26.4", "XLA_FLAGS": "", "device": "a CPU", "hardware": "Zen"}


def test_ranks_that_are_alike() -> None:
    assert agreement.differences([SAME, dict(SAME)], ["h1", "h2"]) == ([], [])


def test_each_host_that_differs_is_named_once_with_what() -> None:
    other = SAME | {"NumPy": "1.26.3", "XLA_FLAGS": "--xla_x=1"}
    errors, notes = agreement.differences([SAME, SAME, other, other], ["h1", "h1", "h2", "h2"])
    assert errors == [
        "NumPy is 1.26.3 for rank 2 on h2, 1.26.4 for rank 0 on h1",
        "XLA_FLAGS is --xla_x=1 for rank 2 on h2, not set for rank 0 on h1",
    ]
    assert notes == []


def test_another_model_of_gpu_is_told_only() -> None:
    errors, notes = agreement.differences([SAME, SAME | {"hardware": "Intel"}], ["h1", "h2"])
    assert (errors, notes) == ([], ["hardware is Intel for rank 1 on h2, Zen for rank 0 on h1"])


def test_places_of_xla_are_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """They name a folder of each host; other flags of XLA count."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_cuda_data_dir=/a/nvcc --xla_y=2 --xla_dump_to=/tmp/d")
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
    found = agreement.record("a CPU", "Zen")
    assert (found["XLA_FLAGS"], found["NVIDIA_TF32_OVERRIDE"], found["NumPy"]) == ("--xla_y=2", "0", "1.26.4")
    assert found["program"].startswith("with source ")


def test_data_sets_that_differ() -> None:
    first, fewer = {"training users": 1442, "items": 300}, {"training users": 1441, "items": 300}
    assert agreement.data_differences(["h1", "h2"], [first, fewer], ["aaaaaaaaaa", "bbbbbbbbbb"]) == [
        "the data set of rank 1 on h2 has 1,441 training users (1,442 for rank 0 on h1)"
    ]
    assert agreement.data_differences(["h1", "h2", "h2"], [first] * 3, ["aaaaaaaaaa", "bbbbbbbbbb", "bbbbbbbbbb"]) == [
        "the data set of rank 1 on h2 has the fingerprint bbbbbbbb (aaaaaaaa for rank 0 on h1)"
    ]
    assert agreement.data_differences(["h1", "h2"], [first] * 2, ["aaaaaaaaaa"] * 2) == []


@pytest.mark.parametrize(
    ("found", "line"),
    [
        ([("h1", "no data"), ("h1", "no data")], "no data"),
        ([("h1", None), ("h2", "no data"), ("h2", "no data")], "rank 1 on h2: no data"),
        ([("h1", "no data"), ("h2", "no data"), ("h3", "cut")], "no data; rank 2 on h3: cut"),
        (
            [("h1", None), *((f"h{k}", "cut") for k in range(2, 7))],
            "rank 1 on h2: cut; rank 2 on h3: cut; rank 3 on h4: cut; and 2 more",
        ),
    ],
)
def test_errors_of_ranks(found: list[tuple[str, str | None]], line: str) -> None:
    assert errors_of_ranks(found) == line
