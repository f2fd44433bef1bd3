"""Files of a deployment: they hold what was asked for, and pass the checks of nginx, Compose and Kubernetes."""

from __future__ import annotations

import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from serving.__main__ import main
from tests.serving.proxies import NGINX, needs_nginx, sign


def _made(folder: Path, kind: str, *words: str) -> Path:
    assert main(["triton", "template", kind, "--out", str(folder), "--name", "films", *words]) == 0
    return folder


@needs_nginx
@pytest.mark.parametrize(
    "words", [(), ("--access", "certificate"), ("--no-infer", "--name", "books", "--max-body", "1m")]
)
def test_nginx_accepts_its_configuration(tmp_path: Path, words: tuple[str, ...]) -> None:
    _made(tmp_path, "proxy", *words)
    sign(tmp_path, "tls")
    sign(tmp_path, "clients-ca")
    done = subprocess.run([str(NGINX), "-p", tmp_path, "-c", "nginx.conf", "-t"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_keys_are_made_once_and_only_their_owner_reads_them(tmp_path: Path, capsys: Any) -> None:
    _made(tmp_path, "proxy")
    key = (tmp_path / "client.key").read_text().strip()
    assert len(key) == 64 and (tmp_path / "clients.conf").read_text() == f'"Bearer {key}" first-client;\n'
    assert {stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("client.key", "clients.conf")} == {0o600}
    assert key not in capsys.readouterr().out
    _made(tmp_path, "compose")
    assert (tmp_path / "client.key").read_text().strip() == key
    assert "clients.conf: kept" in capsys.readouterr().out


def test_compose(tmp_path: Path) -> None:
    folder = _made(tmp_path, "compose", "--repository", str(tmp_path / "models"), "--cpus", "3", "--memory", "2G")
    compose = folder / "compose.yaml"
    services = yaml.safe_load(compose.read_text())["services"]
    triton, proxy = services["triton"], services["proxy"]
    assert "ports" not in triton and proxy["ports"] == ["8443:8443"]
    assert triton["networks"] == ["inside"]
    assert triton["volumes"] == [f"{tmp_path / 'models'}:/models"]
    assert triton["deploy"]["resources"]["limits"] == {"cpus": "3", "memory": "2G"}
    for service in (triton, proxy):
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert not service["user"].startswith("0:")
    assert triton["healthcheck"]["test"][-1].endswith("/v2/models/films/ready")
    assert "server triton:8000" in (folder / "nginx.conf").read_text()
    program = shutil.which("docker-compose")
    if program is not None:
        done = subprocess.run([program, "-f", compose, "config", "-q"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("access", "file"), [("key", "clients.conf"), ("certificate", "clients-ca.crt")])
def test_kubernetes(tmp_path: Path, access: str, file: str) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    text = (
        _made(tmp_path, "kubernetes", "--image", "r.example.org/a:1", "--access", access) / "kubernetes.yaml"
    ).read_text()
    documents = {document["kind"]: document for document in yaml.safe_load_all(text)}
    for document in documents.values():
        validate(document, "1.30", strict=True)
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    containers = {container["name"]: container for container in [*pod["containers"], *pod["initContainers"]]}
    assert pod["securityContext"]["runAsNonRoot"] is True and pod["automountServiceAccountToken"] is False
    for container in containers.values():
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert {"requests", "limits"} <= set(container["resources"])
    assert "ports" not in containers["triton"] and "--host" not in containers["triton"]["command"]
    assert {"startupProbe", "livenessProbe"} <= set(containers["triton"])
    assert containers["proxy"]["readinessProbe"]["httpGet"]["path"] == "/v2/models/films/ready"
    mounted = {mount["name"] for container in containers.values() for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}
    (projected,) = [volume["projected"] for volume in pod["volumes"] if volume["name"] == "proxy"]
    secret = projected["sources"][-1]["secret"]["name"]
    assert f"kubectl create secret generic {secret} --from-file=FOLDER/{file}" in text
    assert "listen 8443 ssl http2" in documents["ConfigMap"]["data"]["nginx.conf"]
    assert documents["Service"]["spec"]["ports"][0]["targetPort"] == "https"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--name", "../x"), "--name is '../x'"),
        (("--port", "0"), "--port is 0, expected 1 to 65535"),
        (("--max-body", "1g; include x"), "--max-body is '1g; include x', expected for example 64k or 1m"),
        (("--memory", "lots"), "--memory is 'lots', expected for example 512M or 4G"),
        (("--host", "a b"), "--host is 'a b', expected for example 127.0.0.1"),
        (("--image", "x\nuser: 0"), "--image is"),
        (("--cpus", "0"), "--cpus is 0, expected more than 0"),
    ],
)
def test_a_value_that_would_change_a_file_is_refused(
    tmp_path: Path, words: tuple[str, str], why: str, capsys: Any
) -> None:
    assert main(["triton", "template", "compose", "--out", str(tmp_path / "out"), *words]) == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"error: {why}") and printed.count("\n") == 1
    assert not (tmp_path / "out").exists()
