"""Starting a launch: one process, ranks under mpirun or ranks under Gloo, here or on several hosts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from horovod_launch import asking, gpus, network, probe
from horovod_launch.asking import Answer
from horovod_launch.command import Launch, command, environment, program, shown
from horovod_launch.gloo import GlooJob
from horovod_launch.gloo import shown as shown_gloo
from horovod_launch.jobs import NOTE, Job, Mpirun, Note, Outcome, supervise


@dataclass(frozen=True)
class Ready:
    """A launch whose hosts have been asked."""

    launch: Launch
    cores: int
    """Cores of the host that has the fewest."""
    choice: network.Choice | None = None
    """The network interfaces; None where all ranks run on this machine."""


def refuse_several_launchers(env: Mapping[str, str]) -> None:
    """Raise ValueError where srun started this launcher more than once: each would start all ranks."""
    count = env.get("SLURM_STEP_NUM_TASKS", "1") if {"SLURM_STEP_ID", "SLURM_STEPID"} & env.keys() else "1"
    if count.isdigit() and int(count) > 1 and env.get("RECSYS_SINGLE") != "1":
        raise ValueError(
            f"srun started {count} launchers, and each would start all ranks: start one without srun, "
            "or set RECSYS_SINGLE=1 where each is meant to be alone"
        )


def prepared(launch: Launch, answers: Sequence[Answer] | None = None) -> Ready:
    """Ask the hosts of a launch, and choose their networks.

    Args:
        answers: of the hosts that run ranks, where they have been asked already.

    Raises:
        ValueError: ranks would share a GPU, a host cannot run ranks, or has no address in the network that is given.
    """
    if launch.is_local():
        gpus.refuse_sharing(launch.ranks, gpus.taken(launch.module, os.environ))
        return Ready(launch, probe.cores())
    if answers is None:
        answers = asking.ask([host.name for host in launch.placed()])
    asking.refuse_unreachable(answers)
    return Ready(launch, min(answer.facts["cores"] for answer in answers), network.choose(answers, launch.network))


def start(ready: Ready, note: Note) -> Job:
    """Start the ranks.

    Raises:
        FileNotFoundError: mpirun is not installed.
    """
    launch = ready.launch
    env = environment(launch, ready.cores, os.environ) | {NOTE: str(note.path)}
    if launch.gloo and not launch.is_one_process():
        return GlooJob(launch, env, ready.choice)
    if ready.choice:
        env |= ready.choice.settings(os.environ)
    return Mpirun(command(launch, ready.cores, env, os.geteuid() == 0), env, note)


def run(ready: Ready) -> Outcome:
    """Start the ranks, wait for them, and pass signals on."""
    note = Note()
    return supervise(start(ready, note), ready.launch.is_training(), note)


def replace_this_process(launch: Launch) -> int:
    """Become the one process of a launch: signals, status and terminal are its own. Returns only where that fails."""
    env, line = environment(launch, probe.cores(), os.environ), program(launch)
    os.execve(line[0], line, env)


def dry_run(launch: Launch) -> list[str]:
    """What would be started, without asking other hosts."""
    cores = probe.cores()
    env = environment(launch, cores, os.environ)
    if launch.gloo and not launch.is_one_process():
        return shown_gloo(launch, env)
    line = command(launch, cores, env, os.geteuid() == 0)
    threads = f"OMP_NUM_THREADS={env['OMP_NUM_THREADS']} " if "OMP_NUM_THREADS" in env else ""
    return [threads + shown(line)]
