"""What the doctor says of a machine with GPUs."""

from __future__ import annotations

import pytest

from recsys_core.doctor import missing

WHOLE = {"cards": 2, "visible": 2, "hidden": None, "cuda_build": True, "nccl": True}


@pytest.mark.parametrize(
    ("change", "starts"),
    [
        ({}, []),
        ({"visible": 0, "cuda_build": False}, ["TensorFlow for GPUs (this one is for CPUs only): make setup"]),
        ({"visible": 0}, ["CUDA's libraries, or a driver from 525 on: nvidia-smi lists 2 GPUs, TensorFlow finds none"]),
        ({"visible": 0, "hidden": ""}, ["a GPU: nvidia-smi lists 2 GPUs, but CUDA_VISIBLE_DEVICES='' hides them"]),
        ({"nccl": False}, ["Horovod with NCCL (without it gradients go through the CPU): make setup"]),
        ({"visible": 0, "cuda_build": False, "nccl": False}, ["TensorFlow for GPUs", "Horovod with NCCL"]),
        ({"cards": 0, "visible": 0}, []),  # an image is built where no GPU is
    ],
)
def test_each_missing_part_is_one_line(change: dict, starts: list[str]) -> None:
    lines = missing(**(WHOLE | change))
    assert len(lines) == len(starts)
    for line, start in zip(lines, starts, strict=True):
        assert line.startswith(start) and "\n" not in line
