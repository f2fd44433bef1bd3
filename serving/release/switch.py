"""The change-over of a repository and of its running server to another version.

It can be repeated: what is done already is not done again, and a server that loaded the version after the time limit
had passed is found to serve it.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from serving.triton import repository
from serving.triton.client import Client, ServerError

LOAD_SECONDS = 300.0
"""How long the server may take to load a version."""
ASKED_EVERY = 0.5
LIVE_TRIES = 4
NO_ANSWER = "no answer from"
"""Beginning of the client's message if the server did not answer in time, so that it may still be loading."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running server that is told to load a version."""

    address: str
    """HTTP host:port, or gRPC host:port."""
    protocol: str
    key: str | None

    def client(self, timeout: float) -> Client:
        return Client(self.address, protocol=self.protocol, timeout=timeout, retries=0, key=self.key)

    def is_live(self) -> bool:
        with self.client(5.0) as client:
            return client.live()


def find_server(folder: Path, url: str) -> Server:
    """The server at an HTTP address, reached over gRPC if that is possible.

    Over HTTP, Triton loads a version in the thread that serves the connection, and the requests of the other
    connections of that thread wait until it is loaded. Over gRPC no request waits.

    Args:
        url: HTTP host:port.

    Raises:
        ServerError: no server is there.
    """
    key, port = repository.read_key(folder), repository.read_grpc_port(folder)
    http = Server(address=url, protocol="http", key=key)
    for left in range(LIVE_TRIES, 0, -1):
        if http.is_live():
            break
        if left == 1:
            start = f"python -m serving triton serve --repository {folder}"
            raise ServerError(f"{NO_ANSWER} {url}: is a server running there? {start}")
        time.sleep(ASKED_EVERY)
    if port is not None:
        grpc = Server(address=f"{url.rpartition(':')[0]}:{port}", protocol="grpc", key=key)
        if grpc.is_live():
            return grpc
    print("note: the server is not reached over gRPC; over HTTP, requests may wait while it loads", file=sys.stderr)
    return http


def load(server: Server, name: str, version: int, seconds: float = LOAD_SECONDS) -> None:
    """Have a running server read the model's configuration again, and wait until it serves the version.

    Raises:
        ServerError: the server refuses, or does not serve the version in time.
    """
    deadline = time.monotonic() + seconds
    with server.client(seconds) as client:
        try:
            client.load(name)
        except ServerError as error:
            if not str(error).startswith(NO_ANSWER):
                raise
    with server.client(5.0) as client:
        while not _serves(client, name, version):
            if time.monotonic() >= deadline:
                where = f"the server at {server.address}"
                raise ServerError(f"{where} did not load version {version} of {name} in {seconds:g} s; try again")
            time.sleep(ASKED_EVERY)


def _serves(client: Client, name: str, version: int) -> bool:
    try:
        return client.versions(name) == [version]
    except ServerError:  # it is busy, or has no version at the moment
        return False


def switch(folder: Path, name: str, version: int, url: str | None, seconds: float = LOAD_SECONDS) -> str:
    """Serve a version. The caller holds the repository's lock.

    If the server fails, the configuration names the former version again; it may still come to serve the new one after
    the time limit, and the same command then finds that.

    Args:
        url: HTTP host:port of the running server; None to change the configuration only.

    Returns:
        One line on what is served now.

    Raises:
        ValueError: the version is damaged, or the server does not serve it.
    """
    model = folder / name
    before = repository.served_version(model)
    repository.verify_integrity(model, version)  # checked here, because a server retries no load that failed
    server = find_server(folder, url) if url else None
    if before != version:
        repository.serve_version(folder, name, version)
    if server is not None:
        try:
            load(server, name, version, seconds)
        except ValueError:
            if before is not None and before != version:
                repository.serve_version(folder, name, before)
            raise
    line = f"{model}: version {version} is served{'' if url else ' from the next start on'}"
    return line if before in (None, version) else f"{line} (before: {before})"
