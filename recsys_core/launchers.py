"""Launchers that start several processes which would not join each other: each would train all of the data alone.

Ranks join under mpirun and `horovod_launch run` (Open MPI's variables) and under horovodrun (Horovod's). Refused are:

- srun, with PMI or PMIx as well. Open MPI would join ranks of a PMIx that fits its own, but says so only when MPI has
  started; the place of a rank is needed before that, and no part of it could be tried where this was written.
  mpirun inside the job starts the same ranks (`python -m horovod_launch slurm`).
- MPICH, Intel MPI and MVAPICH: Horovod and mpi4py are built for Open MPI here.
- Elastic Horovod: under TensorFlow 2 its state does not send variables to a rank that joins.
"""

from __future__ import annotations

from collections.abc import Mapping

SINGLE = "RECSYS_SINGLE"
"""Set to 1 for a process that is meant to be alone, although srun or another launcher started it."""
ELASTIC = (
    "Horovod's elastic launcher is not supported; python -m horovod_launch run --restarts N starts a training again "
    "from its last checkpoint when a rank or a host is lost"
)
JOINED = ("OMPI_COMM_WORLD_SIZE", "HOROVOD_GLOO_RENDEZVOUS_ADDR")
SIZES = {
    "PMI_SIZE": "MPICH, Intel MPI or srun",
    "MV2_COMM_WORLD_SIZE": "MVAPICH",
    "MPI_LOCALNRANKS": "MPICH or Intel MPI",
}
"""Variables with a number of processes, and what sets them."""


def _number(env: Mapping[str, str], *names: str) -> int:
    """The first of some variables that holds a number, 0 where none does."""
    return next((int(env[name]) for name in names if env.get(name, "").isdigit()), 0)


def _started_by_srun(env: Mapping[str, str]) -> bool:
    """Whether srun started this process, rather than a batch script that has Slurm's variables too.

    A batch script is task 0 of its job and has no step.
    """
    return bool({"SLURM_STEP_ID", "SLURM_STEPID"} & env.keys()) or _number(env, "SLURM_PROCID") > 0


def _others(env: Mapping[str, str]) -> tuple[int, str]:
    """Processes that a launcher started with this one, and its name; (1, "") where none is known of."""
    if _started_by_srun(env):
        count = _number(env, "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS", "SLURM_NPROCS")
        if count > 1:
            return count, "srun"
        if count == 1:
            return 1, ""
    for name, launcher in SIZES.items():
        if _number(env, name) > 1:
            return _number(env, name), launcher
    if "PMIX_RANK" in env and "PMI_SIZE" not in env:
        return 0, "a launcher with PMIx"  # it does not say how many there are
    return 1, ""


def refusal(env: Mapping[str, str]) -> str:
    """Why a process with these variables must not train, "" where it may: alone, or joined by MPI or Gloo."""
    if env.get("HOROVOD_ELASTIC") == "1":
        return ELASTIC
    if env.get(SINGLE) == "1" or any(name in env for name in JOINED):
        return ""
    count, launcher = _others(env)
    if not launcher:
        return ""
    processes = f"{count} processes" if count else "this process"
    return (
        f"{launcher} started {processes}, which would train apart from each other: start with mpirun or "
        f"python -m horovod_launch run, or set {SINGLE}=1 where each process is meant to be alone"
    )


def mismatch(env: Mapping[str, str], size: int) -> str:
    """Why ranks that have joined are not those that the launcher started, "" where they are.

    Args:
        size: of the world that was joined.
    """
    started = _number(env, "OMPI_COMM_WORLD_SIZE", "HOROVOD_SIZE")
    if started in (0, size):
        return ""
    return (
        f"the launcher started {started} processes, but this one joined {size}: mpirun and this program use two "
        "installations of Open MPI; start with python -m horovod_launch run"
    )
