"""The GPU that each rank takes, by its identity, and the refusal of two ranks on one GPU."""

from __future__ import annotations

import ctypes
import json
import os
import socket
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from recsys_core.errors import SharedError
from recsys_core.world import World


class Place(NamedTuple):
    """Where one rank computes."""

    host: str
    gpu: str
    """Identity of its GPU among those of all hosts; "" for a rank on a CPU."""
    visible: int
    """Number of GPUs that the rank sees."""


def uuid(index: int) -> str | None:
    """UUID of a GPU, asked of the driver; None where the driver does not say.

    Args:
        index: its number among the GPUs that this process sees.
    """
    device, answer = ctypes.c_int(), (ctypes.c_ubyte * 16)()
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        failed = (
            driver.cuInit(0)
            or driver.cuDeviceGet(ctypes.byref(device), index)
            or driver.cuDeviceGetUuid_v2(answer, device)
        )
    except (OSError, AttributeError):  # no driver, or one older than 470
        return None
    return None if failed else bytes(answer).hex()


def own_place(visible: int, index: int | None) -> Place:
    """The place of this process.

    Numbers alone would not do: Slurm and Kubernetes may give each rank another GPU, which every rank counts as 0.

    Args:
        visible: number of GPUs that it sees.
        index: the one among them that it takes, None on a CPU.
    """
    host = socket.gethostname()
    if index is None:
        return Place(host, "", visible)
    return Place(host, uuid(index) or f"{host} {os.environ.get('CUDA_VISIBLE_DEVICES')} {index}", visible)


def fault(places: Sequence[Place]) -> str | None:
    """What is wrong in one line, None if every rank has a GPU or a CPU of its own.

    Args:
        places: one for each rank.
    """
    ranks_on = Counter(place.gpu for place in places if place.gpu)
    shared = next((place for place in places if ranks_on[place.gpu] > 1), None)
    if shared is None:
        return None
    sharing = [rank for rank, place in enumerate(places) if place.gpu == shared.gpu]
    here = [place for place in places if place.host == shared.host]
    gpus = max(len({place.gpu for place in here if place.gpu}), *(place.visible for place in here))
    return (
        f"ranks {sharing[0]} and {sharing[1]} would share a GPU: {len(here)} ranks run on {shared.host}, which has "
        f"{gpus} GPU{'s' * (gpus > 1)}; start at most {gpus} there (-np {gpus}), "
        "or set CUDA_VISIBLE_DEVICES= (empty) to train on CPUs"
    )


def _all_places(world: World, own: Place) -> list[Place]:
    line = tf.constant(list(json.dumps(own).encode() + b"\n"), tf.uint8)
    lines = bytes(world.gather_in_graph(line, "places").numpy()).decode().splitlines()
    return [Place(*json.loads(text)) for text in lines]


def refuse(world: World, visible: int, index: int | None) -> None:
    """Refuse two ranks on one GPU; every rank takes part, after it has told TensorFlow which GPU it takes.

    Args:
        visible: number of GPUs that this rank sees.
        index: the one among them that it takes, None on a CPU.

    Raises:
        SharedError: two ranks have the same GPU. From then on this thread computes on the CPU: NCCL refuses two ranks
            on one GPU too, so the ranks could not part in good order otherwise.
    """
    if world.size == 1:
        return
    with tf.device("/CPU:0"):
        message = fault(_all_places(world, own_place(visible, index)))
    if message is not None:
        tf.device("/CPU:0").__enter__()
        raise SharedError(message)
