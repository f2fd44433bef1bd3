"""`run.lock`: at most one job at a time writes to the folder of a run. Other folders take a lock of another name.

The file is made whole by a hard link, which is atomic on local disks and over NFS. It says who holds it: host, process
(number and start), job. A thread of the holder renews its time of change. Whether a holder is alive is seen from the
process on the same host, and from the age of the file on another one. The lock of a dead holder is replaced under a
second lock beside it, so that of many processes that find it dead exactly one takes it over.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import psutil

from recsys_core.errors import UserError
from recsys_core.world import World

LOCK = "run.lock"
RENEWED_EVERY = 15.0
"""Seconds between two renewals by the holder."""
DEAD_AFTER = 180.0
"""Seconds after the last renewal from which a holder on another host counts as dead. NFS shows a new time of change to
other hosts after up to 60 s."""
ADVICE = "wait until it ends, or take another --run-dir"
TAKEOVER_WAIT = 0.05
TAKEOVER_TRIES = 200
"""How often, and how many seconds apart, a process looks again while another one takes a dead holder's lock over."""
JOB_IDS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID")
NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""Errors of file systems that have no hard links."""


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The process that holds a lock."""

    host: str = ""
    """"" where the file cannot be read."""
    pid: int = 0
    process_start: str = ""
    """Start of the process, in clock ticks since the start of the host; another process of the same number differs."""
    space: str = ""
    """Start of the host's kernel and namespace of process numbers: only inside one of them numbers can be compared."""
    job: str = ""
    since_unix_s: float = 0.0
    token: str = ""
    """Random; tells two locks of one process apart."""

    @classmethod
    def this_process(cls) -> Owner:
        return cls(
            host=socket.gethostname(),
            pid=os.getpid(),
            process_start=_process_start(os.getpid()) or "",
            space=_space(),
            job=next((os.environ[name] for name in JOB_IDS if os.environ.get(name)), ""),
            since_unix_s=round(time.time(), 3),
            token=secrets.token_hex(8),
        )

    def __str__(self) -> str:
        if not self.host:
            return "an unknown process (its lock file cannot be read)"
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(self.since_unix_s))
        return f"process {self.pid} on {self.host} since {since}{f' (job {self.job})' if self.job else ''}"

    def is_here(self) -> bool:
        """Whether its process could be seen from this one."""
        return (self.host, self.space) == (socket.gethostname(), _space())

    def is_alive(self, path: Path) -> bool:
        """
        Args:
            path: the lock, whose age decides where the process cannot be seen.
        """
        if self.is_here():
            found = _process_start(self.pid)
            return found is not None and (not found or self.process_start in ("", found))
        return _age(path) < DEAD_AFTER


class HeldError(UserError):
    """The lock is held by a process that is alive."""

    def __init__(self, owner: Owner, path: Path) -> None:
        super().__init__(str(owner))
        self.owner, self.path = owner, path


class InUseError(UserError):
    """Another process holds the lock of a folder; the message names it and says what to do."""


def _space() -> str:
    """See `Owner.space`; "" where the system has no /proc."""
    try:
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text().strip()} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def _process_start(pid: int) -> str | None:
    """Start of a process; None if there is none of this number (any more), "" if it cannot be known."""
    try:
        state, *rest = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in "ZX" else rest[18]
    except (OSError, IndexError, ValueError):
        pass
    try:  # no /proc, or one that hides the processes of other users
        os.kill(pid, 0)
        return "" if Path("/proc/self/stat").exists() else str(psutil.Process(pid).create_time())
    except (ProcessLookupError, OverflowError, psutil.NoSuchProcess):
        return None
    except (PermissionError, psutil.Error):
        return ""


def _temporary(path: Path) -> Path:
    return path.with_name(f"{path.name}.{os.getpid()}@{socket.gethostname()}.{secrets.token_hex(8)}")


def _age(path: Path) -> float:
    """Seconds since a file was changed, both by the clock of its file system, which may be a server's."""
    probe = _temporary(path)
    try:
        probe.touch()
        now = probe.stat().st_mtime
        with path.open() as file:  # opened, so that NFS asks the server
            return now - os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:  # released just now; `take` looks again
        return float("inf") if probe.exists() else 0.0
    finally:
        probe.unlink(missing_ok=True)


def read(path: Path) -> Owner | None:
    """The holder of a lock, None if it is free."""
    try:
        content = json.loads(path.read_text())
        return Owner(**{f.name: content[f.name] for f in fields(Owner)})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        return Owner()


def _made(path: Path, owner: Owner) -> bool:
    """Make the file of a lock, whole; False if it is there."""
    working, text = _temporary(path), json.dumps(asdict(owner))
    try:
        working.write_text(text)
        os.link(working, path)
        return True
    except FileExistsError:
        return working.stat().st_nlink == 2  # NFS may answer so after its first answer was lost
    except OSError as error:
        if error.errno not in NO_LINKS:
            raise
        return _made_without_links(path, text)
    finally:
        working.unlink(missing_ok=True)


