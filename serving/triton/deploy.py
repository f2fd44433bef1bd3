"""Write the files of a deployment: nginx in front of Triton, a Compose file, a Kubernetes manifest.

python -m serving triton template proxy --out deploy --name vaecf
python -m serving triton template compose --out deploy --name vaecf --repository models
python -m serving triton template kubernetes --out deploy --name vaecf --image registry.example.org/recsys-triton:1
"""

from __future__ import annotations

import argparse
import os
import re
import secrets
import string
import textwrap
from importlib import resources
from pathlib import Path

from serving.command_help import CommandParser
from serving.triton.repository import check_name

KINDS = ("proxy", "compose", "kubernetes")
CLIENTS, KEY, CONF = "clients.conf", "client.key", "nginx.conf"
PROXY_IMAGE = "nginxinc/nginx-unprivileged:1.28-alpine"
MEMORY = re.compile(r"[1-9][0-9]*[MG]")
BODY = re.compile(r"[1-9][0-9]*[km]")
BY_KEY = """    # Keys of clients, one a line:  "Bearer KEY" NAME;
    map_hash_bucket_size 256;
    map $http_authorization $client {
        default "";
        include clients.conf;
    }"""
BY_CERTIFICATE = """    # The name in a client's certificate, if one of ours signed it.
    map $ssl_client_verify $client {
        default "";
        SUCCESS $ssl_client_s_dn;
    }"""
VERIFY = """        ssl_client_certificate clients-ca.crt;
        ssl_verify_client optional;  # probes have none; every other location asks for it
"""


class _Template(string.Template):
    """A template whose fields are @{name}: nginx and shells use the dollar sign."""

    delimiter = "@"
    idpattern = "[a-z_]+"


def read_template(name: str, fields: dict[str, str]) -> str:
    """A file of `deploy_files` with its fields filled in."""
    text = (resources.files("serving.triton") / "deploy_files" / name).read_text()
    return _Template(text).substitute(fields)


def nginx_conf(args: argparse.Namespace, *, contained: bool, upstream: str = "127.0.0.1") -> str:
    """The configuration of nginx.

    Args:
        contained: for a container: it listens on every address, writes to /tmp only and logs to the standard streams.
        upstream: host of Triton.
    """
    by_key = args.access == "key"
    http, grpc, metrics = (8000, 8001, 8002) if contained else (args.http_port, args.grpc_port, args.metrics_port)
    fields = {
        "scratch": "/tmp" if contained else ".",
        "error_log": "/dev/stderr" if contained else "error.log",
        "access_log": "/dev/stdout" if contained else "access.log",
        "listen": str(args.port) if contained else f"{args.host}:{args.port}",
        "certificate": "tls.crt",
        "certificate_key": "tls.key",
        "names": "|".join(args.name),
        "calls": "generate" if args.no_infer else "infer|generate",
        "max_body": args.max_body,
        "http": f"{upstream}:{http}",
        "grpc": f"{upstream}:{grpc}",
        "metrics": f"{upstream}:{metrics}",
        "who": BY_KEY if by_key else BY_CERTIFICATE,
        "verify": "" if by_key else VERIFY,
    }
    return read_template(CONF, fields)


