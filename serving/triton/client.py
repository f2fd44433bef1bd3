"""Send a request to a Triton server over HTTP or gRPC, with a time limit and retries.

python -m serving client --name vaecf --user 42 -k 5
python -m serving client --name vaecf --protocol grpc --url 127.0.0.1:8001 --items 1,260
"""

from __future__ import annotations

import argparse
import contextlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.command_help import CommandParser
from serving.export_folder import WHOLE_NUMBERS, Id, IdType, IdTypes
from serving.recommend.request_flags import add_request_flags, check_allow, format_of
from serving.recommend.requests import parse_ids, parse_user
from serving.recommend.table import print_answer
from serving.triton.config import BELOW_ZERO, EVENTS
from serving.triton.connection import Access, Connection, ServerBusyError, ServerError, first_line, split_url
from serving.triton.retries import Limits, RetryBudget, Unanswered, call_with_retries

__all__ = ["Access", "Answer", "Client", "ServerBusyError", "ServerError"]

KEY_HEADER = "recsys-key"
"""Header with the key that the server requires for loading models."""
TOKEN_VARIABLE = "RECSYS_TOKEN"
"""Environment variable with the key for a proxy in front of the server."""
TYPES = {"user_id": "INT64", "item_ids": "INT64", "titles": "BYTES", "k": "INT32", "deny": "INT64", "allow": "INT64",
         "where": "BYTES", "time": "INT64"}  # fmt: skip
"""Input -> its type; BYTES for ids that are text."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The answer to one row of a request."""

    items: list[Id]
    """Original ids, best first."""
    titles: list[str]
    scores: list[float]
    source: str
    """As `Recommendation.source`."""
    note: str


