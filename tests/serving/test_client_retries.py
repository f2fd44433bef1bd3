"""The client repeats what may succeed later, within a budget and one deadline, and nothing else. Servers are real."""

from __future__ import annotations

import itertools
import socket
import threading
import time

import pytest

from serving.triton.client import Access, Client, ServerBusyError, ServerError
from serving.triton.retries import Limits, RetryBudget, Unanswered, call_with_retries, wait_before
from tests.serving.misbehaving import METADATA, Server, grpc_server, http_server

SERVERS = {"http": http_server, "grpc": grpc_server}
CODES = {"503": "UNAVAILABLE", "400": "INVALID_ARGUMENT", "404": "NOT_FOUND", "429": "RESOURCE_EXHAUSTED"}


def _plan(protocol: str, *steps: str) -> list[str]:
    """The steps with the codes of the protocol."""
    if protocol == "http":
        return list(steps)
    return [" ".join([CODES.get(first, first), *rest]) for first, *rest in (step.split(" ") for step in steps)]


@pytest.mark.parametrize("protocol", SERVERS)
@pytest.mark.parametrize("steps", [("503 loading",), ("503 loading", "503 not ready"), ("slow",)])
def test_a_server_that_comes_back_is_asked_again(protocol: str, steps: tuple[str, ...]) -> None:
    with SERVERS[protocol](*_plan(protocol, *steps)) as server:  # noqa: SIM117
        with Client(server.url, protocol=protocol, timeout=0.5) as client:
            assert client.versions("m") == [7]
    assert len(server.times) == len(steps) + 1


@pytest.mark.parametrize("status", ["502", "503", "504"])
def test_a_status_of_a_proxy_whose_server_restarts(status: str) -> None:
    with http_server(f"{status} Bad Gateway") as server, Client(server.url) as client:
        assert client.versions("m") == [7]


def test_dropped_connections() -> None:
    """The HTTP library sends a request again by itself when a connection ends, twice at most for each of our tries."""
    with http_server(*["drop"] * 4) as server, Client(server.url) as client:
        assert client.versions("m") == [7]
    with http_server(*["drop"] * 99) as server, Client(server.url, retries=1) as client:
        with pytest.raises(ServerError, match="no answer from .* in 2 tries"):
            client.versions("m")
        assert len(server.times) <= 2 * 3


def test_a_server_that_starts_late() -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]

    def start() -> None:
        time.sleep(0.6)
        with socket.create_server(("127.0.0.1", port)) as late:
            caller, _ = late.accept()
            with caller:
                caller.recv(4096)
                caller.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(METADATA), METADATA))

    thread = threading.Thread(target=start, daemon=True)
    thread.start()
    with Client(f"127.0.0.1:{port}") as client:
        assert client.versions("m") == [7]
    thread.join(5)


BUSY = ("503 Exceeds maximum queue size", "503 Request timeout expired", "429 too many requests")
REFUSED = ("400 k is '0'", "404 unknown model", "400 user_id has no such shape")


@pytest.mark.parametrize("protocol", SERVERS)
@pytest.mark.parametrize("step", [*BUSY, *REFUSED])
def test_a_full_queue_and_a_bad_request_are_asked_once(protocol: str, step: str) -> None:
    with SERVERS[protocol](*_plan(protocol, step)) as server, Client(server.url, protocol=protocol) as client:
        with pytest.raises(ServerError, match=step.partition(" ")[2]) as found:
            client.versions("m")
        assert isinstance(found.value, ServerBusyError) == (step in BUSY)
        assert len(server.times) == 1
        assert client.versions("m") == [7]


@pytest.mark.parametrize("protocol", SERVERS)
@pytest.mark.parametrize("step", ["slow", "503 loading"])
def test_one_deadline_holds_over_all_tries(protocol: str, step: str) -> None:
    with SERVERS[protocol](*_plan(protocol, *[step] * 99)) as server:
        client = Client(server.url, protocol=protocol, timeout=0.4, retries=50, deadline=1.0)
        started = time.monotonic()
        with pytest.raises(ServerError, match=r"no answer from .* tries"):
            client.versions("m")
        assert 0.4 < time.monotonic() - started < 1.3
        assert len(server.times) >= 2


