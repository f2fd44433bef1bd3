"""A PostgreSQL server of a test's own, in a temporary folder and on a free port."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

PASSWORD = "p@ss:w/rd#1"
ENCODED = "p%40ss%3Aw%2Frd%231"
"""The password as it is written in an address."""
NOBODY = 65534
START_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def execute(address: str, *statements: str) -> None:
    """Run statements that give no rows, in one transaction."""
    from adbc_driver_postgresql import dbapi

    with dbapi.connect(address) as connection:
        for statement in statements:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        connection.commit()


def _programs() -> Path | None:
    """The folder of the server's programs."""
    found = [Path(p).resolve().parent for p in [shutil.which("initdb"), shutil.which("postgres")] if p]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    if shutil.which("pg_config"):
        found.append(Path(subprocess.run(["pg_config", "--bindir"], capture_output=True, text=True).stdout.strip()))
    return next((f for f in found if (f / "initdb").is_file() and (f / "postgres").is_file()), None)


@contextlib.contextmanager
def running() -> Iterator[str]:
    """A server whose user "me" has the password `PASSWORD`; its host, port and database as in an address.

    The test is skipped, with the reason, where there is no server or it does not start.
    """
    pytest.importorskip("adbc_driver_postgresql", reason="adbc-driver-postgresql is not installed")
    programs = _programs()
    if programs is None:
        pytest.skip("no PostgreSQL server is installed (initdb)")
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("PostgreSQL does not run as root, and there is no setpriv to become another user")
    folder = Path(tempfile.mkdtemp(prefix="postgresql-"))  # pytest's own folders are closed to other users
    user = list[str]()
    (folder / "password").write_text(PASSWORD)
    if os.geteuid() == 0:
        user = ["setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups"]
        for path in (folder, folder / "password"):
            os.chown(path, NOBODY, NOBODY)
    port, server = free_port(), None
    try:
        secret = ["-A", "scram-sha-256", "--pwfile", str(folder / "password")]
        words = ["-D", str(folder / "data"), "-U", "me", "-E", "UTF8", "--no-sync", *secret]
        done = subprocess.run([*user, str(programs / "initdb"), *words], capture_output=True, text=True, cwd=folder)
        if done.returncode:
            pytest.skip(f"initdb fails here: {(done.stderr or done.stdout).strip().splitlines()[-1]}")
        options = ["-p", str(port), "-k", str(folder), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        with (folder / "log").open("w") as log:
            start = [*user, str(programs / "postgres"), "-D", str(folder / "data"), *options]
            server = subprocess.Popen(start, stdout=log, stderr=log, cwd=folder)
        _wait(server, f"postgresql://me:{ENCODED}@127.0.0.1:{port}/postgres", folder / "log")
        yield f"127.0.0.1:{port}/postgres"
    finally:
        if server is not None:
            server.send_signal(signal.SIGQUIT)  # at once
            server.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def _wait(server: subprocess.Popen, address: str, log: Path) -> None:
    """Return once the server answers; skip the test if it ends or never does."""
    from adbc_driver_postgresql import dbapi

    end = time.monotonic() + START_S
    while server.poll() is None and time.monotonic() < end:
        with contextlib.suppress(dbapi.Error):
            execute(address)
            return
        time.sleep(0.1)
    pytest.skip(f"the PostgreSQL server does not start here: {log.read_text().strip().splitlines()[-1:]}")
