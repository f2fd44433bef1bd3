"""Which step is taken, with and without a GPU, and how much memory it may have."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from recsys_core import devices
from recsys_core.config import HardwareConfig
from recsys_core.dataset import Dataset
from recsys_core.errors import UserError
from recsys_core.model import Recommender
from recsys_core.training.kinds import is_compiled, step_bytes
from recsys_core.world import World

GPU_BYTES = 81_000_000_000
CPU, GPU = "cpu", "gpu"


class SparseOnly(Recommender):
    """A model without a compiled step."""


class Both(Recommender):
    has_compiled_step: ClassVar[bool] = True


SPARSE_ONLY, BOTH = (kind(Dataset.empty(1, 3)) for kind in (SparseOnly, Both))


@pytest.fixture
def machine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A machine with a GPU, or without one: what `devices` tells of it."""
    monkeypatch.setattr(devices, "has_gpu", lambda: request.param == "gpu")
    monkeypatch.setattr(devices, "gpu_bytes", lambda: GPU_BYTES if request.param == "gpu" else 0)
    return request.param


@pytest.mark.parametrize(
    ("machine", "hardware", "expected"),
    [
        (CPU, HardwareConfig(), False),
        (GPU, HardwareConfig(), True),
        (CPU, HardwareConfig(step="compiled"), True),
        (GPU, HardwareConfig(step="compiled"), True),
        (CPU, HardwareConfig(step="sparse"), False),
        (GPU, HardwareConfig(step="sparse"), False),
        (CPU, HardwareConfig(xla=True), True),
        (GPU, HardwareConfig(xla=True), True),
        (GPU, HardwareConfig(xla=True, step="sparse"), False),
        (CPU, HardwareConfig(deterministic=True), False),
        (GPU, HardwareConfig(deterministic=True), False),
        (CPU, HardwareConfig(deterministic=True, step="compiled"), True),
    ],
    indirect=["machine"],
)
def test_which_step(machine: str, hardware: HardwareConfig, expected: bool) -> None:
    assert is_compiled(BOTH, hardware) == expected
    assert (step_bytes(BOTH, hardware, World()) > 0) == expected


@pytest.mark.parametrize("machine", [CPU, GPU], indirect=True)
def test_a_model_without_a_compiled_step(machine: str) -> None:
    for hardware in (HardwareConfig(), HardwareConfig(step="sparse"), HardwareConfig(deterministic=True)):
        assert step_bytes(SPARSE_ONLY, hardware, World()) == 0
    for given, hardware in (
        ("--step is compiled", HardwareConfig(step="compiled")),
        ("--xla is set", HardwareConfig(xla=True)),
    ):
        with pytest.raises(UserError) as caught:
            step_bytes(SPARSE_ONLY, hardware, World())
        assert str(caught.value) == f"{given}, and SparseOnly has a sparse step only; leave the flag out"


@pytest.mark.parametrize("machine", [GPU], indirect=True)
def test_a_compiled_step_cannot_be_deterministic_on_a_gpu(machine: str) -> None:
    for given, hardware in (
        ("--step is compiled", HardwareConfig(step="compiled", deterministic=True)),
        ("--xla is set", HardwareConfig(xla=True, deterministic=True)),
    ):
        with pytest.raises(UserError) as caught:
            step_bytes(BOTH, hardware, World())
        expected = f"{given}, which --deterministic makes far too slow on a GPU; leave that flag out"
        assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("machine", "given", "expected"),
    [(GPU, 0.0, 27_000_000_000), (CPU, 0.0, 2_147_483_648), (GPU, 1.5, 1_610_612_736), (CPU, 0.25, 268_435_456)],
    indirect=["machine"],
)
def test_how_much_memory(machine: str, given: float, expected: int) -> None:
    assert step_bytes(BOTH, HardwareConfig(step="compiled", device_memory=given), World()) == pytest.approx(expected)


class OtherRank(World):
    """A rank that is told what rank 0 has."""

    rank, size = 1, 2

    def broadcast(self, value: Any) -> Any:
        return 123.0 if isinstance(value, float) else value


def test_the_memory_of_rank_0_counts_on_every_rank() -> None:
    """Evaluation cuts its blocks by it; ranks that cut other blocks would leave users out or count them twice."""
    assert step_bytes(BOTH, HardwareConfig(step="compiled", device_memory=1.0), OtherRank()) == 123.0


@pytest.mark.parametrize("bad", [-1.0, float("inf"), float("nan")])
def test_memory_that_cannot_be_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match=f"--device-memory is {bad}, expected a number of GiB, 0 or more"):
        HardwareConfig(device_memory=bad).check()
