"""A reader who types the blocks of a page: a folder that looks like the project's, and bash.

Three things differ from what a reader types, because tests share a machine and have no network: `--download` is
`--raw FOLDER`, `make setup` is not run again, and servers listen on free ports instead of 8000 to 8002 and 8443.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.conftest import ROOT, _environment
from tests.docs.blocks import Block, Step, steps_of
from tests.docs.outputs import difference

TIMEOUT = 300
"""Seconds that a command may take."""
NOT_LINKED = {".git", ".venv", "data", "runs", "models", "build", ".hypothesis"}
SERVER = re.compile(r"\bserving triton serve\b")
PROXY = re.compile(r"\bserving triton template proxy\b")
LINES_AFTER_READY = 30.0
"""Longest time, in seconds, until a server has printed the lines that follow the one that says it is ready."""
READY = "ready:"
"""What a server prints when it answers."""
SCRIPT = """
. "$READER_STATE" 2>/dev/null
cd "$(cat "$READER_FOLDER")"
{command}
status=$?
declare -px | grep -v -E '^declare -[a-z]*r' > "$READER_STATE"
pwd > "$READER_FOLDER"
exit $status
"""


class Reader:
    """Runs commands one after another; the folder and the exported variables stay from one to the next."""

    def __init__(
        self, folder: Path, raw: Callable[[str], Path], ports: tuple[int, int, int, int], titles: bool
    ) -> None:
        """
        Args:
            folder: an empty folder.
            raw: name of a data set -> the folder that is read instead of a download.
            ports: HTTP, gRPC and metrics port of a server, and the port of a proxy in front of it.
            titles: whether titles of films are those that the pages show.
        """
        self.folder, self.raw, self.ports, self.titles = folder, raw, ports, titles
        self.home = folder / "project"
        self.home.mkdir(parents=True)
        for path in ROOT.iterdir():
            if path.name not in NOT_LINKED and not path.name.startswith("NOTE"):
                (self.home / path.name).symlink_to(path)
        (self.home / ".venv").symlink_to(sys.prefix)
        self._state, self._where = folder / "state", folder / "where"
        self._where.write_text(str(self.home))
        self._servers: list[subprocess.Popen[bytes]] = []
        self._env = _environment({"PYTHONUNBUFFERED": "1", "COLUMNS": "100", "OPAL_PREFIX": sys.prefix}) | {
            "READER_STATE": str(self._state),
            "READER_FOLDER": str(self._where),
        }

    def prepared(self, command: str) -> str:
        """A command of a page as it is run here."""
        http, grpc, metrics, proxy = (str(port) for port in self.ports)
        found = re.search(r"data_prep (\S+)", command)
        if found and "--download" in command:
            command = command.replace("--download", f"--raw '{self.raw(found[1])}'")
        for shown, port in (("8000", http), ("8001", grpc), ("8002", metrics), ("8443", proxy)):
            command = re.sub(rf"\b(127\.0\.0\.1|localhost):{shown}\b", rf"\1:{port}", command)
        flags = [("--http-port", http), ("--grpc-port", grpc), ("--metrics-port", metrics)]
        if SERVER.search(command) or PROXY.search(command):
            listens = SERVER if SERVER.search(command) else PROXY
            for flag, port in flags if listens is SERVER else [*flags, ("--port", proxy)]:
                command = re.sub(rf"\s{flag}[ =]\d+", "", command)
                command = listens.sub(rf"\g<0> {flag} {port}", command)
        elif "serving client" in command and "--url" not in command:
            port = grpc if "--protocol grpc" in command else http
            command = command.replace("serving client", f"serving client --url 127.0.0.1:{port}")
        return command

    def run(self, block: Block) -> None:
        """Type a block.

        Raises:
            AssertionError: a command ended with another status, or printed something else than the page shows.
        """
        for step in steps_of(block):
            command = self.prepared(step.command)
            serves = SERVER.search(command) and block.status == 0 and "--help" not in command
            status, printed = self._serve(command, step, block.exact) if serves else self._run(command)
            where = f"{block.place}: {step.command}"
            assert status == block.status, f"{where}\nended with status {status}:\n{printed[-3000:]}"
            self._compare(block, step, printed, where)

    def _differs(self, step: Step, printed: str, exact: bool) -> str:
        """How the output differs from what the page shows; "" if it does not, or if the page shows none."""
        return "" if step.output is None else difference(step.output, printed.splitlines(), exact, self.titles)

    def _compare(self, block: Block, step: Step, printed: str, where: str) -> None:
        wrong = self._differs(step, printed, block.exact)
        assert not wrong, f"{where}\n{wrong}"

    def _run(self, command: str) -> tuple[int, str]:
        log = self.folder / "printed"
        with log.open("wb") as out:
            process = self._start(command, out)
            try:
                status = process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                _end(process)
                return -1, f"no end after {TIMEOUT} s\n{log.read_text(errors='replace')}"
        return status, log.read_text(errors="replace")

    def _serve(self, command: str, step: Step, exact: bool) -> tuple[int, str]:
        """Start a server and wait until it is ready, as a reader does before going on in another terminal.

        What the page shows after the line that says so may take a while on a busy machine.
        """
        log = self.folder / f"server-{len(self._servers)}"
        with log.open("wb") as out:
            process = self._start(command.rstrip().removesuffix("&"), out)
        self._servers.append(process)
        until = time.monotonic() + TIMEOUT
        while process.poll() is None and time.monotonic() < until:
            if READY in log.read_text(errors="replace"):
                latest = time.monotonic() + LINES_AFTER_READY
                while time.monotonic() < latest and self._differs(step, log.read_text(errors="replace"), exact):
                    time.sleep(0.2)
                return 0, log.read_text(errors="replace")
            time.sleep(0.2)
        return process.returncode or -1, log.read_text(errors="replace")

    def _start(self, command: str, out: object) -> subprocess.Popen[bytes]:
        script = SCRIPT.replace("{command}", command)
        return subprocess.Popen(
            ["bash", "-c", script],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=out,  # type: ignore[arg-type]
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def close(self) -> None:
        """Stop the servers, and a proxy that a failed block has left."""
        for file in self.home.glob("*/nginx.pid"):
            with contextlib.suppress(OSError, ValueError):
                os.kill(int(file.read_text()), signal.SIGTERM)
        for server in self._servers:
            _end(server)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: politely, then not."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            continue
        if number == signal.SIGINT:
            time.sleep(0.5)
