"""Small programs for ranks, without TensorFlow, and the environment in which the launcher finds them.

They write a line in one call: `print` takes two where PYTHONUNBUFFERED is set, and lines of two ranks would mix.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from tests.conftest import ROOT, _environment

TRAIN = """
import os, signal, sys, time
from pathlib import Path
rank = int(os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ.get("HOROVOD_RANK") or 0)
size = os.environ.get("OMPI_COMM_WORLD_SIZE") or os.environ.get("HOROVOD_SIZE") or "1"
host = os.uname().nodename
def stop(*_):
    sys.stdout.write(f"saved on {host}\\n")
    sys.stdout.flush()
    sys.exit(0)
signal.signal(signal.SIGUSR1, stop)
words = sys.argv[1:]
sys.stdout.write(f"ready on {host} rank {rank} of {size}: {' '.join(words)}\\n")
sys.stdout.flush()
if words[0] == "--resume":
    sys.exit(0)
if rank == 0:
    folder = Path(words[words.index("--run-dir") + 1])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").touch()
time.sleep(100)
"""
SAYS = """
import os, sys
from mpi4py import MPI
names = ["TF_CUSTOM", "NCCL_CUSTOM", "UCX_CUSTOM", "RECSYS_CUSTOM", "XLA_FLAGS", "OMP_NUM_THREADS", "UNKNOWN"]
values = " ".join(f"{name}={os.environ.get(name)}" for name in names)
size = MPI.COMM_WORLD.allreduce(1) if "OMPI_COMM_WORLD_SIZE" in os.environ else os.environ["HOROVOD_SIZE"]
sys.stdout.write(f"{os.uname().nodename} of {size}: {values}\\n")
"""
FAILS = """
import os, sys, time
rank = os.environ.get("OMPI_COMM_WORLD_RANK") or os.environ.get("HOROVOD_RANK")
if rank == "1":
    print("error: no", file=sys.stderr, flush=True)
    os._exit(int(sys.argv[1]))
time.sleep(100)
"""


def write(folder: Path) -> Path:
    """Put the programs into a folder of Python modules: `toy.train` (a training that waits), `says` and `fails`."""
    (folder / "toy").mkdir()
    for name, text in (("toy/__init__", ""), ("toy/train", TRAIN), ("says", SAYS), ("fails", FAILS)):
        (folder / f"{name}.py").write_text(text)
    return folder


def environment(modules: Path | None = None, **more: str) -> dict[str, str]:
    """Variables for the launcher on a host."""
    places = [str(ROOT), *([str(modules)] if modules else [])]
    own = {"PYTHONPATH": os.pathsep.join(places), "OPAL_PREFIX": sys.prefix, "OMPI_MCA_mpi_yield_when_idle": "1"}
    root = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    base = {name: value for name, value in _environment(None).items() if name != "OMP_NUM_THREADS"}
    return base | own | root | more


def launch(*words: str | Path) -> list[str]:
    """`python -m horovod_launch run WORDS`."""
    return [sys.executable, "-m", "horovod_launch", "run", *map(str, words)]
