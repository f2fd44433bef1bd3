"""A shadow without Triton: the real process of a candidate, its queue, its faults, and its report."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from serving.recommend.recommender import MODEL, Recommendation
from serving.recommend.requests import Request
from serving.triton import repository
from serving.triton.loading import Placement, open_version
from serving.triton.shadow import hook, settings, worker
from serving.triton.shadow.hook import Shadow
from serving.triton.shadow.settings import FAILED, RUNNING, ShadowReport
from tests.serving.processes import soon
from tests.serving.two_models import NAME, Models, build

PLACEMENT = Placement(on_gpu=False, threads=1, block=8)
ANSWER = Recommendation(source=MODEL, item_ids=np.array([1, 2]), titles=("", ""), scores=np.zeros(2, np.float32))


def test_requests_reach_the_worker_as_they_are() -> None:
    import json

    for request in (
        Request(user_id=2**62, item_ids=(1, -5), k=3, deny=frozenset([7]), allow=frozenset()),
        Request(user_id="ann@example.org", item_ids=("sku-1", "ä"), unknown_titles=("Toy",)),
    ):
        (row,) = json.loads(worker.encode_requests([request]))["requests"]
        assert worker.decode_request(row) == request


@pytest.fixture
def model(models: Models, tmp_path: Path) -> Path:
    """Version 1 is served, version 2 can be shadowed."""
    from serving.export_folder import open_export
    from tests.serving import other_model

    build(models.old, tmp_path)
    repository.add_version(tmp_path, NAME, open_export(models.new), other_model.onnx_of(models.new))
    return tmp_path / NAME


@pytest.fixture
def shadow(model: Path) -> Iterator[Shadow]:
    made = Shadow(model, 1, "films_0_0", PLACEMENT)
    made.start()
    yield made
    made.stop()
    assert not [p for p in psutil.Process().children() if "serving.triton.shadow.worker" in p.cmdline()]


def _report(model: Path) -> ShadowReport:
    found = settings.read(model)
    assert found is not None
    return settings.report(model, found)


@pytest.mark.slow
def test_it_answers_beside_the_served_version(model: Path, models: Models, shadow: Shadow) -> None:
    served = open_version(model / "1", PLACEMENT).recommender
    requests = [Request(user_id=user, k=5) for user in list(models.old_answers)[:4]]
    answers = served.recommend(requests)
    shadow.offer(requests, answers, 0.001)
    settings.start(model, 2, 1, 1.0)
    assert soon(lambda: _report(model).states == (RUNNING,), 60)
    assert _report(model).tally.offered == 0, "what came before it was ready does not count"
    for _ in range(3):
        shadow.offer(requests, answers, 0.001)
    assert soon(lambda: _report(model).tally.answered == 12, 20)
    candidate = open_version(model / "2", PLACEMENT).recommender.recommend(requests)
    pairs = [(a.item_ids.tolist(), b.item_ids.tolist()) for a, b in zip(answers, candidate, strict=True)]
    tally = _report(model).tally
    assert tally.overlap == pytest.approx(3 * sum(len(set(a) & set(b)) / 5 for a, b in pairs))
    assert tally.same_first == 3 * sum(a[0] == b[0] for a, b in pairs)
    assert (tally.served.count, tally.candidate.count) == (3, 3)
    settings.remove(model)
    assert soon(lambda: not _workers(), 20), "the process ends with the settings"
    assert not (model / "shadow").exists()


def _workers() -> list[psutil.Process]:
    """The processes of candidates; fixtures of other tests (a browser, a server) have processes too."""
    alive = [p for p in psutil.Process().children() if p.status() != psutil.STATUS_ZOMBIE]
    return [p for p in alive if "serving.triton.shadow.worker" in p.cmdline()]


@pytest.mark.slow
def test_a_candidate_that_dies_or_hangs_does_not_hold_the_served_one(model: Path, shadow: Shadow) -> None:
    settings.start(model, 2, 1, 1.0)
    assert soon(lambda: _report(model).states == (RUNNING,), 60)
    (process,) = _workers()
    process.suspend()
    start = time.monotonic()
    for _ in range(hook.QUEUED + 20):
        shadow.offer([Request(item_ids=(1,), k=2)] * 2, [ANSWER] * 2, 0.001)
    assert time.monotonic() - start < 1.0
    process.kill()
    assert soon(lambda: _report(model).states == (FAILED,), 20)
    report = _report(model)
    assert report.tally.offered == 2 * (hook.QUEUED + 20)
    assert report.tally.dropped >= 2 * 18, "the queue is bounded"
    assert "ended with status -9" in report.reasons[0]


@pytest.mark.slow
def test_a_candidate_that_cannot_be_loaded_is_reported(model: Path, shadow: Shadow) -> None:
    shutil.rmtree(model / "2" / "onnx-fp32")
    settings.start(model, 2, 1, 1.0)
    assert soon(lambda: _report(model).states == (FAILED,), 60)
    assert "it cannot be loaded" in _report(model).reasons[0]
    shadow.offer([Request(item_ids=(1,), k=2)], [ANSWER], 0.001)
    assert _report(model).tally.offered == 0


def test_another_version_than_the_served_one_is_left_alone(tmp_path: Path) -> None:
    made = Shadow(tmp_path, 3, "films_0_0", PLACEMENT)
    settings.start(tmp_path, 2, 1, 1.0)
    made._look()
    assert made._candidate is None and made._settings is None
