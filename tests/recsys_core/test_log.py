"""The log of a run as TensorBoard shows it, asked over HTTP."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from recsys_core.config import plain
from recsys_core.evaluation.evaluator import Estimate, Evaluation
from recsys_core.training.callbacks import WriteLog
from recsys_core.training.log import RunLog
from recsys_core.training.state import Plan, TrainState
from recsys_core.world import World
from tests.conftest import ROOT, _environment
from vaecf.config import PRESETS

PLAN = Plan(total_steps=20, steps_per_epoch=5, evaluate_every=10, steps_per_call=10)


def write_run(folder: Path) -> None:
    """The log of a run of four epochs, written by the callback."""
    log = RunLog(folder, World(), 0)
    log.hyperparameters(
        plain(PRESETS["shallow"].config.model) | {"training": plain(PRESETS["shallow"].config.training)}
    )
    callback, state = WriteLog(log), TrainState()
    for value in (0.25, 0.5):
        state.record_steps(10, 40.0, 1.0)
        callback.on_steps(state, {"loss": 4.0})
        evaluation = Evaluation(metrics={"ndcg@100": Estimate(mean=value)}, users=9, users_without_relevant=0)
        callback.on_evaluation(state.record_evaluation(PLAN, evaluation, "ndcg@100", False))
    callback.on_end()
    test = {"metrics": {"ndcg@100": {"mean": 0.375, "standard_error": 0.01}}}
    callback.on_result({"test": test, "best_step": state.best_step})


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of the real `tensorboard --logdir RUN`."""
    folder = tmp_path_factory.mktemp("run")
    write_run(folder)
    program = Path(sys.executable).parent / "tensorboard"
    line = [str(program), "--logdir", str(folder), "--port", "0", "--host", "127.0.0.1"]
    with (folder / "said").open("w") as said:
        server = subprocess.Popen(line, cwd=ROOT, env=_environment(None), stdout=said, stderr=subprocess.STDOUT)
    try:
        deadline, address = time.monotonic() + 120, None
        while address is None and time.monotonic() < deadline and server.poll() is None:
            time.sleep(0.2)
            address = re.search(r"http://127.0.0.1:\d+/", (folder / "said").read_text())
        assert address, (folder / "said").read_text()
        while "tensorboard" not in asked(address[0], "data/runs") and time.monotonic() < deadline:
            time.sleep(0.2)
        yield address[0]
    finally:
        server.terminate()
        server.wait(30)


def asked(board: str, path: str, content: Any = None) -> Any:
    """The JSON that the server answers."""
    data = None if content is None else json.dumps(content).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(board + path, data, headers), timeout=30) as answer:
        return json.load(answer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tag", "points"),
    [
        ("train/loss", [(10, 4.0), (20, 4.0)]),
        ("validation/ndcg@100", [(10, 0.25), (20, 0.5)]),
        ("epoch", [(10, 2.0), (20, 4.0)]),
        ("test/ndcg@100", [(20, 0.375)]),
    ],
)
def test_scalars(tag: str, points: list[tuple[int, float]], board: str) -> None:
    found = asked(board, f"data/plugin/scalars/scalars?run=tensorboard&tag={quote(tag)}")
    assert [(step, value) for _, step, value in found] == points


@pytest.mark.slow
def test_hyperparameters(board: str) -> None:
    # the HPARAMS page asks for the experiment, then for its sessions with these columns
    experiment = asked(board, "data/plugin/hparams/experiment", {"experimentName": ""})
    names = {info["name"] for info in experiment["hparamInfos"]}
    assert {"kind", "latent", "training.l2", "training.learning_rate"} <= names
    columns = [{"hparam": name} for name in ("kind", "latent", "training.l2")]
    request = {"experimentName": "", "allowedStatuses": ["STATUS_UNKNOWN"], "startIndex": 0, "sliceSize": 10}
    groups = asked(board, "data/plugin/hparams/session_groups", request | {"colParams": columns})
    (group,) = groups["sessionGroups"]
    assert group["hparams"]["kind"] == "dae"
    assert group["hparams"]["latent"] == 200
    assert group["hparams"]["training.l2"] == 5e-4


def test_a_resumed_log_keeps_its_epochs(tmp_path: Path) -> None:
    write_run(tmp_path)
    RunLog(tmp_path, World(), 10).flush()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["step"], line.get("epoch")) for line in lines] == [
        ("train", 10, None),
        ("validation", 10, 2.0),
    ]


def test_other_ranks_write_nothing(tmp_path: Path) -> None:
    world = World()
    object.__setattr__(world, "rank", 1)
    log = RunLog(tmp_path, world, 0)
    log.hyperparameters({"epochs": 3})
    log.result(3, {"ndcg@100": 0.5})
    log.flush()
    assert not list(tmp_path.iterdir())
