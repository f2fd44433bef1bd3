"""`python -m serving infer`: PASSED only when every process ran and was right, and nothing is left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.conftest import ROOT
from tests.serving import other_model
from tests.serving.processes import MARK, end, in_use_by_others, marked, shared_memory, soon

pytestmark = pytest.mark.slow

MEMORY = "psm_"
"""How Python names its shared memory."""


@dataclass(kw_only=True)
class Infer:
    """Starts the command, and knows all processes of it."""

    mark: str
    before: set[str]

    def start(self, export: Path, *words: str | Path, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        line = [sys.executable, "-m", "serving", "infer", "--export", str(export), "--format", "onnx", *map(str, words)]
        environment = os.environ | {MARK: self.mark, "TF_CPP_MIN_LOG_LEVEL": "3"} | (env or {})
        return subprocess.Popen(
            line, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )

    def run(
        self, export: Path, *words: str | Path, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = self.start(export, *words, env=env)
        out, err = command.communicate(timeout=120)
        return subprocess.CompletedProcess(command.args, command.returncode, out, err)

    def children(self) -> list[psutil.Process]:
        return [p for p in marked(self.mark) if any("spawn_main" in word for word in p.cmdline())]

    def running(self, count: int, seconds: float) -> list[psutil.Process]:
        """The children, once each has worked for some seconds of a core: longer than loading takes."""
        assert soon(lambda: len(self.children()) == count, 30)
        found = self.children()
        assert soon(lambda: all(p.cpu_times().user > seconds for p in found), 60)
        return found

    def nothing_is_left(self, seconds: float = 10.0) -> bool:
        return soon(lambda: not marked(self.mark) and not self.memory(), seconds)

    def memory(self) -> set[str]:
        """Shared memory that is there since the start and that no other program uses."""
        new = shared_memory(MEMORY) - self.before
        return new - in_use_by_others(new, self.mark) if new else new


Place = tuple[Path, str, Path]


@pytest.fixture
def places(vae_export: Path, ncf_export: Path, artifacts: dict[str, Path]) -> dict[str, Place]:
    """The words that say where an export and its fp32 model are."""
    return {"vae": (vae_export, "--models", artifacts["vae"]), "ncf": (ncf_export, "--models", artifacts["ncf"])}


@pytest.fixture
def infer() -> Iterator[Infer]:
    made = Infer(mark=uuid.uuid4().hex, before=shared_memory(MEMORY))
    yield made
    end(made.children())
    made.nothing_is_left(5)  # Python's resource tracker removes the shared memory once the last child is gone
    end(marked(made.mark))


def failed(done: subprocess.CompletedProcess[str], *why: str) -> None:
    """FAILED is the last word, the status agrees, and a line says why."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "FAILED"
    assert "PASSED" not in done.stdout and "Traceback" not in done.stderr
    for part in why:
        assert re.search(part, done.stdout + done.stderr), done.stdout + done.stderr


@pytest.mark.parametrize(("model", "processes"), [("vae", 1), ("ncf", 2), ("vae", 4)])
def test_every_process_is_right(infer: Infer, places: dict[str, Place], model: str, processes: int) -> None:
    done = infer.run(*places[model], "-p", str(processes), "-b", "32", "--verbose")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == "PASSED"
    assert f"processes run: {processes}, failed: 0" in done.stdout and "wrong predictions: 0" in done.stdout
    rows = re.findall(r"^ *(\d+) +\d+ +\d+ +\d+$", done.stdout, re.MULTILINE)
    assert len(set(rows)) == processes and all(rows.count(process) == 32 for process in rows)
    times = re.findall(r"^ *(\d+)(?: +[\d.]+){4}$", done.stdout, re.MULTILINE)
    assert sorted(times) == sorted(set(rows))
    assert infer.nothing_is_left()


def test_more_users_than_golden_requests(infer: Infer, places: dict[str, Place]) -> None:
    done = infer.run(*places["vae"], "-b", "1000", "--repeat", "2")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("model", "precision"), [("vae", "fp16"), ("ncf", "int8")])
