"""Connections to a Triton server by tritonclient, with TLS and a key for a proxy in front; what their errors mean."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from serving.triton.retries import Unanswered

T = TypeVar("T")
GRPC_OPTIONS = (
    ("grpc.max_send_message_length", 2**31 - 1),
    ("grpc.max_receive_message_length", 2**31 - 1),
    # gRPC would wait up to two minutes before it connects again to a server that was down.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
DOWN = ("StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED", "502", "503", "504")
"""Codes that mean: the server is down, still loading, or silent."""
QUEUE_FULL = ("exceeds maximum queue size", "request timeout expired")
"""What Triton says, with the code "unavailable", if the queue of a model is full or a request waited too long in it."""
SHED = ("StatusCode.RESOURCE_EXHAUSTED", "429")


class ServerError(ValueError):
    """The server refused a request, or did not answer. The message holds the server's address."""


class ServerBusyError(ServerError):
    """The server answered that it has too much to do. A retry would make that worse."""


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a proxy in front of the server asks for."""

    tls: bool = False
    authority: Path | None = None
    """File of the certificates that sign the server's (PEM); None for those that the machine trusts."""
    certificate: Path | None = None
    """The client's own certificate (PEM), for mutual TLS."""
    certificate_key: Path | None = None
    token: str | None = None
    """Key of the client, sent as `Authorization: Bearer KEY`."""

    def check(self) -> None:
        """Raise ValueError if a part is missing."""
        if (self.certificate is None) != (self.certificate_key is None):
            raise ValueError("--certificate and --certificate-key belong together: one of them is missing")
        if not self.tls and (self.authority or self.certificate):
            raise ValueError("--ca and --certificate are for TLS: write --url https://HOST:PORT")
        for path in (self.authority, self.certificate, self.certificate_key):
            if path is not None and not path.is_file():
                raise ValueError(f"{path} is no file; expected a certificate or its key in PEM")

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"} if self.token else {}


def split_url(url: str) -> tuple[str, bool]:
    """host:port, and whether the scheme is https."""
    scheme, found, rest = url.rpartition("://")
    if found and scheme not in ("http", "https"):
        raise ValueError(f"--url is {url!r}, expected HOST:PORT or https://HOST:PORT")
    return rest.rstrip("/"), scheme == "https"


class Connection:
    """A connection over one protocol. `call` turns errors of both libraries into `Unanswered` and `ServerError`."""

    def __init__(self, address: str, protocol: str, access: Access, timeout: float) -> None:
        if protocol not in ("http", "grpc"):
            raise ValueError(f"unknown --protocol {protocol!r}, known are: http, grpc")
        from tritonclient.utils import InferenceServerException

        self.address, self.protocol = address, protocol
        self._access, self._timeout = access, timeout
        self.exception: type[Any] = InferenceServerException
        self._open()

    def _open(self) -> None:
        if self.protocol == "http":
            import tritonclient.http as library

            self.client: Any = library.InferenceServerClient(
                self.address,
                connection_timeout=self._timeout,
                network_timeout=self._timeout,
                **self._tls_of_http(),
            )
        else:
            import tritonclient.grpc as library

            def text(path: Path | None) -> str | None:
                return None if path is None else str(path)

            self.client = library.InferenceServerClient(
                self.address,
                ssl=self._access.tls,
                root_certificates=text(self._access.authority),
                private_key=text(self._access.certificate_key),
                certificate_chain=text(self._access.certificate),
                channel_args=list(GRPC_OPTIONS),
            )
        self.library = library

    def _tls_of_http(self) -> dict[str, Any]:
        access = self._access
        if not access.tls:
            return {}
        from gevent import ssl as cooperative

        def context() -> Any:
            made = cooperative.create_default_context(cafile=access.authority)
            if access.certificate is not None:
                made.load_cert_chain(access.certificate, access.certificate_key)
            return made

        return {"ssl": True, "ssl_context_factory": context}

    def call(self, method: Callable[..., T], seconds: float) -> T:
        """The result of a method of `client`, which takes a keyword `client_timeout` over gRPC.

        Raises:
            Unanswered: the server is down, still loading, or did not answer within the time; another try may succeed.
            ServerBusyError: the queue is full.
            ServerError: the server refused the call.
        """
        try:
            return self._timed(method, seconds)
        except self.exception as error:
            raise _meaning(self.address, str(error.status() or ""), first_line(error.message())) from None
        except ssl.SSLCertVerificationError as error:
            raise ServerError(f"{self.address}: {error.verify_message}; --ca FILE names who signed it") from None
        except (OSError, EOFError) as error:  # connection refused, reset or timed out
            raise Unanswered(first_line(error)) from None
        except Exception as error:
            if type(error).__module__.split(".")[0] not in ("gevent", "geventhttpclient"):
                raise
            raise Unanswered(first_line(error)) from None

    def _timed(self, method: Callable[..., T], seconds: float) -> T:
        if self.protocol == "grpc":
            return method(client_timeout=seconds)
        import gevent

        # The library's own limit is for one read: a server that sends a byte a second would hold a call for ever.
        limit = gevent.Timeout(seconds)
        try:
            with limit:
                return method()
        except gevent.Timeout as error:
            if error is not limit:
                raise
            self._open()  # the interrupted connection is not given back to the library's pool
            raise Unanswered(f"no answer within {seconds:.3g} s") from None


def _meaning(address: str, status: str, problem: str) -> Exception:
    """The exception for an error of tritonclient, with its code and its message."""
    if any(text in problem.lower() for text in QUEUE_FULL) or any(code in status for code in SHED):
        return ServerBusyError(f"{address}: the server has too much to do: {problem}")
    # Triton answers gRPC calls without the key with the code "unavailable"; a retry would not help.
    if "restricted" not in problem and any(code in status for code in DOWN):
        return Unanswered(f"status {status}" if "decoding the response" in problem else problem)
    if "UNAUTHENTICATED" in status or "401" in status:
        return ServerError(f"{address}: it wants a key or a certificate: --token-file, --certificate ({status})")
    hint = "; --name is the name that `triton build` gave it" if "unknown model" in problem else ""
    return ServerError(f"{address}: {problem}{hint}")


def first_line(text: object) -> str:
    """The first line of a message; a server's stack trace may follow it."""
    lines = str(text).strip().splitlines()
    return lines[0] if lines else (type(text).__name__ if isinstance(text, Exception) else "no message")