class Client:
    """A connection to a server. Threads must not share one."""

    def __init__(
        self,
        url: str,
        *,
        protocol: str = "http",
        timeout: float = 5.0,
        retries: int = 5,
        deadline: float | None = None,
        key: str | None = None,
        access: Access | None = None,
    ) -> None:
        """
        Args:
            url: host:port, or https://host:port.
            timeout: seconds for one try.
            retries: further tries if the server is down; waits between them and their budget: `retries`.
            deadline: seconds for all tries together; None for `timeout` times the number of tries.
            key: the key that the server requires for loading models (`repository.read_key`).
            access: what a proxy in front of the server asks for.
        """
        address, tls = split_url(url)
        access = replace(access or Access(), tls=tls or (access is not None and access.tls))
        access.check()
        self._limits = Limits(timeout=timeout, retries=retries, deadline=deadline)
        self._limits.check()
        self._budget = RetryBudget(retries)
        self._connection = Connection(address, protocol, access, timeout)
        self._headers = access.headers
        header = KEY_HEADER if protocol == "http" else f"triton-grpc-protocol-{KEY_HEADER}"
        self._control_headers = {**self._headers, **({header: key} if key else {})}

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *problem: object) -> None:
        with contextlib.suppress(Exception):
            self._connection.client.close()

    def _call(self, method: str, *values: Any, headers: dict[str, str] | None = None) -> Any:
        """The result of a method of tritonclient's, which is repeated while the server is down.

        Raises:
            ServerError: the server refused the call, or was down at every try.
        """

        def attempt(seconds: float) -> Any:
            # looked up at each try: a connection that timed out was replaced by another
            function = partial(getattr(self._connection.client, method), *values, headers=headers or self._headers)
            return self._connection.call(function, seconds)

        try:
            return call_with_retries(attempt, self._limits, self._budget)
        except Unanswered as error:
            start = "is a server running there? python -m serving triton serve --repository models"
            raise ServerError(f"no answer from {self._connection.address} {error}; {start}") from None

    def live(self) -> bool:
        """Whether the server process answers."""
        return self._is_true("is_server_live")

    def ready(self, model: str | None = None) -> bool:
        """Whether the server, or one of its models, takes requests."""
        return self._is_true("is_server_ready") if model is None else self._is_true("is_model_ready", model)

    def _is_true(self, method: str, *values: str) -> bool:
        """The result of a call without retries; False if it fails."""
        function = partial(getattr(self._connection.client, method), *values, headers=self._headers)
        try:
            return bool(self._connection.call(function, self._limits.timeout))
        except Exception:
            return False

    def server_version(self) -> str:
        """The version of the server, as 2.51.0."""
        about = self._call("get_server_metadata")
        return str(about["version"] if isinstance(about, dict) else about.version)

    def load(self, model: str) -> None:
        """Tell the server to read a model's configuration again, and to load the version that it names."""
        self._call("load_model", model, headers=self._control_headers)

    def versions(self, model: str) -> list[int]:
        """The served versions of a model.

        Raises:
            ServerError: the server has no such model.
        """
        about = self._call("get_model_metadata", model)
        return sorted(int(v) for v in (about["versions"] if isinstance(about, dict) else about.versions))

    def id_types(self, model: str) -> IdTypes:
        """The types of the original ids that a model takes.

        Raises:
            ServerError: the server has no such model.
        """
        about = self._call("get_model_metadata", model)
        if isinstance(about, dict):  # HTTP
            kinds = {i["name"]: i["datatype"] for i in about["inputs"]}
        else:
            kinds = {i.name: i.datatype for i in about.inputs}
        types: dict[str, IdType] = {name: str if kind == "BYTES" else int for name, kind in kinds.items()}
        user, item = types.get("user_id", int), types.get("item_ids", int)
        return IdTypes(user=user, item=item, below_zero=int in (user, item) and self._has_ids_below_zero(model))

    def _has_ids_below_zero(self, model: str) -> bool:
        """Whether some ids of a model are whole numbers below 0; its configuration says so."""
        found = self._call("get_model_config", model)
        return BELOW_ZERO in (found.get("parameters", {}) if isinstance(found, dict) else found.config.parameters)

    def _input(self, name: str, values: npt.NDArray) -> Any:
        if name not in TYPES:
            raise ServerError(f"unknown input {name!r}, known are: {', '.join(TYPES)}")
        tensor = self._connection.library.InferInput(
            name, list(values.shape), "BYTES" if values.dtype == object else TYPES[name]
        )
        try:
            tensor.set_data_from_numpy(values)
        except self._connection.exception as error:
            raise ServerError(f"{name}: {first_line(error.message())}") from None
        return tensor

    def infer(self, model: str, arrays: dict[str, npt.NDArray]) -> list[Answer]:
        """Send a request of several rows.

        Args:
            arrays: by input name (see TYPES); [B, ...] each.

        Raises:
            ServerError: the server refused the request, or did not answer.
        """
        inputs = [self._input(name, values) for name, values in arrays.items()]
        response = self._call("infer", model, inputs)
        outputs = {name: response.as_numpy(name) for name in ("items", "titles", "scores", "source", "note")}
        return [_read_row({name: values[k] for name, values in outputs.items()}) for k in range(len(outputs["items"]))]

    def append(self, model: str, user: Id, items: Sequence[Id], time: int | None = None) -> int:
        """Append events: a user took items; returns how many of them changed the history.

        Args:
            model: NAME_events, of a repository built with --accept-events.
            time: whole seconds since 1970; None for now.
        """
        self._check_ids(model, {"user": [user], "items": items})
        arrays = {"user_id": _one_row([user]), "item_ids": _one_row(items)}
        arrays |= {} if time is None else {"time": np.array([[time]], np.int64)}
        response = self._call("infer", model, [self._input(name, values) for name, values in arrays.items()])
        return int(response.as_numpy("written").sum())

    def recommend(
        self,
        model: str,
        *,
        user: Id | None = None,
        items: Sequence[Id] = (),
        titles: Sequence[str] = (),
        k: int = 10,
        deny: Sequence[Id] = (),
        allow: Sequence[Id] | None = None,
        where: str = "",
    ) -> Answer:
        """Recommendations for one user, or for a user who has these items (original ids, or titles).

        Args:
            where: a filter on the columns of the items, as "genre = 'Drama' and year > 1990".
        """
        self._check_ids(model, {"user": [] if user is None else [user], "items": items, "deny": deny, "allow": allow})
        if allow is not None and not allow:
            raise ValueError("allow is empty: nothing could be recommended")
        arrays: dict[str, npt.NDArray] = {"k": np.array([[k]], np.int32)}
        lists = {"user_id": [] if user is None else [user], "item_ids": items, "titles": titles, "deny": deny}
        for name, values in {**lists, "allow": allow or (), "where": [where] if where else []}.items():
            if len(values):
                arrays[name] = _one_row(values)
        return self.infer(model, arrays)[0]

    def _check_ids(self, model: str, lists: Mapping[str, Sequence[Id] | None]) -> None:
        """Refuse ids that the server would take for padding."""
        numbers = [i for ids in lists.values() for i in ids or () if not isinstance(i, str)]
        smallest = 0
        if numbers and min(numbers) < 0 and self._has_ids_below_zero(model):
            smallest = IdTypes(below_zero=True).smallest
        for name, ids in lists.items():
            for i in ids or ():
                if i == "" or (not isinstance(i, str) and i < smallest):
                    wanted = "an id" if i == "" else f"{smallest} or more"
                    raise ServerError(f"{name} holds {i!r}, expected {wanted}")