def write_first_key(folder: Path) -> bool:
    """Write a first client's key, which only the owner can read, unless there are keys; returns whether it did."""
    if (folder / CLIENTS).exists():
        return False
    key = secrets.token_hex(32)
    for name, text in ((KEY, f"{key}\n"), (CLIENTS, f'"Bearer {key}" first-client;\n')):
        with os.fdopen(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            file.write(text)
    return True


def compose_yaml(args: argparse.Namespace) -> str:
    fields = {
        "image": args.image,
        "project": str(Path(__file__).resolve().parents[2]),
        "user": f"{os.getuid()}:{os.getgid()}",
        "repository": str(args.repository.absolute()),
        "folder": str(args.out.absolute()),
        "cpus": f"{args.cpus:g}",
        "memory": args.memory,
        "name": args.name[0],
        "proxy_image": PROXY_IMAGE,
        "port": str(args.port),
    }
    return read_template("compose.yaml", fields)


def kubernetes_yaml(args: argparse.Namespace) -> str:
    secret = "recsys-clients" if args.access == "key" else "recsys-clients-ca"
    fields = {
        "nginx_conf": textwrap.indent(nginx_conf(args, contained=True), "    "),
        "image": args.image,
        "cpus": f"{args.cpus:g}",
        "memory_binary": f"{args.memory}i",
        "name": args.name[0],
        "proxy_image": PROXY_IMAGE,
        "port": str(args.port),
        "secret": f"              - secret: {{ name: {secret} }}",
    }
    return read_template("kubernetes.yaml", fields)


def add_arguments(parser: CommandParser) -> None:
    add, add_rare = parser.add_argument, parser.add_rare
    add("kind", choices=KINDS, help="the files to write")
    add("--out", type=Path, required=True, help="folder to write to")
    add("--name", action="append", help="a served model that clients may ask; repeat it for others")
    add("--repository", type=Path, default=Path("models"), help="model repository (default: %(default)s)")
    add("--access", choices=("key", "certificate"), default="key", help="what a client shows (default: %(default)s)")
    add("--port", type=int, default=8443, help="of the proxy, for HTTP and gRPC (default: %(default)s)")
    add_rare("--host", default="127.0.0.1", help="address that the proxy listens on (default: this machine only)")
    add_rare("--http-port", type=int, default=8000, help="of Triton behind the proxy (default: %(default)s)")
    add_rare("--grpc-port", type=int, default=8001, help="(default: %(default)s)")
    add_rare("--metrics-port", type=int, default=8002, help="(default: %(default)s)")
    add_rare("--max-body", default="64k", help="largest HTTP body (default: %(default)s)")
    add_rare("--no-infer", action="store_true", help="over HTTP offer `generate` only, whose shapes the server makes")
    add_rare("--image", default="recsys-triton", help="name of the image of Dockerfile.triton (default: %(default)s)")
    add_rare("--cpus", type=float, default=2.0, help="CPUs of Triton's container (default: %(default)s)")
    add_rare("--memory", default="4G", help="memory of Triton's container (default: %(default)s)")


def _check(args: argparse.Namespace) -> None:
    """Raise ValueError for a value that would break or widen a configuration."""
    for name in args.name:
        check_name(name)
    for flag in ("port", "http_port", "grpc_port", "metrics_port"):
        if not 1 <= getattr(args, flag) <= 65535:
            raise ValueError(f"--{flag.replace('_', '-')} is {getattr(args, flag)}, expected 1 to 65535")
    for flag, value, pattern, example in (
        ("--max-body", args.max_body, BODY, "64k or 1m"),
        ("--memory", args.memory, MEMORY, "512M or 4G"),
        ("--image", args.image, re.compile(r"[A-Za-z0-9][\w.:/@-]*"), "registry.example.org/recsys-triton:1"),
        ("--host", args.host, re.compile(r"[A-Za-z0-9.:\[\]-]+"), "127.0.0.1"),
    ):
        if not pattern.fullmatch(value):
            raise ValueError(f"{flag} is {value!r}, expected for example {example}")
    if not args.cpus > 0:
        raise ValueError(f"--cpus is {args.cpus:g}, expected more than 0")


def main(args: argparse.Namespace) -> int:
    """0 done."""
    args.name = args.name or ["recommender"]
    _check(args)
    args.out.mkdir(parents=True, exist_ok=True)
    files: dict[str, str] = {}
    if args.kind == "kubernetes":
        files["kubernetes.yaml"] = kubernetes_yaml(args)
    else:
        upstream = "triton" if args.kind == "compose" else "127.0.0.1"
        files[CONF] = nginx_conf(args, contained=args.kind == "compose", upstream=upstream)
    if args.kind == "compose":
        files["compose.yaml"] = compose_yaml(args)
    for name, text in files.items():
        (args.out / name).write_text(text)
        print(args.out / name)
    if args.access == "key":
        made = write_first_key(args.out)
        print(f"{args.out / CLIENTS}: {'the key of a first client, which is in ' + KEY if made else 'kept'}")
    else:
        print(f"needed: {args.out / 'clients-ca.crt'}, which signs the certificates of clients")
    if not (args.out / "tls.crt").is_file():
        print(f"needed: {args.out / 'tls.crt'} and tls.key, the certificate of the proxy")
    return 0
