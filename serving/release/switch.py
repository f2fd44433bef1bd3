"""The change-over of a repository and of its running server to another version.

It can be repeated: what is done already is not done again, and a server that loaded the version after the time limit
had passed is found to serve it.
"""

from __future__ import annotations

import time
from pathlib import Path

from serving.triton import repository
from serving.triton.client import Client, ServerError

LOAD_SECONDS = 300.0
"""How long the server may take to load a version."""
ASKED_EVERY = 0.5
LIVE_TRIES = 4
NO_ANSWER = "no answer from"
"""Beginning of the client's message if the server did not answer in time, so that it may still be loading."""


def load(url: str, name: str, version: int, key: str | None, seconds: float = LOAD_SECONDS) -> None:
    """Have a running server read the model's configuration again, and wait until it serves the version.

    Raises:
        ValueError: the server refuses, is not there, or does not serve the version in time.
    """
    deadline = time.monotonic() + seconds
    with Client(url, protocol="grpc", timeout=seconds, retries=0, key=key) as client:
        _require_live(client, url)
        try:
            client.load(name)
        except ServerError as error:
            if not str(error).startswith(NO_ANSWER):
                raise
        with Client(url, protocol="grpc", timeout=5.0, retries=0) as asking:
            while True:
                if _serves(asking, name, version):
                    return
                if time.monotonic() >= deadline:
                    break
                time.sleep(ASKED_EVERY)
    raise ServerError(f"the server at {url} did not load version {version} of {name} in {seconds:g} s")


def _require_live(client: Client, url: str) -> None:
    for left in range(LIVE_TRIES, 0, -1):
        if client.live():
            return
        if left > 1:
            time.sleep(ASKED_EVERY)
    start = "is a server running there? python -m serving triton serve --repository models"
    raise ServerError(f"{NO_ANSWER} {url}: {start}")


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
    if before != version:
        repository.serve_version(folder, name, version)
    if url:
        try:
            load(url, name, version, repository.read_key(folder), seconds)
        except ValueError:
            if before is not None and before != version:
                repository.serve_version(folder, name, before)
            raise
    line = f"{model}: version {version} is served{'' if url else ' from the next start on'}"
    return line if before in (None, version) else f"{line} (before: {before})"
