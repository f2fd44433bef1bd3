"""A Redis server of a test's own; PostgreSQL's is that of the tests of `data_prep`."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.data_prep.read.postgresql_server import free_port

START_S = 20.0


class RedisServer:
    """Redis in a folder, with a password; killed and started again it has what was written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port, self.password = folder, free_port(), "s3cret/@:"
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Without the password, which is in REDISCLI_AUTH."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        import redis

        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        command += ["--requirepass", self.password, "--appendonly", "yes", "--appendfsync", "always", "--save", ""]
        log = (self.folder / "log").open("ab")
        self.process = subprocess.Popen(command, stdout=log, stderr=log)
        end = time.monotonic() + START_S
        with contextlib.closing(redis.Redis(port=self.port, password=self.password)) as client:
            while time.monotonic() < end:
                with contextlib.suppress(redis.RedisError):
                    client.ping()
                    return
                time.sleep(0.05)
        pytest.skip("the Redis server does not start here")

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(10)


@contextlib.contextmanager
def running_redis(folder: Path) -> Iterator[RedisServer]:
    """A server; the test is skipped, with the reason, where there is none."""
    pytest.importorskip("redis", reason="the package redis is not installed")
    if not shutil.which("redis-server"):
        pytest.skip("no Redis server is installed (redis-server)")
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()
