"""The parts of the measurement in order of worth: the process of each, and its time limit.

A process prints lines `RESULT {json}` (see `recsys_core.measuring.processes`), one for each figure it has.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from benchmarks.gpu.sizes import Setting, Sizes
from benchmarks.shapes import HIDDEN, LATENT, NEGATIVES, SHAPES

USUAL_MINUTES = 8.0
"""The time limits of the parts are for this budget; for another they are longer or shorter in proportion."""
PEERS = ("PyTorch, VAE-CF", "PyTorch, NeuMF")
TORCH_PROGRAM = Path(__file__).with_name("torch_speed.py")


@dataclass(frozen=True, kw_only=True)
class Part:
    """One process."""

    name: str
    command: Sequence[str]
    limit_s: float
    """Seconds after which the process is ended."""
    needs: str = ""
    """A part that has to succeed before."""
    least_s: float = 10.0
    """The part does not start with less time than that."""
    peer: bool = False
    """Whether it is PyTorch, which may belong to another Python."""
    env: dict[str, str] = field(default_factory=dict)


def _module(name: str, *words: str) -> list[str]:
    return [sys.executable, "-m", f"benchmarks.gpu.{name}", *words]


def peer_words(setting: Setting) -> str:
    """A setting as the PyTorch program reads it, which imports nothing of this project: JSON with all sizes."""
    sizes = {"hidden": HIDDEN, "latent": LATENT} if setting.model == "vae" else asdict(SHAPES[setting.model])
    sizes = {name: value for name, value in sizes.items() if name != "batch"}
    return json.dumps({**asdict(setting), **sizes, "negatives": NEGATIVES})


def parts(sizes: Sizes, *, work: Path, data: Path | None, torch_python: str, on_cpu: bool) -> list[Part]:
    """All parts in order.

    Args:
        work: folder of the files that the parts write.
        data: prepared data set; None to make one of synthetic ratings.
    """
    made = work / sizes.data[2]  # named after its shape, so that --cpu does not take the place of the large one
    where = ["--data", str(data or made)]
    seconds = ["--seconds", str(sizes.seconds)]
    needs = "" if data else "data"

    def step(kind: str, settings: Sequence[Setting]) -> list[str]:
        return _module("step_speed", *where, *seconds, "--step", kind, *map(str, settings))

    def peer(settings: Sequence[Setting]) -> list[str]:
        device = ["--device", "cpu"] if on_cpu else []
        return [torch_python, str(TORCH_PROGRAM), *where, *seconds, *device, *map(peer_words, settings)]

    def run(words: Sequence[str]) -> list[str]:
        return _module("training_run", *where, "--work", str(work), *words)

    tests = [sys.executable, "-m", "pytest", "-q", "--timeout", "100", "-p", "benchmarks.gpu.pytest_results"]
    making = [sys.executable, "-m", "data_prep", *sizes.data, "--out", str(made)]
    requests = ["--answers", str(sizes.answers), "--batches", *map(str, sizes.requests)]
    speed = [
        Part(name="compiled step, VAE-CF", command=step("compiled", sizes.vae), limit_s=80, needs=needs),
        Part(name=PEERS[0], command=peer(sizes.vae_peer), limit_s=80, needs=needs, peer=True),
        Part(name="compiled step, NeuMF", command=step("compiled", sizes.ncf), limit_s=45),
        Part(name=PEERS[1], command=peer(sizes.ncf), limit_s=45, peer=True),
    ]
    rest = [
        Part(name="evaluation", command=_module("evaluation_speed", *where), limit_s=30, needs=needs),
        Part(name="inference", command=_module("latency", *where, *requests), limit_s=40, needs=needs),
        Part(name="short run", command=run(sizes.short_run), limit_s=50, needs=needs),
        Part(
            name="profile",
            command=_module("profile_step", *where, "--work", str(work), str(sizes.profile)),
            limit_s=40,
            needs=needs,
        ),
        Part(name="whole run", command=run(sizes.whole_run), limit_s=150, needs="short run", least_s=50),
        Part(name="sparse step, VAE-CF", command=step("sparse", sizes.vae_sparse), limit_s=70, needs=needs),
    ]
    first = [
        *([] if data else [Part(name="data", command=making, limit_s=60)]),
        Part(
            name="tests",
            command=[*tests, *sizes.tests],
            limit_s=150,
            env={"GPU_TESTS_ON": "cpu"} if on_cpu else {},
        ),
    ]
    return [*first, *speed, *rest]
