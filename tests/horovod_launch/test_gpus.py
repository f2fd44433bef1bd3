"""GPUs of this machine, and ranks that would have to share one. A program in place of nvidia-smi lists the GPUs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from horovod_launch import doctor, gpus
from horovod_launch.__main__ import main
from horovod_launch.command import Launch

ROOT = Path(__file__).resolve().parent.parent.parent
LINES = [f"GPU {k}: NVIDIA H100 80GB HBM3 (UUID: GPU-{k}aaa-bbbb)" for k in range(4)]


def stand_in(folder: Path, lines: list[str], driver: str = "580.65.06", status: int = 0) -> None:
    """Write a program nvidia-smi that lists GPUs."""
    (folder / "list").write_text("".join(f"{line}\n" for line in lines))
    script = folder / "nvidia-smi"
    script.write_text(f'#!/bin/sh\n[ "$1" = -L ] && cat {folder}/list || echo {driver}\nexit {status}\n')
    script.chmod(0o755)


@pytest.fixture
def two_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with two GPUs, and TensorFlow for GPUs."""
    stand_in(tmp_path, LINES[:2])
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(gpus, "tensorflow_computes_there", lambda: True)


@pytest.mark.parametrize(
    ("visible", "expected"),
    [
        (None, 4),
        ("", 0),
        ("-1", 0),
        ("0", 1),
        ("3,1", 2),
        ("0,4,1", 1),  # CUDA ignores all entries from the first unknown one on
        ("GPU-2aaa", 1),
        ("GPU-2aaa-bbbb,GPU-9", 1),
        ("MIG-0f", 1),
    ],
)
def test_gpus_that_a_process_sees(visible: str | None, expected: int) -> None:
    assert gpus.count(LINES, visible) == expected


def test_a_failing_driver_lists_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, ["NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."], status=9)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpus.listed() == [] and gpus.newest_cuda() is None
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    assert gpus.listed() == [] and gpus.newest_cuda() is None


def test_slices_of_a_gpu_are_no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in(tmp_path, [LINES[0], "  MIG 1g.10gb     Device  0: (UUID: MIG-1)"])
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert gpus.listed() == LINES[:1]


@pytest.mark.parametrize(
    ("driver", "cuda"),
    [("580.65.06\n580.65.06\n", 13), ("590.1", 13), ("550.54.15", 12), ("525.60.13", 12), ("470.82.01", 0), ("", None)],
)
def test_cuda_of_a_driver(driver: str, cuda: int | None) -> None:
    assert gpus.cuda_of_driver(driver) == cuda


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize("hosts", [[], ["-H", "localhost:2,127.0.0.1:2"]])
def test_more_ranks_than_gpus_are_refused(hosts: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "-np", "4", *hosts, "vaecf.train", "--", "--data", "d"]) == 2
    assert capsys.readouterr().err == (
        "error: -np puts 4 ranks on this machine, which has 2 GPUs, and each rank needs a GPU of its own: "
        "take -np 2, or set CUDA_VISIBLE_DEVICES= (empty) to train on CPUs\n"
    )


def dry_run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["run", "--dry-run", *words]) == 0
    return capsys.readouterr().out


@pytest.mark.usefixtures("two_gpus")
def test_ranks_are_as_many_as_gpus(capsys: pytest.CaptureFixture[str]) -> None:
    assert "mpirun -np 2 " in dry_run(capsys, "vaecf.train")
    assert "mpirun -np 2 " in dry_run(capsys, "-np", "2", "ncf_tf.train")


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(
    "words",
    [
        ["data_prep"],  # takes no GPU
        ["-H", "a:2,b:2", "vaecf.train"],  # the GPUs of other machines are not known here; the ranks look there
    ],
)
def test_what_cannot_be_known_is_not_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "mpirun -np 4 " in dry_run(capsys, "-np", "4", *words)


@pytest.mark.usefixtures("two_gpus")
def test_ranks_on_cpus_are_not_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with monkeypatch.context() as hidden:
        hidden.setenv("CUDA_VISIBLE_DEVICES", "")
        assert "mpirun -np 4 " in dry_run(capsys, "-np", "4", "vaecf.train")
    monkeypatch.setattr(gpus, "tensorflow_computes_there", lambda: False)
    assert "mpirun -np 4 " in dry_run(capsys, "-np", "4", "vaecf.train")


@pytest.mark.parametrize(
    ("hosts", "local"), [(None, True), ("localhost:4", True), ("localhost:2,node7:2", False), ("node7:4", False)]
)
def test_which_launches_are_local(hosts: str | None, local: bool) -> None:
    assert Launch(ranks=4, module="m", hosts=hosts).is_local() is local


@pytest.mark.parametrize(
    ("words", "count", "ranks"),
    [([], 3, 3), ([], 1, 1), ([], 0, 4), (["NP=2"], 3, 2), (["DATASET=ml-1m"], 2, 2), (["DATASET=ml-100k"], 3, 1)],
)
def test_make_train_takes_a_rank_for_each_gpu(words: list[str], count: int, ranks: int, tmp_path: Path) -> None:
    stand_in(tmp_path, LINES[:count])
    line = ["make", "--dry-run", "--no-print-directory", f"PYTHON={sys.executable}", "train", *words]
    said = subprocess.run(line, cwd=ROOT, env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True)
    assert re.findall(r"horovod_launch run -np (\S+) ", said.stdout) == [str(ranks)], said.stderr


@pytest.mark.parametrize(("count", "hidden"), [(0, True), (1, True), (2, False)])
def test_the_self_test_shares_no_gpu(count: int, hidden: bool) -> None:
    assert (doctor.environment_of_ranks({"PATH": "/bin"}, count).get("CUDA_VISIBLE_DEVICES") == "") is hidden
