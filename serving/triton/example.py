"""A request that can be pasted into a terminal: Triton's HTTP/REST inference protocol, for a model of a repository."""

from __future__ import annotations

import contextlib
import fnmatch
import json
import shlex
from pathlib import Path
from typing import Any

from serving.export_folder import ExportFolder, Id, open_export
from serving.histories.events import StoreUnavailableError
from serving.recommend.known_users import find_store
from serving.triton import repository, store_settings
from serving.triton.store_settings import StoreSettings

EXAMPLE_K = 5


def tensor(name: str, values: list[Any], datatype: str) -> dict[str, Any]:
    """One input of a request with one row."""
    return {"name": name, "shape": [1, len(values)], "datatype": datatype, "data": values}


def id_tensor(name: str, ids: list[Id]) -> dict[str, Any]:
    """An input of original ids."""
    return tensor(name, ids, "BYTES" if ids and isinstance(ids[0], str) else "INT64")


def _first_users(export: ExportFolder, settings: StoreSettings | None) -> list[Id]:
    """The first user of the store, or else of the export or its data set; nobody while the store is down."""
    with contextlib.suppress(ValueError, StoreUnavailableError):
        store = find_store(export, None) if settings is None else settings.open()
        return [] if store is None else next(store.users(block=1), [])
    return []


def example_body(export: ExportFolder, settings: StoreSettings | None = None) -> dict[str, Any]:
    """A request for recommendations to the first known user; to a user who has the first item if no user is known."""
    users, items = _first_users(export, settings), export.item_ids.tolist()
    who = id_tensor("user_id", users[:1]) if users else id_tensor("item_ids", items[:1])
    return {"inputs": [who, tensor("k", [min(EXAMPLE_K, export.top_k)], "INT32")]}


def example_command(folder: Path, host: str, port: int, load: str = "*") -> str | None:
    """A curl command for the first recommender of a repository; None if it holds none.

    Args:
        host: the address that the server listens on.
        load: pattern of the names of the loaded models.
    """
    for config in sorted(folder.glob("*/config.pbtxt")):
        model = config.parent
        version = repository.served_version(model)
        if version is None or not fnmatch.fnmatch(model.name, load):
            continue
        exported = model / str(version) / "export"
        if exported.is_dir():
            body = json.dumps(example_body(open_export(exported), store_settings.read(model)), ensure_ascii=False)
            return f"curl -s {http_url(host, port)}/v2/models/{model.name}/infer -d {shlex.quote(body)}"
    return None


def http_url(host: str, port: int) -> str:
    """The URL of a server that listens on an address, for a client on the same machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{reachable}]:{port}" if ":" in reachable else f"http://{reachable}:{port}"
