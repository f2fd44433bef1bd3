"""Build a model repository from verified converted models, or serve it with Triton.

python -m serving triton build --export runs/first --repository models --name vaecf
python -m serving triton serve --repository models
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from pathlib import Path
from typing import Any

from serving import targets
from serving.command_help import EXPORT_HELP, MODELS_HELP, CommandParser
from serving.export_folder import ExportFolder, open_export
from serving.histories.command import STORE_HELP
from serving.histories.store import has_password
from serving.progress import step
from serving.recommend.item_table import item_table
from serving.recommend.known_users import find_store
from serving.triton import attributes, deploy, repository, server, store_settings
from serving.triton.config import Service
from serving.triton.example import example_command, http_url
from serving.triton.publish_lock import publishing
from serving.triton.restarts import Restarts
from serving.triton.server import Ports

LOG = "server.log"
BUILD = """Write a model repository for Triton from a verified converted model of an export.

python -m serving triton build --export runs/first --repository models --name vaecf
"""
SERVE = """Start Triton on a model repository and keep it running. When it is ready, it prints a curl command to try it.

python -m serving triton serve --repository models
"""
DEAD_BACKEND_CHECKS = 4
"""Checks, 0.5 s apart, that must all find a dead backend process. One that ends normally is gone by the next check."""


def add_service_arguments(parser: CommandParser) -> None:
    default = Service()
    add = parser.add_rare
    add("--max-batch", type=int, default=default.max_batch, help="requests in a dynamic batch (default: %(default)s)")
    add("--instances", type=int, default=default.instances, help="copies of the model (default: %(default)s)")
    add("--queue-delay-us", type=int, default=default.queue_delay_us, help="wait for a batch (default: %(default)s)")
    add("--queue-size", type=int, default=default.queue_size, help="requests that may wait (default: %(default)s)")
    add("--queue-timeout-ms", type=int, default=default.queue_timeout_ms, help="longest wait (default: %(default)s)")
    add("--gpu", action="store_true", help="place instances on the GPU")


def service_from_arguments(args: argparse.Namespace) -> Service:
    """
    Raises:
        ValueError: a value is out of range.
    """
    service = Service(**{name: getattr(args, name) for name in vars(Service())})
    service.check()
    return service


def add_arguments(parser: CommandParser) -> None:
    actions = parser.add_subparsers(dest="triton_action", required=True)
    build = actions.add_parser("build", help="write a model repository")
    build.explain(BUILD)
    build.add_argument("--export", metavar="RUN", type=Path, required=True, help=EXPORT_HELP)
    build.add_argument("--repository", type=Path, required=True, help="folder to write to")
    build.add_argument("--name", default="recommender", help="of the model (default: %(default)s)")
    build.add_argument("--model", default="onnx-fp32", help="the converted model to serve (default: %(default)s)")
    build.add_rare("--models", type=Path, help=MODELS_HELP)
    build.add_rare(
        "--native", default="", metavar="TARGET,...", help="also serve these with Triton's own backends, by item index"
    )
    build.add_argument("--store", metavar="ADDRESS", help=f"where the items of users are: {STORE_HELP}")
    build.add_argument(
        "--accept-events", action="store_true", help="also serve NAME_events, which appends to the store"
    )
    build.add_rare(
        "--store-down", choices=(store_settings.ERROR, store_settings.POPULAR), default=store_settings.ERROR,
        help="what a request for a user gets while the store is down (default: %(default)s)",
    )  # fmt: skip
    build.add_rare(
        "--items-table", metavar="FILE", type=Path, help="CSV or Parquet with item_id and further columns for filters"
    )
    add_service_arguments(build)
    template = actions.add_parser("template", help="write files of a deployment: proxy, Compose, Kubernetes")
    template.explain(deploy.__doc__ or "")
    deploy.add_arguments(template)
    serve = actions.add_parser("serve", help="start the server on a repository")
    serve.explain(SERVE)
    serve.add_argument("--repository", type=Path, required=True, help="folder that `triton build` wrote")
    serve.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    for name, port in vars(Ports()).items():
        add_port = serve.add_argument if name == "http" else serve.add_rare
        add_port(f"--{name}-port", type=int, default=port, help="(default: %(default)s)")
    serve.add_rare("--load", default="*", help="models to load (default: all)")
    serve.add_rare("--verbose", action="store_true", help="log all of Triton's messages")


def _set_store(args: argparse.Namespace, export: ExportFolder) -> None:
    """Write the store of the model, and the model that takes events; without --store, keep what there is."""
    model = args.repository / args.name
    if args.store is None:
        kept = store_settings.read(model)
        if kept is not None:
            print(f"store, as before: {kept.address}")
        elif (store := find_store(export, None)) is None:
            print("users are not known to this model: it answers requests that hold items; --store names a store")
        elif not export.holds_users:
            print(f"users come from the data set {store.address}, read only; --store names another place")
        return
    settings = store_settings.check_and_describe(export, args.store, args.store_down, takes_events=args.accept_events)
    store_settings.write(model, settings)
    print(f"store: {settings.address}")
    if has_password(args.store):
        print("the password is not written: set PGPASSWORD (PostgreSQL) or REDISCLI_AUTH (Redis) for the server")
    if args.accept_events:
        events = repository.add_events_model(args.repository, args.name, export, settings)
        print(f"{args.repository / events}: appends events to the store")


def _set_attributes(args: argparse.Namespace, export: ExportFolder) -> None:
    """Write the table of the model's items; without --items-table, keep what there is."""
    model = args.repository / args.name
    if args.items_table is not None:
        columns = attributes.write(model, export, args.items_table)
        print(f"filters may name: {', '.join(columns)}")
    elif (model / attributes.FILE).is_file():
        print(f"attributes of items, as before: {model / attributes.FILE}")