def _made_without_links(path: Path, text: str) -> bool:
    try:
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        file.write(text)
    return True


def take(path: Path, owner: Owner) -> Owner | None:
    """Make a lock, or replace that of a dead holder.

    Returns:
        The dead holder, None if the lock was free.

    Raises:
        HeldError: its holder is alive. OSError: the folder cannot be written.
    """
    held = HeldError(Owner(), path)
    for _ in range(TAKEOVER_TRIES):
        if _made(path, owner):
            return None
        found = read(path)
        if found is None:
            continue
        if found.is_alive(path):
            raise HeldError(found, path)
        guard, guarding = path.with_name(f"{path.name}.takeover"), replace(owner, token=secrets.token_hex(8))
        try:
            take(guard, guarding)
        except HeldError as error:  # another process takes it over now
            held = error
            time.sleep(TAKEOVER_WAIT)
            continue
        try:
            if read(path) == found:  # nobody else may change it now: its holder is dead, and the guard is ours
                working = _temporary(path)
                working.write_text(json.dumps(asdict(owner)))
                working.replace(path)
                return found
        finally:
            drop(guard, guarding)
    raise held


def _remove_leftovers(path: Path) -> None:
    """Remove what processes left that were killed while they made a lock. The caller holds the lock."""
    now = path.stat().st_mtime
    for leftover in path.parent.glob(f"{path.name}.*"):
        with contextlib.suppress(OSError):
            if leftover.stat().st_mtime < now - DEAD_AFTER:
                leftover.unlink()


def drop(path: Path, owner: Owner) -> None:
    """Remove a lock, if it is still this holder's."""
    if read(path) == owner:
        path.unlink(missing_ok=True)


class RunLock:
    """The lock of one folder, while this process holds it."""

    def __init__(self, folder: Path, name: str = LOCK, advice: str = ADVICE) -> None:
        """
        Args:
            name: of the file.
            advice: end of the message of a refusal: what to do.
        """
        self._folder, self._path, self._advice = folder, folder / name, advice
        self._owner = Owner.this_process()
        self._ended = threading.Event()
        self.is_lost = False
        """Whether another process has taken it over, as after this host was cut off for long."""
        self._made_folder = False
        self._renewing = threading.Thread(target=self._renew, name=name, daemon=True)

    def acquire(self) -> str:
        """Take the lock and renew it from now on; the folder is made where there is none.

        Returns:
            A sentence about the dead holder from whom it was taken; "" if it was free.

        Raises:
            InUseError: another process holds it.
            UserError: the folder cannot be written.
        """
        self._made_folder = not self._folder.exists()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"{self._folder} cannot be made: {error.strerror or error}") from None
        try:
            dead = take(self._path, self._owner)
            _remove_leftovers(self._path)
        except HeldError as error:
            raise InUseError(self._refusal(error)) from None
        except OSError as error:
            raise UserError(f"{self._folder} cannot be written: {error.strerror or error}") from None
        self._renewing.start()
        if dead is None:
            return ""
        return f"{self._folder} was left locked by {dead}, which has ended; this run takes it over"

    def _refusal(self, held: HeldError) -> str:
        text = f"{self._folder} is in use by {held.owner}"
        if not held.owner.is_here():
            text += f"; if that has ended, the folder is free {DEAD_AFTER:.0f} s after its last sign of life"
        return f"{text}; {self._advice}"

    def _renew(self) -> None:
        while not self.is_lost and not self._ended.wait(RENEWED_EVERY):
            with contextlib.suppress(OSError):  # a file server that does not answer now; the next time counts
                self._renew_once()

    def _renew_once(self) -> None:
        if read(self._path) == self._owner:
            os.utime(self._path)
        else:
            self.is_lost = not self._ended.is_set()

    def check(self) -> None:
        """Refuse to go on where the lock was lost.

        Raises:
            UserError: names the holder of today.
        """
        if self.is_lost:
            now = read(self._path) or "nobody"
            raise UserError(f"{self._folder} is no longer locked by this job but by {now}; this job stops")

    def release(self) -> None:
        """Remove the lock, and the folder if it was made for the lock and is empty."""
        self._ended.set()
        try:
            drop(self._path, self._owner)
            if self._made_folder:
                self._folder.rmdir()
        except OSError:
            pass  # the folder holds a run, or cannot be reached; a dead holder's lock is taken over


@contextmanager
def held(folder: Path, world: World, say: Callable[[str], None]) -> Iterator[RunLock]:
    """Hold the lock of a run folder on rank 0 while the block runs.

    Args:
        say: prints a line on rank 0.

    Raises:
        SharedError: see `RunLock.acquire`.
    """
    lock = RunLock(folder)
    if note := world.run_on_rank0(lock.acquire):
        say(f"note: {note}")
    try:
        yield lock
    finally:
        if world.is_rank0:
            lock.release()
