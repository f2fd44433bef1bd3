"""Which training step is taken, sparse or compiled, and how much memory a compiled one may take."""

from __future__ import annotations

from recsys_core import devices
from recsys_core.config import HardwareConfig
from recsys_core.errors import UserError
from recsys_core.model import Recommender

GPU_SHARE = 1 / 3
"""Part of a GPU's memory for the temporary arrays of a step; beside them lie parameters, moments and data."""
CPU_BYTES = 2.0 * 2**30


def is_compiled(model: Recommender, hardware: HardwareConfig) -> bool:
    """Whether the step is compiled as a whole.

    Raises:
        UserError: the compiled step was asked for, and the model has none, or it could not be deterministic.
    """
    choice = "compiled" if hardware.xla and hardware.step == "auto" else hardware.step
    if choice == "compiled" and not model.has_compiled_step:
        raise UserError(f"--step is compiled, and {type(model).__name__} has a sparse step only; leave the flag out")
    if choice == "compiled" and hardware.deterministic and devices.has_gpu():
        # XLA would turn each scatter into a loop over its entries.
        raise UserError("--step is compiled, which --deterministic makes far too slow on a GPU; leave --step out")
    on_gpu = devices.has_gpu() and not hardware.deterministic
    return choice == "compiled" or (choice == "auto" and model.has_compiled_step and on_gpu)


def step_bytes(model: Recommender, hardware: HardwareConfig) -> float:
    """Bytes that the temporary arrays of a compiled step may take; 0 for the sparse step.

    Raises:
        UserError: see `is_compiled`.
    """
    if not is_compiled(model, hardware):
        return 0.0
    if hardware.device_memory:
        return hardware.device_memory * 2**30
    total = devices.gpu_bytes()
    return GPU_SHARE * total if total else CPU_BYTES
