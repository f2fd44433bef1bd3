"""Serve a page, on this machine only, that shows what a model recommends: type what you like, get recommendations with
reasons, move the sliders for their number and novelty, compare two models, and look at similar items.

python -m serving demo --export runs/first
python -m serving demo --export runs/first --export runs/second --store sqlite:///histories.db
"""

from __future__ import annotations

import argparse
import importlib.util
import socket
from collections.abc import Sequence
from pathlib import Path

from serving import targets
from serving.command_help import EXPORT_HELP, MODELS_HELP, CommandParser
from serving.data_set import DATA_HELP
from serving.demo.served_model import ServedModel
from serving.engines import providers
from serving.export_folder import ExportFolder, open_export
from serving.histories.command import STORE_HELP
from serving.histories.store import HistoryStore
from serving.recommend.command import open_model
from serving.recommend.known_users import find_store

HOST = "127.0.0.1"
MOST_MODELS = 2
PACKAGES = ("starlette", "uvicorn")
PREFERRED = "onnx-fp32"
"""The converted model that is taken if it is there and verified: it loads faster than TensorFlow."""


def add_arguments(parser: CommandParser) -> None:
    add = parser.add_argument
    add("--export", metavar="RUN", type=Path, action="append", required=True, help=f"{EXPORT_HELP}; twice to compare")
    add("--port", type=int, default=8080, help="port of 127.0.0.1 (default: %(default)s; 0: any that is free)")
    add("--store", metavar="ADDRESS", help=f"where the items of users are: {STORE_HELP} (default: the data set)")
    add("--data", metavar="D", type=Path, help=f"{DATA_HELP} (of the first export)")
    parser.add_rare("--model", help="a verified converted model of each export (default: onnx-fp32 if it is verified)")
    parser.add_rare("--models", type=Path, help=MODELS_HELP)
    parser.add_rare("--provider", choices=providers.CHOICES, default=providers.AUTO, help=providers.HELP)


def require_packages() -> None:
    """Raise ValueError with the command that installs what the page needs, if it is missing."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ValueError(f"{' and '.join(missing)} not installed; install with: pip install 'recsys-scale[demo]'")


def listening_socket(port: int) -> socket.socket:
    """A socket of this machine only.

    Raises:
        ValueError: the port is out of range or in use.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"--port is {port}, expected 0 to 65535")
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind((HOST, port))
        opened.listen(128)
    except OSError as error:
        opened.close()
        raise ValueError(f"port {port} cannot be used ({error.strerror}); take another one with --port") from None
    return opened


def _names(folders: Sequence[Path]) -> list[str]:
    """Short names of runs: the folder's, with as many of its parents as tell them apart."""
    paths = [folder.absolute().parts[: -1 if folder.name == "export" else None] for folder in folders]
    for length in range(1, max(map(len, paths)) + 1):
        names = ["/".join(path[-length:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return [f"{path[-1]} ({number})" for number, path in enumerate(paths, 1)]


def _model_name(export: ExportFolder, models: Path | None, name: str | None) -> str | None:
    """The name of the converted model to load; None for the exported model."""
    if name is not None:
        return name
    preferred = targets.artifact(models or targets.default_folder(export.folder), PREFERRED)
    return PREFERRED if preferred.unusable_reason(export.identity) is None else None


def _load(
    args: argparse.Namespace, exports: Sequence[ExportFolder], stores: Sequence[HistoryStore | None]
) -> list[ServedModel]:
    found = []
    for name, export, store in zip(_names(args.export), exports, stores, strict=True):
        chosen = _model_name(export, args.models, args.model)
        engine, limit = open_model(export, args.models, chosen, args.provider)
        found.append(ServedModel(name, export, engine, history_limit=limit, store=store))
    return found


def main(args: argparse.Namespace) -> int:
    """Serves until Ctrl-C; 0."""
    require_packages()
    if len(args.export) > MOST_MODELS:
        raise ValueError(f"--export is given {len(args.export)} times, expected once or twice")
    exports = [open_export(folder, None if place else args.data) for place, folder in enumerate(args.export)]
    stores = [find_store(export, args.store) for export in exports]
    with listening_socket(args.port) as opened:
        models = _load(args, exports, stores)
        _serve(models, next((store for store in stores if store is not None), None), opened)
    return 0


def _serve(models: Sequence[ServedModel], store: HistoryStore | None, opened: socket.socket) -> None:
    import uvicorn

    from serving.demo.api import Api
    from serving.demo.app import application

    app = application(Api(models, store))
    config = uvicorn.Config(app, log_level="warning", server_header=False, limit_concurrency=64, lifespan="off")
    print(f"open http://{HOST}:{opened.getsockname()[1]} in a browser (stop the page with Ctrl-C)", flush=True)
    uvicorn.Server(config).run(sockets=[opened])