def test_lower_precision(infer: Infer, artifacts: dict[str, Path], model: str, precision: str) -> None:
    done = infer.run(artifacts[model].parent / "export", "-p", "2", f"--{precision}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert infer.nothing_is_left()


@pytest.mark.parametrize("words", [("-b", "0"), ("-p", "-3")])
def test_numbers_that_mean_nothing(infer: Infer, places: dict[str, Place], words: tuple[str, str]) -> None:
    done = infer.run(*places["vae"], *words)
    assert done.returncode == 2
    assert done.stdout == "" and done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ") and words[1] in done.stderr


def test_mps_without_its_program(infer: Infer, places: dict[str, Place]) -> None:
    if shutil.which("nvidia-cuda-mps-control"):
        pytest.skip("this machine has NVIDIA's program")
    done = infer.run(*places["vae"], "-p", "2", "--mps")
    failed(done, "nvidia-cuda-mps-control is not there")
    assert done.stderr.count("\n") == 1
    assert infer.nothing_is_left()


@pytest.fixture
def own(places: dict[str, Place], tmp_path: Path) -> Callable[[str], Path]:
    """Makes a copy of an export and its fp32 model, to be spoilt."""
    return lambda model: other_model.copy(places[model][0], places[model][2], tmp_path / model)


@pytest.mark.parametrize("model", ["vae", "ncf"])
def test_another_models_parameters(infer: Infer, own: Callable[[str], Path], model: str) -> None:
    """The same shapes, somebody else's numbers: found by its predictions, in every process."""
    export = own(model)
    other_model.damage_parameters(other_model.onnx_of(export))
    done = infer.run(export, "-p", "2")
    failed(done, r"wrong predictions: [1-9]", "processes run: 2, failed: 0")
    assert infer.nothing_is_left()


def test_another_kind_of_model(infer: Infer, own: Callable[[str], Path]) -> None:
    """It wants inputs that are not there: every child says so."""
    export, other = own("vae"), own("ncf")
    made = other_model.onnx_of(export)
    shutil.copy2(other_model.onnx_of(other).model, made.model)
    other_model.bless(made)
    done = infer.run(export, "-p", "2")
    failed(done, "processes run: 2, failed: 2", "user_ids")
    assert infer.nothing_is_left()


DAMAGES: dict[str, tuple[Callable[[Path], Any], bool, str]] = {
    "changed": (lambda path: path.write_bytes(path.read_bytes() + b"\0"), False, "is not what was verified"),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:5000]), True, "error: .+"),
    "noise": (lambda path: path.write_bytes(os.urandom(5000)), True, "error: .+"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_parent_that_cannot_build(infer: Infer, own: Callable[[str], Path], damage: str) -> None:
    export = own("vae")
    made = other_model.onnx_of(export)
    spoil, blessed, why = DAMAGES[damage]
    spoil(made.model)
    if blessed:
        other_model.bless(made)
    failed(infer.run(export, "-p", "2"), why, "processes run: 0")
    assert infer.nothing_is_left()


def test_a_child_that_is_killed(infer: Infer, places: dict[str, Place]) -> None:
    command = infer.start(*places["vae"], "-p", "2", "--repeat", "6000")
    victim, other = infer.running(2, 1.0)
    victim.kill()
    out, err = command.communicate(timeout=120)
    failed(
        subprocess.CompletedProcess([], command.returncode, out, err),
        f"process {victim.pid}: failed: ended with signal 9",
        "processes run: 2, failed: 1",
    )
    assert str(other.pid) in out, "what the other one found is missing"
    assert infer.nothing_is_left()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_parent_that_is_killed(infer: Infer, places: dict[str, Place], how: signal.Signals) -> None:
    """Its children, in the middle of hours of work, end with it."""
    command = infer.start(*places["vae"], "-p", "2", "--repeat", "10000000")
    infer.running(2, 1.0)
    command.send_signal(how)
    status = command.wait(20)
    assert status not in (0, None)
    assert infer.nothing_is_left(30), f"still there: {[p.pid for p in infer.children()]}"  # hours, if it did not
