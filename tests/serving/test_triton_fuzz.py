"""Random requests through a real Triton server, many at once: whole numbers, text ids, doubled titles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from serving.__main__ import main
from serving.export_folder import ExportFolder, open_export
from serving.recommend.answers import ERROR, MODEL, POPULAR, Recommendation
from serving.triton import server
from serving.triton.client import Answer, Client, ServerError
from serving.triton.server import Ports
from tests.serving import other_ids
from tests.serving.odd_requests import BATCH, FUZZED, World, as_tensors, world_of

pytestmark = pytest.mark.slow

TITLES = ("Twins (1988)", "Twins (1988)", "Ünïcode, The", "")
NAMES: dict[str, Callable[[int], Any]] = {
    "text": lambda i: f"sku,{i}",
    "digits": lambda i: 9_000_000_000 + i,
    "negative": lambda i: -i - 1,
}
THREADS = 4


@pytest.fixture(scope="module")
def exports(vae: ExportFolder, ncf: ExportFolder, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ExportFolder]:
    folder = tmp_path_factory.mktemp("fuzz")
    copies = {
        kind: other_ids.copy(vae.folder, folder / kind / "export", user=name, item=name, titles=TITLES)
        for kind, name in NAMES.items()
    }
    return {"vae": vae, "ncf": ncf, **{kind: open_export(path) for kind, path in copies.items()}}


@pytest.fixture(scope="module")
def ports(
    exports: dict[str, ExportFolder], artifacts: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ports]:
    folder = tmp_path_factory.mktemp("repository")
    for name, export in exports.items():
        where = ["--export", str(export.folder), "--models", str(artifacts["ncf" if name == "ncf" else "vae"])]
        assert main(["triton", "build", *where, "--repository", str(folder), "--name", name]) == 0
    with server.running(folder) as (_, found):
        yield found


def _recommendation(answer: Answer) -> Recommendation:
    return Recommendation(
        source=answer.source,
        item_ids=np.array(answer.items, object),
        titles=tuple(answer.titles),
        scores=np.array(answer.scores, np.float32),
        note=answer.note,
    )


def _alone(client: Client, model: str, world: World, words: dict[str, Any]) -> str:
    """Ask for one request; returns the source, or ERROR if the server refuses it."""
    names = {"user_id": "user", "item_ids": "items"}
    asked = {names.get(name, name): value for name, value in words.items()}
    try:
        answer = _recommendation(client.recommend(model, **asked))
    except (ServerError, ValueError) as error:
        assert not world.is_good(words), (words, error)
        return ERROR
    world.check(words, answer)
    return answer.source


def _fuzz(model: str, export: ExportFolder, address: str, protocol: str, seed: int, count: int) -> Counter[str]:
    """Ask `count` times, in turn for a batch of rows and for single ones; returns the number of each source."""
    world, rng, found = world_of(export), np.random.default_rng(seed), Counter[str]()
    with Client(address, protocol=protocol, retries=0, timeout=60) as client:
        while found.total() < count:
            words = [world.draw(rng) for _ in range(BATCH)]
            arrays = as_tensors(words, export.id_types.item is int, export.id_types.below_zero)
            answers = client.infer(model, {name: values for name, values in arrays.items() if values is not None})
            for asked, answer in zip(words, answers, strict=True):
                world.check(asked, _recommendation(answer))
                found[answer.source] += 1
            found.update(_alone(client, model, world, world.draw(rng)) for _ in range(3))
    return found


@pytest.mark.parametrize("model", ["vae", "ncf", *NAMES])
def test_random_requests(exports: dict[str, ExportFolder], ports: Ports, model: str) -> None:
    addresses = {"http": f"127.0.0.1:{ports.http}", "grpc": f"127.0.0.1:{ports.grpc}"}
    with ThreadPoolExecutor(THREADS) as pool:
        waiting = [
            pool.submit(_fuzz, model, exports[model], addresses[protocol], protocol, seed, -(-FUZZED // THREADS))
            for seed, protocol in enumerate(("http", "grpc") * (THREADS // 2))
        ]
        counted = sum((future.result() for future in waiting), Counter[str]())
    assert counted.total() >= FUZZED
    assert min(counted[source] for source in (MODEL, POPULAR, ERROR)) >= FUZZED // 20, counted
