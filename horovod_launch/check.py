"""`run --check`: whether all hosts can take part in one job: a line for each host, then a reduction over all."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from horovod_launch import asking, hosts, network
from horovod_launch.asking import Answer
from horovod_launch.command import Launch
from horovod_launch.hosts import Host

REDUCTION_S = 120
"""A job that has not answered by then never will; TensorFlow's start takes most of the time."""
COLUMNS = ("host", "answer", "address", "cores", "ranks", "threads", "python", "program", "TensorFlow", "Horovod")


def _row(host: Host, answer: Answer, launch: Launch, choice: network.Choice | None) -> list[str]:
    interface = choice.of_host.get(host.name) if choice else None
    threads = launch.threads or max(1, answer.facts["cores"] // host.slots)
    versions = answer.facts["versions"]
    return [
        host.name,
        f"{answer.seconds:.1f} s" if answer.seconds else "here",
        f"{interface.address} {interface.name}" if interface else "-",
        *map(str, (answer.facts["cores"], host.slots, threads)),
        *(versions[name] or "missing" for name in COLUMNS[6:]),
    ]


def differences(answers: Sequence[Answer]) -> list[str]:
    """A line for each version in which a host differs from the first one."""
    first, lines = answers[0], []
    for answer in answers[1:]:
        for name, value in answer.facts["versions"].items():
            expected = first.facts["versions"][name]
            if value != expected:
                has = f"{name} {value}" if value else f"no {name}"
                lines.append(f"{answer.host} has {has}, {first.host} has {expected or 'none'}")
    return lines


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of text as aligned lines, the names of the columns first."""
    everything = [COLUMNS, *rows]
    widths = [max(len(row[k]) for row in everything) for k in range(len(COLUMNS))]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in everything]


def _reduction(launch: Launch) -> tuple[bool, str]:
    """A sum over one rank a host, by the launcher itself."""
    line = [sys.executable, "-m", "horovod_launch", "run", "-np", str(launch.ranks), "-H", launch.hosts or "localhost"]
    line += ["--gloo"] if launch.gloo else []
    line += ["--network", launch.network] if launch.network else []
    began, what = time.monotonic(), f"{launch.ranks} ranks by {'Gloo' if launch.gloo else 'MPI'}"
    process = subprocess.Popen(
        [*line, launch.module, "--", *launch.arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        out, err = process.communicate(timeout=REDUCTION_S)
    except subprocess.TimeoutExpired:
        process.kill()  # its ranks end with it
        return False, f"{what}: no answer in {REDUCTION_S} s; --network may name the network between the hosts"
    if process.returncode == 0 and "gradients are reduced" in out:
        return True, f"{what}: gradients are reduced ({time.monotonic() - began:.0f} s)"
    return False, f"{what}: FAILED (status {process.returncode}): {(err.strip().splitlines() or ['no output'])[-1]}"


def main(launch: Launch) -> int:
    """Print the table and what is wrong; the status is 0 where nothing is, else 2."""
    placed = launch.placed()
    answers = asking.ask([host.name for host in placed], details=True)
    good = [answer for answer in answers if not answer.problem]
    choice = network.choose(good, launch.network) if len(good) > 1 else None
    rows = [_row(h, a, launch, choice) for h, a in zip(placed, answers, strict=True) if not a.problem]
    print("\n".join(table(rows)), flush=True)
    wrong = [answer.problem for answer in answers if answer.problem]
    wrong += differences(good) if good else []
    for line in wrong:
        print(f"error: {line}", file=sys.stderr, flush=True)
    if wrong:
        return 2
    one_each = hosts.shown(tuple(Host(host.name, 1) for host in placed))
    test = replace(
        launch,
        ranks=len(placed),
        hosts=one_each,
        module="recsys_core.doctor",
        arguments=("--self-test",),
        restarts=0,
        timeline=None,
    )
    passed, text = _reduction(test)
    print(text if passed else f"error: {text}", file=sys.stdout if passed else sys.stderr, flush=True)
    return 0 if passed else 2
