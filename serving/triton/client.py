"""A client of the Triton server: HTTP or gRPC, with time limits, and patience with a server that restarts.

python -m serving client --name vaecf --user 42 -k 5
python -m serving client --name vaecf --protocol grpc --url 127.0.0.1:8001 --items 1,260
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")
PADDING = -1
KEY_HEADER = "recsys-key"
"""With which the server's control interface is opened; see `Client`."""
UNAVAILABLE = ("StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "503", "502")
"""Statuses of a server that is not there or not ready yet."""
TYPES = {"user_id": "INT64", "item_ids": "INT64", "k": "INT32", "deny": "INT64", "allow": "INT64"}


class ServerError(ValueError):
    """The server refused a request, or was not there for too long; says which."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One row."""

    items: list[int]
    """Original ids, best first."""
    titles: list[str]
    scores: list[float]
    source: str
    note: str


class Client:
    """One connection. Not to be shared among threads."""

    def __init__(
        self, url: str, *, protocol: str = "http", timeout: float = 5.0, retries: int = 5, key: str | None = None
    ) -> None:
        """
        Args:
            url: host:port.
            timeout: seconds for one try.
            key: what the server wants to hear before it loads models (`repository.key`).
            retries: further tries when the server is not there; they wait 0.1, 0.2, 0.4 ... seconds, at most 2.
        """
        if protocol == "http":
            import tritonclient.http as library

            self._client = library.InferenceServerClient(url, connection_timeout=timeout, network_timeout=timeout)
            self._limit: dict[str, Any] = {}
        elif protocol == "grpc":
            import tritonclient.grpc as library

            self._client = library.InferenceServerClient(url)
            self._limit = {"client_timeout": timeout}
        else:
            raise ValueError(f"unknown --protocol {protocol!r}, known are: http, grpc")
        from tritonclient.utils import InferenceServerException

        self._library, self._refused = library, InferenceServerException
        self._url, self._retries = url, retries
        name = KEY_HEADER if protocol == "http" else f"triton-grpc-protocol-{KEY_HEADER}"
        self._headers = {name: key} if key else None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *problem: object) -> None:
        with contextlib.suppress(Exception):
            self._client.close()

    def _patiently(self, ask: Callable[[], T]) -> T:
        """Ask again while the server is not there."""
        wait = 0.1
        for left in range(self._retries, -1, -1):
            try:
                return ask()
            except self._refused as error:
                status = str(error.status() or "")
                if not any(mark in status for mark in UNAVAILABLE):
                    raise ServerError(f"{self._url}: {_first_line(error.message())}") from None
                problem = _first_line(error.message())
                if "restricted" in problem:  # gRPC says "unavailable" of it
                    raise ServerError(f"{self._url}: {problem}") from None
            except (OSError, EOFError) as error:  # refused, reset, timed out (gevent's too)
                problem = str(error) or type(error).__name__
            except Exception as error:
                if type(error).__module__.split(".")[0] not in ("gevent", "geventhttpclient"):
                    raise
                problem = str(error) or type(error).__name__
            if left:
                time.sleep(wait)
                wait = min(2.0, 2 * wait)
        raise ServerError(f"no answer from {self._url} in {self._retries + 1} tries: {problem}")

    def live(self) -> bool:
        """Whether the process answers."""
        return self._state(self._client.is_server_live)

    def ready(self, model: str | None = None) -> bool:
        """Whether the server (or a model of it) takes requests."""
        if model is None:
            return self._state(self._client.is_server_ready)
        return self._state(lambda **limit: self._client.is_model_ready(model, **limit))

    def _state(self, ask: Callable[..., bool]) -> bool:
        try:
            return bool(ask(**self._limit))
        except Exception:  # not there: not ready
            return False

    def load(self, model: str) -> None:
        """Have the server read a model's configuration again: that is how another version is served."""
        self._patiently(lambda: self._client.load_model(model, headers=self._headers))

    def versions(self, model: str) -> list[int]:
        """Versions of a model that are served.

        Raises:
            ServerError: there is no such model.
        """
        about = self._patiently(lambda: self._client.get_model_metadata(model))
        return sorted(int(v) for v in (about["versions"] if isinstance(about, dict) else about.versions))

    def _input(self, name: str, values: npt.NDArray) -> Any:
        if name not in TYPES:
            raise ServerError(f"unknown input {name!r}, known are: {', '.join(TYPES)}")
        made = self._library.InferInput(name, list(values.shape), TYPES[name])
        try:
            made.set_data_from_numpy(values)
        except self._refused as error:
            raise ServerError(f"{name}: {_first_line(error.message())}") from None
        return made

    def infer(self, model: str, arrays: dict[str, npt.NDArray]) -> list[Answer]:
        """Ask with arrays [B, ...] by input name.

        Raises:
            ServerError: the request was refused, or nobody answered.
        """
        inputs = [self._input(name, values) for name, values in arrays.items()]
        found = self._patiently(lambda: self._client.infer(model, inputs, **self._limit))
        parts = {name: found.as_numpy(name) for name in ("items", "titles", "scores", "source", "note")}
        return [_answer({name: values[k] for name, values in parts.items()}) for k in range(len(parts["items"]))]

    def recommend(
        self,
        model: str,
        *,
        user: int | None = None,
        items: Sequence[int] = (),
        k: int = 10,
        deny: Sequence[int] = (),
        allow: Sequence[int] | None = None,
    ) -> Answer:
        """Recommendations for one user or for someone who likes some items (original ids)."""
        for name, ids in (("user", [] if user is None else [user]), ("items", items), ("deny", deny), ("allow", allow)):
            if any(i < 0 for i in ids or ()):  # -1 would be padding
                raise ServerError(f"{name} holds {min(ids or ())}, expected 0 or more")
        if allow is not None and not allow:
            raise ValueError("allow is empty: nothing could be recommended")
        arrays: dict[str, npt.NDArray] = {
            "item_ids": np.array([items], np.int64).reshape(1, -1),
            "k": np.array([[k]], np.int32),
        }
        if user is not None:
            arrays["user_id"] = np.array([[user]], np.int64)
        if deny:
            arrays["deny"] = np.array([deny], np.int64)
        if allow is not None:
            arrays["allow"] = np.array([allow], np.int64)
        return self.infer(model, arrays)[0]


