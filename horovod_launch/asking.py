"""Asking the hosts of a launch for their facts (`probe`), all at once by ssh."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from horovod_launch import probe
from horovod_launch.hosts import is_this_machine

AGENT = "OMPI_MCA_plm_rsh_agent"
CONNECT_S, ANSWER_S = 5, 15
READER = "import sys; exec(sys.stdin.read())"


@dataclass(frozen=True)
class Answer:
    """What one host said, or why it could not be asked."""

    host: str
    facts: Mapping[str, Any]
    problem: str = ""
    """One line; empty where the host can run ranks."""
    seconds: float = 0.0


def ssh(host: str, line: str, options: Sequence[str] = ()) -> list[str]:
    """The command that runs a line of a shell on a host: by ssh, or by Open MPI's agent where another one is set."""
    agent = shlex.split(os.environ.get(AGENT, "ssh").split(":")[0]) or ["ssh"]
    if Path(agent[0]).name == "ssh":
        agent += ["-x", "-o", "BatchMode=yes", "-o", f"ConnectTimeout={CONNECT_S}", *options]
    return [*agent, host, line]


def _problem(host: str, done: subprocess.CompletedProcess[str]) -> str:
    said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    if done.returncode == 255:
        return f"{host} cannot be reached by ssh ({said.removeprefix('ssh: ')}); try: ssh {host} true"
    if done.returncode in (126, 127):
        return f"{host} has no {sys.executable}: the project and its .venv lie at the same path on every host"
    return f"{host} did not answer (status {done.returncode}): {said}"


def _ask(host: str, folder: str, files: Sequence[str], details: bool) -> Answer:
    if is_this_machine(host):
        return Answer(host, probe.facts(folder, list(files), details))
    call = f"\nimport json\nprint(json.dumps(facts({folder!r}, {list(files)!r}, {details})))\n"
    line = ssh(host, f"{shlex.quote(sys.executable)} -c {shlex.quote(READER)}")
    began = time.monotonic()
    try:
        source = Path(probe.__file__).read_text() + call
        done = subprocess.run(line, input=source, capture_output=True, text=True, timeout=ANSWER_S)
    except subprocess.TimeoutExpired:
        return Answer(host, {}, f"{host} did not answer in {ANSWER_S} s; try: ssh {host} true", ANSWER_S)
    seconds = time.monotonic() - began
    if done.returncode:
        return Answer(host, {}, _problem(host, done), seconds)
    facts = json.loads(done.stdout.strip().splitlines()[-1])  # a shell may print lines of its own before
    if not facts["folder"]:
        return Answer(host, facts, f"{host} has no folder {folder}: ranks start in this folder on every host", seconds)
    return Answer(host, facts, "", seconds)


def ask(hosts: Sequence[str], files: Sequence[str] = (), details: bool = False) -> list[Answer]:
    """The facts of all hosts, asked at the same time; takes as long as the slowest, at most 15 s.

    Args:
        files: files whose presence is asked for, as seen from this folder.
        details: versions too, which takes a little longer.
    """
    folder = str(Path.cwd())
    with ThreadPoolExecutor(max_workers=min(64, len(hosts))) as pool:
        return list(pool.map(lambda host: _ask(host, folder, files, details), hosts))


def refuse_unreachable(answers: Sequence[Answer]) -> None:
    """Raise ValueError with a line for each host that cannot run ranks."""
    if problems := [answer.problem for answer in answers if answer.problem]:
        raise ValueError("\nerror: ".join(problems))
