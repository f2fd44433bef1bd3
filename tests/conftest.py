"""What many tests share: a tiny prepared data set, the real ratings where they are, and running commands for real."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

import recsys_core  # noqa: F401 - sets what TensorFlow reads from the environment

ROOT = Path(__file__).resolve().parent.parent
SHARED_DATA = ROOT.parent / "shared" / "data"
# A test must not fail because the machine is busy: examples have no time limit.
settings.register_profile("untimed", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")
Command = Callable[..., "subprocess.CompletedProcess[str]"]
os.environ.setdefault("RECSYS_BUSY", "1")  # other tests run beside those of the benchmarks


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Parallel workers (`--dist loadgroup`) take whole files, and one takes all that needs trained exports."""
    for item in items:
        folder, file = item.path.relative_to(ROOT).parent, item.path.name
        group = "serving" if "serving" in folder.parts else f"{folder}/{file}"
        item.add_marker(pytest.mark.xdist_group(group))


@pytest.fixture(scope="session", autouse=True)
def _interrupts_are_heard() -> None:
    """A shell ignores Ctrl-C in commands that it starts in the background, and so would all that tests start."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def _products_in_float32() -> None:
    """On a GPU TensorFlow multiplies float32 in TF32 until a model is made, and tests compare its products with others.

    Tests that do not import TensorFlow must not wait for it.
    """
    if "tensorflow" in sys.modules:
        from recsys_core import numerics

        numerics.use_float32_products()


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """600 users and 300 items with a structure that can be learnt, prepared by the real command."""
    from data_prep.__main__ import main

    folder = tmp_path_factory.mktemp("data") / "tiny"
    assert main(["synthetic", "--like", "tiny", "--out", str(folder), "--held-out-users", "60"]) == 0
    return folder


@pytest.fixture(scope="session")
def tiny_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with an item of every user held out."""
    from data_prep.__main__ import main

    folder = tmp_path_factory.mktemp("data") / "tiny-pairs"
    words = ["synthetic", "--like", "tiny", "--protocol", "leave-one-out", "--out", str(folder)]
    assert main(words) == 0
    return folder


@pytest.fixture(scope="session")
def tiny_items(tiny_pairs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, with several items of most users held out, and without candidates."""
    from recsys_core.dataset import Dataset
    from tests.item_splits import items_held_out, write

    return write(items_held_out(Dataset.open(tiny_pairs)), tmp_path_factory.mktemp("data") / "tiny-items")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real ratings, which may not be redistributed."""
    if not SHARED_DATA.is_dir():
        pytest.skip("no real ratings here (MovieLens may not be redistributed); see docs/data.md for where to get them")
    return SHARED_DATA


def _environment(extra: dict[str, str] | None) -> dict[str, str]:
    env = {k: v for k, v in os.environ.items() if not k.startswith(("OMPI_", "PMIX_", "HOROVOD_"))}
    env["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{env['PATH']}"
    env["TF_CPP_MIN_LOG_LEVEL"] = "3"
    return env | (extra or {})


@pytest.fixture(scope="session")
def command() -> Command:
    """Run a command line from the repository's root and capture what it prints."""

    def run(
        line: Sequence[str | Path], timeout: float = 240, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        words = [str(word) for word in line]
        return subprocess.run(words, cwd=ROOT, env=_environment(env), capture_output=True, text=True, timeout=timeout)

    return run


IN_PROCESS = (
    "data_prep",
    "vaecf.train",
    "vaecf.evaluate",
    "vaecf.tune",
    "ncf_tf.train",
    "ncf_tf.evaluate",
    "ncf_tf.tune",
)
"""Commands that `python` runs in the process of the tests: TensorFlow's start takes longer than most of them."""


def _run_here(module: str, words: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """A command of `IN_PROCESS`, as if it had a process of its own."""
    main = importlib.import_module(f"{module}.__main__" if module == "data_prep" else module).main
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = main(list(words))
        except SystemExit as error:
            status = error.code if isinstance(error.code, int) else int(bool(error.code))
    return subprocess.CompletedProcess([module, *words], status, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def python(command: Command) -> Command:
    """Run `python -m MODULE ARGS`; tests of ranks, signals and full disks start processes themselves."""

    def run(*words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        if words[0] in IN_PROCESS and not options:
            return _run_here(str(words[0]), [str(word) for word in words[1:]])
        return command([sys.executable, "-m", *words], **options)

    return run


@pytest.fixture(scope="session")
def on_ranks(command: Command) -> Command:
    """Run `horovodrun -np N python -m MODULE ARGS`."""

    def run(ranks: int, *words: str | Path, gloo: bool = False, **options: object) -> subprocess.CompletedProcess[str]:
        launcher = ["horovodrun", *(["--gloo"] if gloo else []), "-np", str(ranks)]
        return command([*launcher, sys.executable, "-m", *words], **options)

    return run