def _first_line(text: str) -> str:
    """Of a message, which may go on with the server's stack."""
    return str(text).strip().splitlines()[0] if str(text).strip() else "no message"


def _answer(row: dict[str, npt.NDArray]) -> Answer:
    real = row["items"] != PADDING
    return Answer(
        items=row["items"][real].tolist(),
        titles=[t.decode() for t in row["titles"][real]],
        scores=row["scores"][real].tolist(),
        source=row["source"][0].decode(),
        note=row["note"][0].decode(),
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--url", help="host:port (default: 127.0.0.1:8000, gRPC 8001)")
    add("--protocol", choices=("http", "grpc"), default="http")
    add("--name", default="recommender", help="of the model (default: %(default)s)")
    add("--user", metavar="ID")
    add("--items", metavar="ID,ID,...", default="")
    add("-k", type=int, default=10, help="how many (default: %(default)s)")
    add("--deny", metavar="ID,...", default="")
    add("--allow", metavar="ID,...", default="")
    add("--timeout", type=float, default=5.0, help="seconds for one try (default: %(default)s)")
    add("--retries", type=int, default=5, help="further tries when it is not there (default: %(default)s)")
    add("--health", action="store_true", help="only say whether it is live and ready")


def main(args: argparse.Namespace) -> int:
    """0 answered, 1 not ready, 2 refused."""
    from tabulate import tabulate

    from serving.recommend.requests import numbers

    user = numbers(args.user, "--user") if args.user is not None else []
    if args.user is not None and len(user) != 1:
        raise ValueError(f"--user is {args.user!r}, expected one user")
    url = args.url or ("127.0.0.1:8000" if args.protocol == "http" else "127.0.0.1:8001")
    with Client(url, protocol=args.protocol, timeout=args.timeout, retries=args.retries) as client:
        if args.health:
            live, ready, model = client.live(), client.ready(), client.ready(args.name)
            print(f"live: {live}  ready: {ready}  {args.name}: {'ready' if model else 'not ready'}")
            return 0 if live and ready and model else 1
        answer = client.recommend(
            args.name,
            user=user[0] if user else None,
            items=numbers(args.items, "--items"),
            k=args.k,
            deny=numbers(args.deny, "--deny"),
            allow=numbers(args.allow, "--allow") if args.allow else None,
        )
    if answer.note:
        print(f"note: {answer.note}", file=sys.stderr)
    if answer.source == "popular":
        print("nobody known was named: the most popular items")
    rows = zip(range(1, len(answer.items) + 1), answer.titles, answer.items, answer.scores, strict=True)
    print(tabulate(rows, headers=("rank", "title", "id", "score")))
    return 0
