"""A training on two hosts, by MPI and by Gloo, ends as on one process; also where a host leaves and comes back."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Command
from tests.hosts import programs
from tests.hosts.hosts import Hosts, hosts, wait_for

pytestmark = pytest.mark.slow
EPOCHS = 40
WORDS = f"--preset quick --batch-size 128 --gate ndcg@100:0 --epochs {EPOCHS} --evaluate-every 1".split()


def losses(run: Path) -> dict[int, float]:
    """Training loss by step; of a step that was taken twice, because a checkpoint was older, the last."""
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {row["step"]: row["loss"] for row in rows if "loss" in row}


def metrics(run: Path) -> dict[str, float]:
    found = json.loads((run / "result.json").read_text())["test"]["metrics"]
    return {name: value["mean"] for name, value in found.items()}


@pytest.fixture(scope="module")
def alone(tiny_data: Path, python: Command, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one process that is never stopped."""
    run = tmp_path_factory.mktemp("alone") / "run"
    done = python("vaecf.train", "--data", tiny_data, "--run-dir", run, *WORDS)
    assert done.returncode == 0, done.stderr
    return run


@pytest.fixture(scope="module")
def there(tiny_data: Path) -> Iterator[Hosts]:
    """Two hosts, each with the data set on a disk of its own."""
    with hosts(["h1", "h2"], prefix="training") as up:
        for name in up.names:
            shutil.copytree(tiny_data, up.disk(name) / "tiny")
        yield up


def command(there: Hosts, run: str, *options: str) -> list[str]:
    own = there.own_disk
    words: list[str | Path] = ["vaecf.train", "--", "--data", own / "tiny", "--run-dir", own / run, *WORDS]
    return programs.launch("-H", "h1:1,h2:1", *options, *words)


def compare(run: Path, alone: Path) -> None:
    assert losses(run) == pytest.approx(losses(alone), rel=1e-5)
    assert metrics(run) == pytest.approx(metrics(alone), rel=1e-5)


def test_gloo_on_two_hosts(there: Hosts, alone: Path) -> None:
    done = there.run("h1", command(there, "gloo", "--gloo"), programs.environment())
    assert done.returncode == 0, done.stderr
    compare(there.disk("h1") / "gloo", alone)
    assert not (there.disk("h2") / "gloo").exists()  # the run folder is on the host of rank 0 only


def test_a_host_leaves_and_comes_back(there: Hosts, alone: Path) -> None:
    """By MPI: two ranks, then one, then two again, each from the last checkpoint."""
    run = there.disk("h1") / "mpi"
    job = there.start("h1", command(there, "mpi", "--restarts", "2"), programs.environment())
    wait_for(lambda: saved(run) > 0, "a checkpoint")
    there.stop("h2")
    first = restart_line(job)
    there.restart("h2")
    before = saved(run)
    wait_for(lambda: saved(run) > before, "a checkpoint of one rank")
    ranks = [pid for pid in there.pids("h1", "vaecf.train --resume") if "mpirun" not in words_of(pid)]
    subprocess.run(["kill", "-9", str(max(ranks))], check=True)
    second = restart_line(job)
    _, err = job.communicate(timeout=240)
    assert job.returncode == 0, err
    own = there.own_disk / "mpi"
    assert first.startswith("h2 cannot be reached by ssh (")
    assert first.endswith(f": restart 1 of 2, {own} goes on with 1 rank on h1\n")
    assert second.endswith(f": restart 2 of 2, {own} goes on with 2 ranks on h1, h2\n")
    compare(run, alone)


def saved(run: Path) -> int:
    """The step of the last complete checkpoint, 0 without one."""
    return max((int(p.parent.name.partition("-")[2]) for p in run.glob("checkpoints/step-*/state.json")), default=0)


def words_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def restart_line(job: subprocess.Popen[str]) -> str:
    assert job.stderr
    return next(line for line in job.stderr if ": restart " in line)
