"""Runs the blocks of one name as a reader types them, in one shell and one folder, and compares what they print."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT, _environment
from tests.docs.blocks import PAGES, Block, Line, blocks

MARK = "@@@ command "
PORTS = ("8000", "8001", "8002")
"""Ports that the pages name; a run gets free ones instead."""
UNTIL = "background until"
ELLIPSIS = re.compile(r"^(\[?\.\.\.\]?|…)$")
NUMBER = re.compile(r"[-+]?\d[\d,.]*(e[-+]?\d+)?")


@dataclass(frozen=True, kw_only=True)
class Printed:
    """What a command printed, and what the page shows."""

    line: Line
    shown: Sequence[str]
    printed: Sequence[str]
    output: str
    """exact, varies, or "" for the same shape."""


def named_blocks() -> Mapping[str, list[Block]]:
    """Name -> its blocks, in the order of the pages and of the lines in them."""
    found: dict[str, list[Block]] = {}
    for page in PAGES:
        for block in blocks(page):
            if block.kind == "run":
                found.setdefault(block.value, []).append(block)
    return found


def free_ports(count: int) -> list[str]:
    """Ports that are free now."""
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def adapted(command: str, ports: Mapping[str, str], raw: Path) -> str:
    """A command with what a test must change: nothing is downloaded, and ports are free ones."""
    command = command.replace("--download", f"--raw {shlex.quote(str(raw))}")
    if "triton serve" in command and "--http-port" not in command:
        command += " --http-port 8000 --grpc-port 8001 --metrics-port 8002"
    return re.sub(r"\b800[012]\b", lambda match: ports[match[0]], command)


def script(chosen: Sequence[Block], ports: Mapping[str, str], raw: Path) -> str:
    """The blocks as a shell script that prints a mark before each command and ends at the first failure."""
    text = ["set -eo pipefail", "trap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT"]
    number = 0
    for block in chosen:
        for line in block.lines:
            command = adapted(line.command, ports, raw)
            text.append(f"printf '\\n{MARK}{number}\\n'")
            if UNTIL in block.options:
                ready = adapted(block.options[UNTIL], ports, raw)
                wait = f"for i in $(seq 120); do {ready} >/dev/null 2>&1 && break; kill -0 $!; sleep 1; done"
                text += [f"exec_in_background() {{ {command}; }}", "exec_in_background > background.log 2>&1 &"]
                text += [wait, f"{ready} >/dev/null", "cat background.log"]
            else:
                text.append(command)
            number += 1
    return "\n".join(text) + "\n"


def run(name: str, folder: Path, raw: Path, timeout: float = 900) -> list[Printed]:
    """Run the blocks of a name.

    Raises:
        AssertionError: a command failed; the message holds the end of what was printed.
    """
    chosen = named_blocks()[name]
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    (folder / ".venv").symlink_to(sys.prefix)
    (folder / "examples").symlink_to(ROOT / "examples")
    env = _environment({"PYTHONPATH": str(ROOT)})
    with (folder / "printed.log").open("w") as out:
        shell = subprocess.Popen(
            ["bash", "-c", script(chosen, ports, raw)],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = shell.wait(timeout)
        finally:
            if shell.poll() is None:
                os.killpg(shell.pid, signal.SIGKILL)
    text = (folder / "printed.log").read_text()
    for ours, theirs in ports.items():
        text = text.replace(theirs, ours)
    background = folder / "background.log"
    tail = background.read_text()[-2000:] if background.is_file() else ""
    assert status == 0, f"status {status} of the blocks {name!r}:\n{text[-4000:]}\n{tail}"
    parts = re.split(rf"^{MARK}\d+\n", text, flags=re.MULTILINE)[1:]
    every = [(block, line) for block in chosen for line in block.lines]
    assert len(parts) == len(every)
    return [
        Printed(
            line=line,
            shown=line.output,
            printed=part.strip("\n").splitlines(),
            output=block.options.get("output", ""),
        )
        for (block, line), part in zip(every, parts, strict=True)
    ]


def shape(line: str) -> str:
    """A line with what may differ left out: numbers, how wide columns are, and all of a table row but its kind."""
    line = line.strip()
    if re.match(r"\d+\s{2,}\S", line):
        return "a row"
    line = re.sub(r"[-=]{4,}", "----", NUMBER.sub("0", line))
    return re.sub(r"\s+", " ", line)


def difference(shown: Sequence[str], printed: Sequence[str], output: str) -> str:
    """The first shown line that was not printed at its place; "" where all were.

    A line of dots stands for any lines. Lines that are printed after the last shown one do not matter.
    """
    if output == "varies" or not shown:
        return "" if printed or not shown else "nothing was printed"
    same = (lambda text: text.rstrip()) if output == "exact" else shape
    wanted = [same(text) for text in shown if text.strip()]
    given = [same(text) for text in printed if text.strip()]
    place, skipping = 0, False
    for text in wanted:
        if ELLIPSIS.match(text.strip()):
            skipping = True
            continue
        while skipping and place < len(given) and given[place] != text:
            place += 1
        if place >= len(given) or given[place] != text:
            found = given[place] if place < len(given) else "(nothing)"
            return f"the page shows {text!r}, printed was {found!r}"
        place, skipping = place + 1, False
    return ""