def test_an_answer_that_comes_byte_by_byte_is_cut_off() -> None:
    """Each read succeeds, so a limit for one read would never end the call."""
    with http_server("drip") as server:
        client = Client(server.url, timeout=0.5, retries=0)
        started = time.monotonic()
        with pytest.raises(ServerError, match=r"no answer within 0\.5 s"):
            client.versions("m")
        assert time.monotonic() - started < 1.0
        assert client.versions("m") == [7]  # on a new connection


def test_the_budget_ends_the_retries_of_later_calls() -> None:
    with http_server(*["503 loading"] * 999) as server, Client(server.url, retries=4, deadline=60) as client:
        tries = []
        for _ in range(5):
            before = len(server.times)
            with pytest.raises(ServerError, match="no answer"):
                client.versions("m")
            tries.append(len(server.times) - before)
    assert tries == [5, 5, 3, 1, 1]  # 10 retries in all, after that one try a call


def test_answered_calls_fill_the_budget_again() -> None:
    budget = RetryBudget(retries=0)
    while budget.take():
        pass
    for _ in range(11):
        budget.answered()
    assert (budget.take(), budget.take()) == (True, False)


def test_waits_double_and_differ() -> None:
    assert [wait_before(n, max) for n in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert [wait_before(n, min) for n in range(3)] == [0.05, 0.1, 0.2]
    drawn = {wait_before(3) for _ in range(50)}
    assert len(drawn) > 40 and 0.4 <= min(drawn) < 0.5 and 0.7 < max(drawn) <= 0.8
    assert wait_before(10_000) <= 2.0


def test_waits_between_real_tries_have_jitter() -> None:
    with http_server(*["503 loading"] * 4) as server, Client(server.url) as client:
        client.versions("m")
    waits = [after - before for before, after in itertools.pairwise(server.times)]
    for number, wait in enumerate(waits):
        assert 0.05 * 2**number <= wait < 0.1 * 2**number + 0.2


def test_another_exception_is_not_repeated() -> None:
    calls: list[float] = []

    def attempt(seconds: float) -> object:
        calls.append(seconds)
        raise KeyError("a defect")

    with pytest.raises(KeyError):
        call_with_retries(attempt, Limits(), RetryBudget(5))
    assert calls == [5.0]


def test_a_try_has_no_more_than_what_is_left() -> None:
    seconds: list[float] = []

    def attempt(limit: float) -> object:
        seconds.append(limit)
        time.sleep(0.15)
        raise Unanswered("down")

    with pytest.raises(Unanswered, match="in 2 tries: down"):
        call_with_retries(attempt, Limits(timeout=0.3, retries=9, deadline=0.4), RetryBudget(9))
    assert seconds[0] == pytest.approx(0.3, abs=0.01) and seconds[1] < 0.25


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"timeout": 0}, "--timeout is 0, expected more than 0 seconds"),
        ({"deadline": -1}, "--deadline is -1, expected more than 0 seconds"),
        ({"retries": -1}, "--retries is -1, expected 0 or more"),
        ({"protocol": "ftp"}, "unknown --protocol 'ftp'"),
        ({"url": "ftp://h:1"}, "--url is 'ftp://h:1', expected HOST:PORT or https://HOST:PORT"),
        ({"access": Access(authority="/nowhere.pem")}, "are for TLS: write --url https://"),  # type: ignore[arg-type]
    ],
)
def test_options_out_of_range(options: dict, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Client(**{"url": "127.0.0.1:1", **options})


@pytest.mark.parametrize("protocol", SERVERS)
def test_the_key_for_a_proxy_is_sent_with_every_call(protocol: str) -> None:
    server: Server
    with SERVERS[protocol]() as server:  # noqa: SIM117
        with Client(server.url, protocol=protocol, access=Access(token="secret"), key="control") as client:
            client.versions("m")
    assert server.headers[0]["authorization"] == "Bearer secret"
    assert not any("recsys-key" in name for name in server.headers[0])
