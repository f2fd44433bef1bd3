"""The split of a step, the model of a link, and what they predict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.link import (
    Link,
    Wires,
    fitted,
    fitted_wires,
    from_published,
    gpu_prediction,
    h100_prediction,
    h100_step,
    predicted,
)
from benchmarks.roofline import roofline
from benchmarks.scaling import plan, split
from benchmarks.shapes import SHAPES, ncf_operations, vae_operations
from recsys_core.dataset import Dataset
from recsys_core.measuring.processes import result_of


def test_what_is_left_out_is_what_it_cost() -> None:
    seconds = {"whole": [1.0, 1.1, 0.9], "silent": [0.7, 0.7, 0.7], "fed": [0.9, 0.9, 0.9], "exchange": [0.5, 0.5, 0.5]}
    parts = split(seconds, 2)
    assert parts["step"] == [1.0, 1.1, 0.9]
    assert parts["exposed_communication"] == pytest.approx([0.3, 0.4, 0.2])
    assert parts["input"] == pytest.approx([0.1, 0.2, 0.0])
    assert parts["compute"] == pytest.approx([0.6, 0.5, 0.7])
    assert parts["exchange_alone"] == [0.5, 0.5, 0.5]


def test_nothing_costs_less_than_nothing() -> None:
    parts = split({"whole": [1.0], "silent": [1.2], "fed": [1.1], "exchange": [0.0]}, 2)
    assert (parts["compute"], parts["exposed_communication"], parts["input"]) == ([1.0], [0.0], [0.0])


def test_one_rank_has_no_communication() -> None:
    parts = split({"whole": [1.0], "silent": [0.5], "fed": [0.9], "exchange": [0.0]}, 1)
    assert parts["exposed_communication"] == [0.0]
    assert parts["compute"] == pytest.approx([0.9])


def test_a_ring_of_two() -> None:
    # Two messages of half the bytes each.
    assert Link(1e-3, 1e9).seconds(2, 1e6) == pytest.approx(2 * (1e-3 + 0.5e-3))
    # Four ranks: six messages of a quarter.
    assert Link(1e-3, 1e9).seconds(4, 1e6) == pytest.approx(6 * (1e-3 + 0.25e-3))
    assert Link(1e-3, 1e9).seconds(1, 1e6) == 0.0


@pytest.mark.parametrize("ranks", [2, 4, 16])
def test_a_link_is_found_again(ranks: int) -> None:
    link, sizes = Link(3e-5, 2.5e9), [4.0**k for k in range(5, 14)]
    found = fitted(ranks, sizes, [link.seconds(ranks, size) for size in sizes])
    assert found.latency == pytest.approx(link.latency, rel=1e-6)
    assert found.bandwidth == pytest.approx(link.bandwidth, rel=1e-6)


def test_wires_are_found_again_and_predict_a_speed_that_was_not_measured() -> None:
    wires, sizes = Wires(latency=4e-5, host=3e-10, wire=1.05), [4.0**k for k in range(5, 14)]
    speeds = (1e9 / 8, 25e9 / 8, float("inf"))
    points = [(speed, size, wires.link(speed).seconds(2, size)) for speed in speeds for size in sizes]
    found = fitted_wires(2, points)
    assert (found.latency, found.host, found.wire) == pytest.approx((4e-5, 3e-10, 1.05), rel=1e-6)
    # Two messages of 50 MB at 10 Gbit/s: 40 us each, 15 ms of the hosts, and 42 ms of the wire
    assert found.link(10e9 / 8).seconds(2, 100e6) == pytest.approx(2 * (40e-6 + 15e-3 + 42e-3), rel=1e-6)


def test_no_byte_goes_over_a_wire_less_than_once() -> None:
    """Fast wires say little of a slow one: without the bound, hosts would be said to send half of the bytes."""
    points = [(10e9 / 8, 64e6, 0.05), (25e9 / 8, 64e6, 0.045)]
    found = fitted_wires(2, points)
    assert found.wire == 1.0
    assert found.link(1e9 / 8).seconds(2, 64e6) >= 64e6 / (1e9 / 8)


def test_compute_hides_what_it_hides() -> None:
    link = Link(0.0, 1e9)
    assert predicted(1.0, link, 2, 1e9) == pytest.approx(2.0)
    assert predicted(1.0, link, 2, 1e9, hidden=0.75) == pytest.approx(1.25)


def test_the_prediction_starts_at_what_was_published() -> None:
    rows = {row["gpus"]: row for row in gpu_prediction(1e-5)}
    assert rows[1]["strong"] == pytest.approx(354_032)
    assert rows[8]["strong"] == pytest.approx(1_660_700)
    assert rows[1_024]["weak"] < 1_024 * 354_032
    weak = [rows[n]["weak"] / n for n in sorted(rows)]
    assert weak == sorted(weak, reverse=True)
    assert from_published(97e6, 1e-5).bandwidth > 1e9


def test_the_prediction_for_h100_starts_at_what_was_measured() -> None:
    assert h100_step(24_576) == pytest.approx(24_576 / 556_000)
    assert h100_step(2_000) == pytest.approx(2_000 / 301_300)
    # Halfway between 500 and 2,000 users, 4.5208 and 6.6379 ms
    assert h100_step(1_250) == pytest.approx(5.5793e-3, rel=1e-4)
    # The line from 500 to 2,000 prolonged: 4.5208 ms less 250 users of 1.4114 us
    assert h100_step(250) == pytest.approx(4.1679e-3, rel=1e-4)
    rows = {row["gpus"]: row for row in h100_prediction(Link(1e-5, 50e9))}
    assert rows[1]["strong"] == rows[1]["weak"] == pytest.approx(556_000)
    # Eight GPUs: 14 messages of an eighth of 97.96 MB (2 x 600 x 20,108 and 3 x 600 x 200 numbers of 4 bytes)
    exchange = 14 * (1e-5 + 97.9584e6 / 8 / 50e9)
    assert rows[8]["weak"] == pytest.approx(8 * 24_576 / (24_576 / 556_000 + exchange), rel=1e-6)


def test_each_setting_has_what_it_is_compared_with() -> None:
    settings = plan([2_048, 8_192], [2, 4])
    assert len(settings) == len(set(settings))
    for batch in (2_048, 8_192):
        for ranks in (2, 4):
            assert {(1, batch), (ranks, batch), (1, batch // ranks)} <= set(settings)


def test_operations_are_counted_by_hand() -> None:
    # VAE-CF, 10 items: 600 x 400 + 200 x 600 + 600 x 10 products; each two operations, forward and twice backward.
    assert vae_operations(10) == 6 * (240_000 + 120_000 + 6_000)
    # 8 factors: 32 x 32 for the item, a fifth of as many for the user, 32 x 16 + 16 x 8, 8 + 8 + 8 to the end.
    small = SHAPES["he2017-8"]  # 6,040 users, 3,706 items
    assert ncf_operations(small, 1_000) == pytest.approx(6 * (1.2 * 32 * 32 + 512 + 128 + 8 + 16))  # all looked up
    few = 6 * ((6_040 + 3_706) / 100_000 * 32 * 32 + 512 + 128 + 8 + 16)  # fewer rows than the 20,000 + 100,000 lookups
    assert ncf_operations(small, 100_000) == pytest.approx(few)


def test_the_roof_has_two_slopes() -> None:
    # 100 operations/s, 10 bytes/s: the ridge is at 10 operations a byte.
    deep = roofline("users", 200.0, 10.0, [100.0, 100.0], [10.0, 10.0], [0.25, 0.4])
    assert (deep["bound"], deep["ridge"]) == ("compute", 10.0)
    assert deep["limit_users_per_second"] == [0.5, 0.5]
    assert deep["share_of_limit"] == [0.5, 0.8]
    flat = roofline("users", 20.0, 10.0, [100.0], [10.0], [1.0])
    assert (flat["bound"], flat["limit_users_per_second"]) == ("memory", [1.0])


@pytest.mark.slow
@pytest.mark.ranks
def test_two_ranks_measure_themselves(tiny_data: Path) -> None:
    words: list[Any] = ["-m", "benchmarks.scaling_rank", "--model", "vae", "--data", tiny_data]
    words += ["--batch-size", 32, "--seconds", 0.1, "--rounds", 2]
    found = result_of([str(w) for w in words], ranks=2, threads=1)
    assert found["ranks"] == 2
    assert found["examples"] == 32
    assert {name: len(v) for name, v in found["seconds"].items()} == dict.fromkeys(
        ("whole", "silent", "narrow", "fed", "exchange"), 2
    )
    assert all(s > 0 for values in found["seconds"].values() for s in values)
    assert [len(s["seconds"]) for s in found["sums"]] == [2] * 9
    n = Dataset.open(tiny_data).n_items
    assert found["gradient_bytes"] == 4 * (2 * 600 * n + 600 * 400 + 200 * 600 + 600 + 400 + 600 + n)
