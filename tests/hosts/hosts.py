"""Several hosts on this machine for tests (see hosts.sh): a context manager, and the reason why they cannot be had."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("hosts.sh")
TOOLS = ("bash", "ip", "unshare", "nsenter", "ssh", "ssh-keygen", "pgrep", "hostname")


def sshd() -> str | None:
    """The SSH server: $RECSYS_SSHD, else one of PATH or of /usr/sbin."""
    given = os.environ.get("RECSYS_SSHD")
    return given or shutil.which("sshd", path=f"{os.environ.get('PATH', '')}{os.pathsep}/usr/sbin")


@functools.cache
def why_not() -> str | None:
    """Why hosts cannot be made here, None where they can."""
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        return f"no {', '.join(missing)} here"
    if sshd() is None:
        return "no sshd here (openssh-server; RECSYS_SSHD may name one)"
    if os.geteuid() != 0:
        return "hosts need root"
    probe = "ip link add recsys-a type veth peer name recsys-b && hostname probe"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--uts", "--pid", "--fork", "--mount-proc", "bash", "-c", probe],
        capture_output=True,
        text=True,
    )
    return None if tried.returncode == 0 else f"no namespaces here: {tried.stderr.strip()}"


class Hosts:
    """Hosts that are up."""

    def __init__(self, folder: Path, names: Sequence[str]) -> None:
        self.folder, self.names = folder, tuple(names)
        self._started: list[subprocess.Popen[str]] = []

    def _script(self, action: str, *words: str) -> None:
        done = subprocess.run([SCRIPT, action, self.folder, *words], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    def start(
        self, host: str, command: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> subprocess.Popen[str]:
        """Start a command on a host, in the folder of this process; `signal_to` sends it a signal."""
        line = [str(SCRIPT), "enter", str(self.folder), host, *map(str, command)]
        process = subprocess.Popen(line, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self._started.append(process)
        return process

    def run(
        self,
        host: str,
        command: Sequence[str | Path],
        env: Mapping[str, str] | None = None,
        timeout: float = 240,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command on a host."""
        with self.start(host, command, env) as process:
            try:
                out, err = process.communicate(timeout=timeout)
            except subprocess.TimeoutExpired:
                signal_to(process, signal.SIGKILL)
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def link(self, host: str, up: bool) -> None:
        """Connect a host to the network of the others, or cut it off."""
        self._script("link", host, "up" if up else "down")

    def rate(self, host: str, rate: str | None) -> None:
        """Limit what a host sends, as "1gbit"; None removes the limit."""
        self._script("rate", host, rate or "off")

    def stop(self, host: str) -> None:
        """End a host with all its processes."""
        self._script("stop", host)

    def restart(self, host: str) -> None:
        """Start a host again that was stopped."""
        self._script("start", host)

    def disk(self, host: str) -> Path:
        """Where the folder that is seen on the host as `own_disk` lies for this process."""
        return self.folder / "disks" / host

    @property
    def own_disk(self) -> Path:
        """A folder that is another one on each host."""
        return self.folder / "disk"

    @property
    def shared(self) -> Path:
        """A folder that all hosts see, as on a shared file system."""
        return self.folder / "shared"

    def pids(self, host: str, words: str) -> list[int]:
        """Processes of a host whose command line contains some words, as this process numbers them."""
        done = subprocess.run(["ip", "netns", "pids", f"{self.prefix}-{host}"], capture_output=True, text=True)
        return [int(pid) for pid in done.stdout.split() if words in _command_line(int(pid))]

    @property
    def prefix(self) -> str:
        return (self.folder / "state" / "prefix").read_text().strip()

    def close(self) -> None:
        self._script("down")
        for process in self._started:
            process.wait()


def _command_line(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def signal_to(process: subprocess.Popen[str], number: int) -> None:
    """Send a signal to a command that `Hosts.start` started; its parent here, nsenter, does not pass signals on."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), number)


def wait_for(condition: Callable[[], object], what: str, timeout: float = 120) -> None:
    """Wait until a condition holds; the time limit only ends a test that hangs."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, f"{what} did not come in {timeout:g} s"
        time.sleep(0.1)


@contextlib.contextmanager
def hosts(names: Sequence[str] = ("h1", "h2"), prefix: str = "recsys") -> Iterator[Hosts]:
    """Hosts with these names, reachable from each other by ssh; skips the test where they cannot be had.

    Args:
        names: the hosts; the K-th has the address 10.77.0.K.
        prefix: first part of the names of their namespaces; the number of this process is added.
    """
    if reason := why_not():
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="hosts-"))
    (folder / "shared").mkdir()
    up: list[str | Path] = [SCRIPT, "up", folder, f"{prefix}{os.getpid()}-{folder.name[-4:]}", str(os.getpid()), *names]
    done = subprocess.run(up, capture_output=True, text=True, env={**os.environ, "RECSYS_SSHD": sshd() or ""})
    there = Hosts(folder, names)
    try:
        assert done.returncode == 0, done.stderr
        yield there
    finally:
        there.close()
        shutil.rmtree(folder, ignore_errors=True)
