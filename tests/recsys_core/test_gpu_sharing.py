"""Two ranks on one GPU are refused, by the identity of the GPUs. A list stands in for TensorFlow's list of GPUs."""

from __future__ import annotations

import ctypes
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recsys_core import gpu_sharing
from recsys_core.gpu_sharing import Place, fault
from tests.conftest import Command


def test_by_hand() -> None:
    assert fault([Place("a", "", 0)] * 4) is None  # on CPUs
    assert fault([Place("a", "x", 2), Place("a", "y", 2), Place("b", "z", 2)]) is None
    assert fault([Place("a", "x", 1), Place("a", "y", 1)]) is None  # each sees its own GPU only
    assert fault([Place("a", "x", 2), Place("a", "y", 2), Place("b", "z", 1), Place("b", "z", 1)]) == (
        "ranks 2 and 3 would share a GPU: 2 ranks run on b, which has 1 GPU; start at most 1 there (-np 1), "
        "or set CUDA_VISIBLE_DEVICES= (empty) to train on CPUs"
    )
    assert "ranks 0 and 2 would share a GPU: 4 ranks run on a, which has 2 GPUs; start at most 2 there (-np 2)" in str(
        fault([Place("a", "x", 2), Place("a", "y", 2), Place("a", "x", 2), Place("a", "y", 2)])
    )


RANK = """
import os, sys
import tensorflow as tf
tf.config.list_physical_devices = lambda kind=None: [f"GPU {k}" for k in range(int(os.environ["GPUS"]))]
tf.config.set_visible_devices = lambda device, kind: print(f"took {device}", flush=True)
tf.config.experimental.set_memory_growth = lambda device, grows: None
tf.config.experimental.get_device_details = lambda device: {"device_name": "a GPU"}
from recsys_core import cli, devices
from recsys_core.world import session
if os.environ.get("EACH_ITS_OWN"):  # as Slurm does with --gpus-per-task
    os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["OMPI_COMM_WORLD_LOCAL_RANK"]
with cli.command() as status, session() as world:
    devices.configure(world)
    world.barrier()
    print("trained", flush=True)
sys.exit(status.code)
"""


def start(command: Command, folder: Path, ranks: int, gloo: bool, **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "rank.py").write_text(RANK)
    launcher = ["horovodrun", *(["--gloo"] if gloo else []), "-np", str(ranks)]
    return command([*launcher, sys.executable, folder / "rank.py"], env=env | {"PYTHONPATH": "."})


@pytest.mark.ranks
@pytest.mark.parametrize(("ranks", "gpus", "gloo"), [(3, 2, False), (2, 1, True)])
def test_ranks_that_would_share_a_gpu(ranks: int, gpus: int, gloo: bool, command: Command, tmp_path: Path) -> None:
    """They shared it without a word."""
    done = start(command, tmp_path, ranks, gloo, GPUS=str(gpus))
    assert done.returncode == (1 if gloo else 2)  # horovodrun turns every failure under Gloo into 1
    assert done.stderr.count("error: ") == 1
    assert f"error: ranks 0 and {gpus} would share a GPU: {ranks} ranks run on " in done.stderr
    assert ">:Traceback" not in done.stderr  # of a rank; horovodrun adds one of its own under Gloo
    assert "trained" not in done.stdout


@pytest.mark.ranks
def test_each_rank_with_a_gpu_of_its_own(command: Command, tmp_path: Path) -> None:
    done = start(command, tmp_path, 2, False, GPUS="2")
    assert done.returncode == 0, done.stderr
    assert (done.stdout.count("took GPU 0"), done.stdout.count("took GPU 1")) == (1, 1)
    assert done.stdout.count("trained") == 2
    done = start(command, tmp_path, 2, False, GPUS="1", EACH_ITS_OWN="1")
    assert done.returncode == 0, done.stderr
    assert (done.stdout.count("took GPU 0"), done.stdout.count("trained")) == (2, 2)


DRIVER = """
#include <string.h>
int cuInit(unsigned flags) { return flags; }
int cuDeviceGet(int *device, int index) { *device = 40 + index; return index > 1; }
int cuDeviceGetUuid_v2(char *uuid, int device) { memset(uuid, device, 16); return 0; }
"""


def test_the_driver_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library with the three functions of the driver's interface that are called (cuda.h, CUDA 12)."""
    compiler = shutil.which("gcc") or shutil.which("g++")
    if compiler is None:
        pytest.skip("no C compiler here to make a library in place of the driver's")
    (tmp_path / "driver.c").write_text(DRIVER)
    library = tmp_path / "libcuda.so.1"
    subprocess.run([compiler, "-x", "c", "-shared", "-fPIC", "-o", library, tmp_path / "driver.c"], check=True)
    loaded = ctypes.CDLL(str(library))
    monkeypatch.setattr(ctypes, "CDLL", lambda name: {"libcuda.so.1": loaded}[name])
    assert [gpu_sharing.uuid(k) for k in range(3)] == ["28" * 16, "29" * 16, None]  # 40 and 41


def test_without_a_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", absent)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3")
    first, second = gpu_sharing.own_place(1, 0), gpu_sharing.own_place(2, 1)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert len({first.gpu, second.gpu, gpu_sharing.own_place(1, 0).gpu}) == 3
    assert gpu_sharing.own_place(0, None).gpu == ""
    assert Place(*json.loads(json.dumps(first))) == first
