"""The process that runs a shadowed candidate: ``python -m serving.triton.shadow.worker FD FOLDER PLACEMENT``.

It reads a line of JSON for each call and answers it with one. It ends when the other side closes the connection. It has
a lower priority than the served model.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from serving.recommend.requests import Request

NICENESS = 10
SETS = ("deny", "allow")
"""Fields of a request that are sets."""


def encode_requests(requests: Sequence[Request]) -> str:
    """A line of JSON."""
    rows = [
        {name: sorted(value) if isinstance(value, frozenset) else value for name, value in vars(request).items()}
        for request in requests
    ]
    return json.dumps({"requests": rows})


def decode_request(row: Mapping[str, Any]) -> Request:
    """A request of `encode_requests`."""

    def value(name: str, given: Any) -> Any:
        if name in SETS:
            return None if given is None else frozenset(given)
        return tuple(given) if isinstance(given, list) else given

    return Request(**{name: value(name, given) for name, given in row.items()})


def _answer(recommender: Any, line: str) -> dict[str, Any]:
    """The candidate's answers to the requests of a line, and how long it took; or its error."""
    try:
        requests = [decode_request(row) for row in json.loads(line)["requests"]]
        start = time.perf_counter()
        answers = recommender.recommend(requests)
        seconds = time.perf_counter() - start
    except Exception as error:  # any error of an engine; it is counted, and the next call is answered
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}
    return {"seconds": seconds, "answers": [{"items": a.item_ids.tolist(), "source": a.source} for a in answers]}


def _reply(connection: IO[str], content: Mapping[str, Any]) -> None:
    connection.write(json.dumps(content) + "\n")
    connection.flush()


def serve(connection: IO[str], folder: Path, placement: Mapping[str, Any]) -> None:
    """Load a version, say so, and answer until the connection is closed."""
    from serving.triton.loading import Placement, open_version

    try:
        recommender = open_version(folder, Placement(**placement)).recommender
    except Exception as error:
        _reply(connection, {"error": f"it cannot be loaded: {' '.join(str(error).split())[:300]}"})
        return
    _reply(connection, {"ready": True})
    for line in connection:
        _reply(connection, _answer(recommender, line))


def main(words: Sequence[str]) -> int:
    """
    Args:
        words: the number of the file descriptor of a connected socket, the folder of the version, and the fields of
            `Placement` as JSON.
    """
    os.nice(NICENESS)
    with socket.socket(fileno=int(words[0])) as connected, connected.makefile("rw", encoding="utf-8") as connection:
        try:
            serve(connection, Path(words[1]), json.loads(words[2]))
        except (BrokenPipeError, ConnectionResetError):  # the served model has ended
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
