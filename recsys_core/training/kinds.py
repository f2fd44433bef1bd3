"""Which training step is taken, sparse or compiled, and how much memory a compiled one may take."""

from __future__ import annotations

from recsys_core import devices
from recsys_core.config import HardwareConfig
from recsys_core.errors import UserError
from recsys_core.model import Recommender
from recsys_core.world import World

GPU_SHARE = 1 / 3
"""Part of a GPU's memory for the temporary arrays of a step; beside them lie parameters, moments and data."""
CPU_BYTES = 2.0 * 2**30


def is_compiled(model: Recommender, hardware: HardwareConfig) -> bool:
    """Whether the step is compiled as a whole.

    Raises:
        UserError: the compiled step was asked for, and the model has none, or it could not be deterministic.
    """
    by_xla = hardware.xla and hardware.step == "auto"
    choice = "compiled" if by_xla else hardware.step
    given = "--xla is set" if by_xla else "--step is compiled"
    if choice == "compiled" and not model.has_compiled_step:
        when = " with --embedding-gradients rows" if type(model).has_compiled_step else ""
        raise UserError(f"{given}, and {type(model).__name__} has a sparse step only{when}; leave the flag out")
    if choice == "compiled" and hardware.deterministic and devices.has_gpu():
        # XLA would turn each scatter into a loop over its entries.
        raise UserError(f"{given}, which --deterministic makes far too slow on a GPU; leave that flag out")
    on_gpu = devices.has_gpu() and not hardware.deterministic
    return choice == "compiled" or (choice == "auto" and model.has_compiled_step and on_gpu)


def step_bytes(model: Recommender, hardware: HardwareConfig, world: World) -> float:
    """Bytes that the temporary arrays of a compiled step may take; 0 for the sparse step.

    Rank 0 decides: evaluation cuts its blocks by this number, and ranks that cut other blocks would leave users out.

    Raises:
        UserError: see `is_compiled`.
    """
    own = 0.0
    if is_compiled(model, hardware):
        of_device = GPU_SHARE * devices.gpu_bytes() or CPU_BYTES
        own = hardware.device_memory * 2**30 or of_device
    return world.broadcast(own)
