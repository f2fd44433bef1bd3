"""Which share of the parts this process writes: of --shard, or of its rank where a launcher started several."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

RANK_AND_SIZE = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("HOROVOD_RANK", "HOROVOD_SIZE"),
    ("PMI_RANK", "PMI_SIZE"),
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),
)
"""Variables of mpirun, horovodrun, MPICH and MVAPICH."""
SLURM = ("SLURM_PROCID", "SLURM_NTASKS")
"""Variables of srun. A batch script has them too, but no step."""
STEPS = ("SLURM_STEP_ID", "SLURM_STEPID")


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Share `index` (from 0) of `count`."""

    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.index + 1}/{self.count}"


def parse_shard(text: str) -> Shard:
    """Read "2/8": the second of eight shares.

    Raises:
        ValueError: the text has another form, or the first number is not from 1 to the second.
    """
    found = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"--shard is {text!r}, expected I/N with I from 1 to N, as 2/8")
    return Shard(index=int(found[1]) - 1, count=int(found[2]))


def shard_of_rank(env: Mapping[str, str]) -> Shard:
    """The share of this process by the variables of a launcher; all where none started it."""
    pairs = (*RANK_AND_SIZE, *((SLURM,) if any(name in env for name in STEPS) else ()))
    for rank, size in pairs:
        if env.get(rank, "").isdigit() and env.get(size, "").isdigit():
            return Shard(index=int(env[rank]), count=max(int(env[size]), 1))
    return Shard()
