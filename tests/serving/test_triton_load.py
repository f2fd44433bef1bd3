"""Load on a real Triton server: answers over both protocols, a bounded queue under overload, and recovery."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from load_study.engines.triton import ExportRequests, Triton
from load_study.traffic import arrivals, sizes
from load_study.traffic.clock import RealClock
from load_study.traffic.generator import generate
from load_study.traffic.result import LoadResult
from serving.export_folder import ExportFolder
from serving.triton import server
from serving.triton.server import Ports

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ports(
    vae: ExportFolder, ncf: ExportFolder, artifacts: dict[str, Path], python: Any, tmp_path_factory: Any
) -> Iterator[Ports]:
    folder = tmp_path_factory.mktemp("loaded") / "repository"
    for name, export in (("vae", vae), ("ncf", ncf)):
        words = ("--export", export.folder, "--models", artifacts[name], "--repository", folder, "--name", name)
        done = python("serving", "triton", "build", *words, "--queue-size", "4", "--max-batch", "1", "--instances", "1")
        assert done.returncode == 0, done.stderr
    with server.running(folder) as (_, found):
        yield found


def loaded(target: Triton, rate: float, size: int = 1) -> LoadResult:
    due = arrivals.poisson(rate, np.random.default_rng(0))
    load = generate(RealClock(), target, due, sizes.fixed(size, size), duration=3.0, warm_up=0.5)
    target.settle()
    return load


@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("model", ["vae", "ncf"])
def test_a_light_load_is_answered(
    ports: Ports, vae: ExportFolder, ncf: ExportFolder, model: str, protocol: str
) -> None:
    export = {"vae": vae, "ncf": ncf}[model]
    url = f"127.0.0.1:{ports.http if protocol == 'http' else ports.grpc}"
    before = threading.active_count()
    with Triton(url, model, export.folder, protocol=protocol, connections=8) as target:
        # the 8 connections are in another process; here are the two threads of the queue and of the answers
        assert threading.active_count() <= before + 2
        for _ in range(3):  # a machine that stands still for half a second fills the queue of four
            load = loaded(target, 10.0)
            if not load.errors:
                break
    assert load.queries > 10
    assert (load.answered, load.errors, load.timeouts) == (load.queries, 0, 0), load.error_texts
    assert load.latencies.seconds.max() < 2.0


def test_overload_is_refused_clearly_and_then_it_recovers(ports: Ports, vae: ExportFolder) -> None:
    url = f"127.0.0.1:{ports.grpc}"
    with Triton(url, "vae", vae.folder, protocol="grpc", connections=64) as target:
        over = loaded(target, 3_000.0)
        for _ in range(4):  # a busy machine needs a window until the queue of the server is empty
            after = loaded(target, 10.0)
            if not after.errors:
                break
    assert over.errors > 0
    assert any("Exceeds maximum queue size" in text for text in over.error_texts), over.error_texts
    assert over.answered > 0
    assert over.latencies.seconds.max() < 10.0  # nobody waits for long: the queue is bounded
    assert (after.errors, after.timeouts) == (0, 0), after.error_texts


def test_no_such_model_is_said_at_once(ports: Ports, vae: ExportFolder) -> None:
    with pytest.raises(ValueError, match="has no model 'nobody' ready; start one: python -m serving triton serve"):
        Triton(f"127.0.0.1:{ports.http}", "nobody", vae.folder)


def test_requests_are_original_ids(vae: ExportFolder, ncf: ExportFolder) -> None:
    rng = np.random.default_rng(0)
    inputs = ExportRequests(vae.folder).draw(5, rng)
    known = set(vae.items["item_id"].tolist())
    assert set(inputs) == {"item_ids", "k"}
    rows = [[i for i in row if i >= 0] for row in inputs["item_ids"].tolist()]
    fold_in = vae.held_out_users("test").fold_in
    histories = [sorted(vae.items["item_id"].to_numpy()[fold_in.row(u)].tolist()) for u in range(len(fold_in))]
    assert all(row and set(row) <= known and sorted(row) in histories for row in rows)
    of_users = ExportRequests(ncf.folder).draw(5, rng)
    assert set(of_users["user_id"].ravel().tolist()) <= set(ncf.users["user_id"].tolist())
    assert of_users["item_ids"].tolist() == [[-1]] * 5
