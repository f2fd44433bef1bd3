"""A real nginx in front of a real Triton: who has no key is refused, and what could harm the server is kept away."""

from __future__ import annotations

import http.client
import json
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from serving.__main__ import main
from serving.triton.client import Access, Client, ServerError
from tests.serving.processes import soon
from tests.serving.proxies import Proxy, needs_nginx, proxy, sign
from tests.serving.served import Served

pytestmark = [pytest.mark.slow, needs_nginx]
SHAPE = b'{"inputs":[{"name":"item_ids","shape":[1,%d],"datatype":"INT64","data":[1]}]}' % 2**62
GENERATE, INFER = "/v2/models/vae/generate", "/v2/models/vae/infer"


@pytest.fixture(scope="module")
def by_key(served: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    with proxy(tmp_path_factory.mktemp("by-key"), served.ports, "--name", "vae", "--name", "ncf") as opened:
        yield opened


def _ask(
    proxy: Proxy, path: str, body: Any = None, key: str | None = None, method: str | None = None, chunked: bool = False
) -> tuple[int, str]:
    """Status and text of the answer."""
    trusted = ssl.create_default_context(cafile=proxy.authority)
    connection = http.client.HTTPSConnection("127.0.0.1", proxy.port, timeout=20, context=trusted)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    data = body if body is None or chunked or isinstance(body, bytes) else json.dumps(body).encode()
    try:
        verb = method or ("GET" if body is None else "POST")
        connection.request(verb, path, data, headers, encode_chunked=chunked)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()
    finally:
        connection.close()


@pytest.mark.parametrize("path", [GENERATE, INFER])
def test_http_asks_for_the_key(served: Served, by_key: Proxy, path: str) -> None:
    user = served.users("vae")[0]
    body: Any = {"user_id": user, "k": 3}
    if path == INFER:
        body = {"inputs": [{"name": "user_id", "shape": [1, 1], "datatype": "INT64", "data": [user]}]}
    for key in (None, "0" * 64, by_key.key[:-1], by_key.key + "0"):
        status, said = _ask(by_key, path, body, key)
        assert (status, json.loads(said)) == (401, {"error": "a key is missing or not known"})
    status, said = _ask(by_key, path, body, by_key.key)
    items = json.loads(said)["items"] if path == GENERATE else json.loads(said)["outputs"][0]["data"]
    assert status == 200 and items[:3] == served.wanted("vae", user=user, k=3).items


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_client_asks_through_the_proxy(served: Served, by_key: Proxy, protocol: str) -> None:
    user = served.users("vae")[0]
    with Client(by_key.url, protocol=protocol, access=by_key.access) as client:
        served.check("vae", client.recommend("vae", user=user, k=4), user=user, k=4)
        assert client.live() and client.ready() and client.ready("vae")
    for access in (Access(authority=by_key.authority), Access(authority=by_key.authority, token="wrong")):
        with Client(by_key.url, protocol=protocol, access=access) as client, pytest.raises(ServerError, match="a key"):
            client.recommend("vae", user=user)
    with Client(by_key.url, protocol=protocol, retries=0) as stranger, pytest.raises(ServerError):
        stranger.recommend("vae", user=user)  # it does not know who signed the certificate


def test_the_command_asks_through_the_proxy(by_key: Proxy, capsys: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["client", "--url", by_key.url, "--ca", str(by_key.authority), "--name", "vae", "-k", "2", "--json"]
    assert main([*words, "--token-file", str(by_key.folder / "client.key")]) == 0
    assert len(json.loads(capsys.readouterr().out)["items"]) == 2
    assert main(words) == 2
    assert "it wants a key or a certificate: --token-file" in capsys.readouterr().err
    monkeypatch.setenv("RECSYS_TOKEN", by_key.key)
    assert main([*words, "--protocol", "grpc"]) == 0


def test_probes_need_no_key_and_metrics_do(by_key: Proxy) -> None:
    for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/vae/ready"):
        assert _ask(by_key, path) == (200, "")
    assert _ask(by_key, "/metrics")[0] == 401
    assert "recsys_answers_total" in _ask(by_key, "/metrics", key=by_key.key)[1]


CLOSED = (
    "/v2/repository/index",
    "/v2/repository/models/vae/load",
    "/v2/systemsharedmemory/status",
    "/v2/systemsharedmemory/region/a/register",
    "/v2/logging",
    "/v2/trace/setting",
    "/v2/models/vae/trace/setting",
    "/v2/models/stats",
    "/v2/models/other/infer",
    "/v2/models/vae/../../repository/index",
    "/v2/models/vae/generate_stream",
)


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_what_a_client_does_not_need_is_not_offered(by_key: Proxy, path: str, method: str) -> None:
    assert _ask(by_key, path, b"{}" if method == "POST" else None, by_key.key, method)[0] == 404


def test_models_are_not_loaded_through_the_proxy(served: Served, by_key: Proxy) -> None:
    key = (served.repository / ".control-key").read_text().strip()
    for protocol in ("http", "grpc"):
        with Client(by_key.url, protocol=protocol, access=by_key.access, key=key, retries=0) as client:
            with pytest.raises(ServerError):
                client.load("vae")
            served.still_serves(client)


def test_bodies_that_end_the_server_do_not_reach_it(served: Served, by_key: Proxy) -> None:
    """Triton 2.51 ends at JSON that is 150,000 levels deep and at a body of some 100,000 chunks."""
    assert _ask(by_key, INFER, b"[" * 150_000, by_key.key)[0] == 413
    assert _ask(by_key, INFER, (b"[" for _ in range(60_000)), by_key.key, chunked=True)[0] >= 400
    with Client(by_key.url, access=by_key.access) as client:
        served.still_serves(client)
    assert served.process.poll() is None


def test_a_shape_cannot_end_the_server_where_only_generate_is_offered(served: Served, tmp_path: Path) -> None:
    with proxy(tmp_path, served.ports, "--name", "vae", "--no-infer") as opened:
        assert _ask(opened, INFER, SHAPE, opened.key)[0] == 404
        assert _ask(opened, GENERATE, {"item_ids": [1, 2], "k": 2}, opened.key)[0] == 200
        with Client(opened.url, protocol="grpc", access=opened.access) as client:
            served.still_serves(client)
    assert served.process.poll() is None


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_certificates_of_clients(served: Served, tmp_path: Path, protocol: str) -> None:
    sign(tmp_path, "clients-ca")
    sign(tmp_path, "ann", "clients-ca")
    sign(tmp_path, "stranger")
    user = served.users("vae")[0]
    with proxy(tmp_path, served.ports, "--name", "vae", "--access", "certificate") as opened:
        for name, answered in (("ann", True), ("stranger", False), (None, False)):
            own = {"certificate": tmp_path / f"{name}.crt", "certificate_key": tmp_path / f"{name}.key"} if name else {}
            access = Access(authority=opened.authority, **own)
            with Client(opened.url, protocol=protocol, access=access, retries=0) as client:
                if answered:
                    served.check("vae", client.recommend("vae", user=user), user=user)
                else:
                    with pytest.raises(ServerError):
                        client.recommend("vae", user=user)
    assert '"CN=ann"' in (tmp_path / "access.log").read_text()


def test_a_key_is_added_and_taken_away(served: Served, tmp_path: Path) -> None:
    body = {"user_id": served.users("vae")[0], "k": 1}
    with proxy(tmp_path, served.ports, "--name", "vae") as opened:
        first = opened.key
        (tmp_path / "clients.conf").write_text('"Bearer another" shop;\n')
        assert main(["triton", "template", "proxy", "--out", str(tmp_path / "x"), "--name", "vae"]) == 0
        pid = int((tmp_path / "nginx.pid").read_text())
        os.kill(pid, signal.SIGHUP)
        assert soon(lambda: _ask(opened, GENERATE, body, "another")[0] == 200)
        assert soon(lambda: _ask(opened, GENERATE, body, first)[0] == 401)
        assert '"shop" POST' in (tmp_path / "access.log").read_text()