def _one_row(values: Sequence[Id]) -> npt.NDArray:
    """[1, N] int64, or encoded text in an object array."""
    if isinstance(values[0], str):
        return np.array([[str(v).encode() for v in values]], object)
    return np.array([values], np.int64)


def _read_row(row: dict[str, npt.NDArray]) -> Answer:
    """The answer of one row of the output arrays, without padding: places that have a score of minus infinity."""
    items = [i.decode() if isinstance(i, bytes) else i for i in row["items"].tolist()]
    is_item = ~np.isneginf(row["scores"])
    return Answer(
        items=[item for item, kept in zip(items, is_item, strict=True) if kept],
        titles=[t.decode() for t in row["titles"][is_item]],
        scores=row["scores"][is_item].tolist(),
        source=row["source"][0].decode(),
        note=row["note"][0].decode(),
    )


def add_arguments(parser: CommandParser) -> None:
    add, add_rare = parser.add_argument, parser.add_rare
    add("--name", default="recommender", help="of the model (default: %(default)s)")
    add_request_flags(parser, "separated by spaces, each in quotes")
    add("--bought", metavar="ID,...", help="append an event: --user took these items (needs --accept-events)")
    add("--health", action="store_true", help="only print whether the server and the model are ready")
    add("--url", help="HOST:PORT, or https://HOST:PORT (default: 127.0.0.1:8000, gRPC 8001)")
    add("--protocol", choices=("http", "grpc"), default="http", help="(default: %(default)s)")
    add_rare("--timeout", type=float, default=5.0, help="seconds for one try (default: %(default)s)")
    add_rare("--retries", type=int, default=5, help="further tries if the server is down (default: %(default)s)")
    add_rare("--deadline", type=float, default=30.0, help="seconds for all tries together (default: %(default)s)")
    add_rare("--ca", type=Path, metavar="FILE", help="certificates that sign the server's (PEM)")
    add_rare("--token-file", type=Path, metavar="FILE", help=f"file with the key for a proxy (or {TOKEN_VARIABLE})")
    add_rare("--certificate", type=Path, metavar="FILE", help="own certificate, for mutual TLS (PEM)")
    add_rare("--certificate-key", type=Path, metavar="FILE", help="its key (PEM)")


def _access(args: argparse.Namespace) -> Access:
    """What the flags and the environment give to a proxy."""
    token = args.token_file.read_text().strip() if args.token_file else os.environ.get(TOKEN_VARIABLE)
    return Access(
        authority=args.ca, certificate=args.certificate, certificate_key=args.certificate_key, token=token or None
    )


def _ask(client: Client, args: argparse.Namespace) -> Answer:
    """Send the request of the flags."""
    types = client.id_types(args.name) if any((args.user, args.items, args.deny, args.allow)) else WHOLE_NUMBERS
    return client.recommend(
        args.name,
        user=parse_user(args.user, types.user),
        items=parse_ids(",".join(args.items), "--items", types.item),
        titles=args.titles,
        k=args.k,
        deny=parse_ids(args.deny, "--deny", types.item),
        allow=parse_ids(args.allow, "--allow", types.item) if args.allow is not None else None,
        where=args.where,
    )


def _append(client: Client, args: argparse.Namespace) -> int:
    """Append the event of the flags."""
    events = f"{args.name}{EVENTS}"
    if args.user is None:
        raise ValueError("--bought needs --user: who took the items?")
    types = client.id_types(events)
    user, items = parse_user(args.user, types.user), parse_ids(args.bought, "--bought", types.item)
    assert user is not None
    if not items:
        raise ValueError(f"--bought is {args.bought!r}, expected ids of items separated by commas")
    print(f"{client.append(events, user, items)} of {len(items)} events changed the history of user {user}")
    return 0


def main(args: argparse.Namespace) -> int:
    """0 answered or ready, 1 not ready."""
    form = format_of(args)
    check_allow(args.allow)
    url = args.url or ("127.0.0.1:8000" if args.protocol == "http" else "127.0.0.1:8001")
    limits = {"timeout": args.timeout, "retries": args.retries, "deadline": args.deadline}
    with Client(url, protocol=args.protocol, access=_access(args), **limits) as client:
        if args.health:
            live, ready, model = client.live(), client.ready(), client.ready(args.name)
            print(f"live: {live}  ready: {ready}  {args.name}: {'ready' if model else 'not ready'}")
            return 0 if live and ready and model else 1
        if args.bought:
            return _append(client, args)
        answer = _ask(client, args)
    print_answer(answer.titles, answer.items, answer.scores, answer.source, answer.note, form)
    return 0