def _build(args: argparse.Namespace) -> int:
    export, service = open_export(args.export), service_from_arguments(args)
    if args.accept_events and args.store is None:
        raise ValueError("--accept-events needs --store: where are the events written to?")
    folder = args.models or targets.default_folder(export.folder)
    artifact = targets.artifact(folder, args.model)
    repository.check_name(args.name)
    artifact.require_verified(export.identity)
    if args.items_table is not None:
        item_table(export, args.items_table)  # what is wrong with it is said before anything is written
    step(f"copying {artifact.target.name}, which is verified")
    with publishing(args.repository):
        _set_store(args, export)
        _set_attributes(args, export)
        version = repository.add_version(args.repository, args.name, export, artifact)
        repository.serve_version(args.repository, args.name, version, service)
    print(f"{args.repository / args.name}: version {version}, {artifact.target.name}")
    for name in [part for part in args.native.split(",") if part]:
        native = repository.add_native(args.repository, args.name, export, targets.artifact(folder, name), service)
        print(f"{args.repository / native}: for Triton's own backend")
    print(f"serve it with: python -m serving triton serve --repository {args.repository}")
    return 0


def _serve(args: argparse.Namespace) -> int:
    """Run the server, and start it again after it has ended (`restarts`)."""
    ports = Ports(http=args.http_port, grpc=args.grpc_port, metrics=args.metrics_port)

    def interrupt(signum: int, frame: Any) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    if args.host not in ("127.0.0.1", "localhost", "::1"):
        print(f"note: listening on {args.host}, without authentication", file=sys.stderr)
    restarts = Restarts()
    while True:
        started = time.monotonic()
        try:
            reason = _serve_once(args, ports)
        except KeyboardInterrupt:
            return 0
        except ValueError as error:
            if restarts.in_a_row == 0:  # the first start: a wrong repository or port
                raise
            reason = str(error)
        wait = restarts.after_end(time.monotonic() - started)
        if wait is None:
            print(
                f"error: {reason}; that was end {restarts.in_a_row} in a row; log: {args.repository / LOG}",
                file=sys.stderr,
            )
            return 1
        again = f"starting again in {wait:g} s" if wait else "starting again"
        print(f"error: {reason}; {again}", file=sys.stderr, flush=True)
        try:
            time.sleep(wait)
        except KeyboardInterrupt:
            return 0


def _serve_once(args: argparse.Namespace, ports: Ports) -> str:
    """Run a server until it ends; returns why it ended."""
    log = args.repository / LOG
    step("starting Triton and loading the models")
    with server.running(
        args.repository, host=args.host, ports=ports, load=args.load, verbose=args.verbose, log=log
    ) as (process, _):
        print(f"ready: http {args.host}:{ports.http}, grpc {args.host}:{ports.grpc}; log: {log}", flush=True)
        _print_example(args, ports)
        dead = 0
        while process.poll() is None and dead < DEAD_BACKEND_CHECKS:
            time.sleep(0.5)
            dead = dead + 1 if server.has_dead_backend(process) else 0
        if dead:
            return "a process that runs a model was killed"
        return f"the server ended with status {process.returncode}"


def _print_example(args: argparse.Namespace, ports: Ports) -> None:
    """Print the server's URL, and a command that asks it for recommendations."""
    print(f"URL: {http_url(args.host, ports.http)} (stop the server with Ctrl-C)")
    command = example_command(args.repository, args.host, ports.http, args.load)
    if command is not None:
        print(f"ask it from another terminal with:\n\n  {command}\n", flush=True)


def main(args: argparse.Namespace) -> int:
    """0 done, 1 the server ended too often in a row."""
    return {"build": _build, "serve": _serve, "template": deploy.main}[args.triton_action](args)
