"""`run --restarts N`: a training that lost a rank or a host starts again from its last checkpoint.

The hosts that answer take part: a host that is gone is left out, and one that is back is used again. The batch size is
that of all ranks together and an epoch is the same on any number of them, so the run goes on as it would have.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from horovod_launch import asking, hosts, starting
from horovod_launch.asking import Answer
from horovod_launch.command import Launch
from horovod_launch.jobs import KILLED, Outcome

HOST_LOST = frozenset((205, 255))
"""Statuses of mpirun, and of ssh, where a host does not answer any more."""
FINAL = frozenset((0, 2, 3, 4, 5, 130))
"""No restart after these: done, bad input, gate missed, diverged, not converted, Ctrl-C."""


def run_folder(arguments: Sequence[str]) -> str | None:
    """The run folder in the flags of a training: the last --resume, else the last --run-dir."""
    found: dict[str, str] = {}
    for place, word in enumerate(arguments):
        name, equals, value = word.partition("=")
        if name in ("--run-dir", "--run_dir", "--resume"):
            value = value if equals else next(iter(arguments[place + 1 :]), "")
            found["--resume" if name == "--resume" else "--run-dir"] = value
    return found.get("--resume") or found.get("--run-dir") or None


def check(launch: Launch) -> None:
    """Raise ValueError where a launch cannot be restarted."""
    if launch.restarts and not launch.is_training():
        raise ValueError(f"--restarts is for training, as vaecf.train; {launch.module} has no checkpoints")
    if launch.restarts and run_folder(launch.arguments) is None:
        raise ValueError("--restarts needs --run-dir or --resume among the flags of the training")


def resumed(launch: Launch, answers: Sequence[Answer], manifest: str) -> Launch:
    """The launch that goes on with a run, on the hosts that answered.

    Args:
        answers: of all hosts of the launch, in order.
        manifest: the run's manifest; a run without one starts from its beginning.

    Raises:
        ValueError: no host answers, or the one with the run folder does not.
    """
    there = [answer for answer in answers if not answer.problem]
    if not there:
        raise ValueError(answers[0].problem)
    begun = manifest in there[0].facts["files"]
    if there[0] != answers[0] and not begun:
        raise ValueError(f"{answers[0].problem}: the run folder is on that host, so nothing can go on without it")
    if begun and not any(word.partition("=")[0] == "--resume" for word in launch.arguments):
        launch = replace(launch, arguments=("--resume", run_folder(launch.arguments) or ""))
    if launch.hosts is None:
        return launch
    names = {answer.host for answer in there}
    left = tuple(host for host in hosts.parsed(launch.hosts) if host.name in names)
    ranks = min(launch.ranks, sum(host.slots for host in left))
    return replace(launch, hosts=hosts.shown(left), ranks=ranks)


def _again(launch: Launch, status: int, number: int) -> starting.Ready:
    names = [host.name for host in hosts.parsed(launch.hosts or "localhost")]
    folder = run_folder(launch.arguments)
    manifest = f"{folder}/run.json"
    answers = asking.ask(names, [manifest])
    following = resumed(launch, answers, manifest)
    gone = "".join(f"{answer.problem}; " for answer in answers if answer.problem)
    ranks = "1 rank" if following.ranks == 1 else f"{following.ranks} ranks"
    where = ", ".join(host.name for host in following.placed())
    print(
        f"{gone}status {status}: restart {number} of {launch.restarts}, {folder} goes on with {ranks} on {where}",
        file=sys.stderr,
        flush=True,
    )
    used = [answer for answer in answers if answer.host in {host.name for host in following.placed()}]
    return starting.prepared(following, used if launch.hosts else None)


def run(launch: Launch) -> int:
    """Run a training, and start it again up to `launch.restarts` times.

    Returns:
        The status of the last start.
    """
    check(launch)
    outcome = starting.run(starting.prepared(launch))
    for number in range(1, launch.restarts + 1):
        if outcome.stopped or outcome.status in FINAL:
            break
        try:
            following = _again(launch, outcome.status, number)
        except ValueError as error:  # the status stays that of the job: this is no bad input
            print(f"error: {error}", file=sys.stderr, flush=True)
            break
        outcome = starting.run(following)
    if (line := end_line(launch, outcome)) is not None:
        print(line, file=sys.stderr, flush=True)
    return outcome.status


def end_line(launch: Launch, outcome: Outcome) -> str | None:
    """How to go on with a training whose ranks or hosts were lost; None where nobody need be told, or ranks said it."""
    folder = run_folder(launch.arguments)
    if not launch.is_training() or outcome.stopped or outcome.status <= KILLED:
        return None
    if folder is None or not Path(folder, "run.json").is_file():
        return None
    number = outcome.status - KILLED
    if outcome.status in HOST_LOST:
        by = "a host was lost"
    elif number in signal.valid_signals():
        by = f"signal {number}, {signal.strsignal(number)}"
    else:
        return None
    return f"the job ended with status {outcome.status} ({by}); go on from the last checkpoint with --resume {folder}"
