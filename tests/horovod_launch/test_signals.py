"""Signals to `horovod_launch run`: ranks save and stop, and do not outlive the launcher. They need no TensorFlow."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from horovod_launch.command import Launch
from horovod_launch.jobs import Outcome
from horovod_launch.restarts import end_line
from tests.conftest import ROOT
from tests.hosts import programs
from tests.hosts.hosts import wait_for

pytestmark = pytest.mark.ranks
LAUNCHERS = pytest.mark.parametrize("gloo", [(), ("--gloo",)], ids=["mpi", "gloo"])
DEAF = """
import sys, time
sys.stdout.write("ready\\n")
sys.stdout.flush()
time.sleep(100)
"""


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = programs.write(tmp_path_factory.mktemp("modules"))
    (folder / "deaf").mkdir()
    (folder / "deaf" / "train.py").write_text(DEAF)
    return folder


def started(modules: Path, module: str, *words: str | Path) -> subprocess.Popen[str]:
    """A job of two ranks, once both run."""
    line = programs.launch("-np", "2", *words, module, "--", "--run-dir", modules / "run")
    env = programs.environment(modules)
    job = subprocess.Popen(line, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert job.stdout
    for _ in range(2):
        next(line for line in job.stdout if line.startswith("ready"))
    return job


def left(modules: Path) -> list[int]:
    """Processes that belong to a job of these modules, launchers included."""
    own = str(modules / "run").encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if own in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


@LAUNCHERS
@pytest.mark.parametrize(
    ("numbers", "status", "saved"),
    [
        ((signal.SIGTERM,), 0, 2),
        ((signal.SIGUSR1,), 0, 2),
        ((signal.SIGINT,), 130, 2),
    ],
    ids=["SIGTERM", "SIGUSR1", "SIGINT"],
)
def test_ranks_save_and_stop(
    gloo: tuple[str, ...], numbers: Sequence[int], status: int, saved: int, modules: Path
) -> None:
    job = started(modules, "toy.train", *gloo)
    for number in numbers:
        job.send_signal(number)
    out, _ = job.communicate(timeout=60)
    assert job.returncode == status
    assert out.count("saved on ") == saved
    assert not left(modules)


@LAUNCHERS
def test_a_second_interrupt_ends_ranks_that_do_not_listen(gloo: tuple[str, ...], modules: Path) -> None:
    (modules / "deaf" / "train.py").write_text(f"import signal\nsignal.signal(signal.SIGUSR1, signal.SIG_IGN)\n{DEAF}")
    job = started(modules, "deaf.train", *gloo)
    assert job.stderr
    job.send_signal(signal.SIGINT)
    next(line for line in job.stderr if line.startswith("stopping all ranks; Ctrl-C again ends them at once"))
    job.send_signal(signal.SIGINT)
    job.communicate(timeout=60)
    assert job.returncode == 130
    assert not left(modules)


@LAUNCHERS
def test_a_signal_before_the_ranks_listen_is_not_success(gloo: tuple[str, ...], modules: Path) -> None:
    (modules / "deaf" / "train.py").write_text(DEAF)
    job = started(modules, "deaf.train", *gloo)
    job.send_signal(signal.SIGTERM)
    _, err = job.communicate(timeout=60)
    assert job.returncode == 143
    assert err.endswith("stopped by SIGTERM before the ranks could save anything new\n")


@LAUNCHERS
def test_ranks_end_with_the_launcher(gloo: tuple[str, ...], modules: Path) -> None:
    job = started(modules, "toy.train", *gloo)
    assert len(left(modules)) > 2
    job.kill()
    job.wait()
    wait_for(lambda: not left(modules), "the end of all ranks", timeout=30)


LISTENS = """
import sys, time
from recsys_core.training.stop_signal import StopSignal
with StopSignal().listening() as stop:
    sys.stdout.write("ready\\n")
    sys.stdout.flush()
    while not stop.received:
        time.sleep(0.05)
    sys.stdout.write(f"stopped by {stop.name}\\n")
"""


@LAUNCHERS
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_ranks_name_the_signal_that_was_sent(gloo: tuple[str, ...], number: signal.Signals, modules: Path) -> None:
    """They get SIGUSR1, which mpirun passes on, and named that."""
    (modules / "deaf" / "train.py").write_text(LISTENS)
    job = started(modules, "deaf.train", *gloo)
    job.send_signal(number)
    out, _ = job.communicate(timeout=60)
    assert out == f"stopped by {number.name}\n" * 2


def test_the_last_line_names_the_way_on(tmp_path: Path) -> None:
    launch = Launch(ranks=2, module="vaecf.train", arguments=("--run-dir", str(tmp_path)))
    lost, killed_, silent = (Outcome(status, stopped=False) for status in (255, 137, 6))
    assert end_line(launch, lost) is None  # no run was begun there
    (tmp_path / "run.json").touch()
    way = f"; go on from the last checkpoint with --resume {tmp_path}"
    assert end_line(launch, lost) == f"the job ended with status 255 (a host was lost){way}"
    assert end_line(launch, killed_) == f"the job ended with status 137 (signal 9, Killed){way}"
    assert end_line(launch, silent) is None  # the ranks said it
    assert end_line(launch, Outcome(143, stopped=True)) is None
    assert end_line(launch, Outcome(250, stopped=False)) is None
    assert end_line(Launch(ranks=2, module="vaecf.evaluate"), lost) is None


def killed(job: subprocess.Popen[str], modules: Path) -> int:
    """Kill a rank under Gloo, and return its number."""
    for pid in left(modules):
        number = Path(f"/proc/{pid}/environ").read_bytes().partition(b"\0HOROVOD_RANK=")[2][:1]
        if number:
            subprocess.run(["kill", "-9", str(pid)], check=True)
            return int(number)
    raise AssertionError("no rank runs")


def test_a_killed_rank_is_named_and_restarted(modules: Path) -> None:
    job = started(modules, "toy.train", "--gloo", "--restarts", "1")
    rank = killed(job, modules)
    out, err = job.communicate(timeout=60)
    assert job.returncode == 0
    run = modules / "run"
    assert err == (
        f"rank {rank} on localhost was ended by signal 9 (Killed); the other ranks are ended\n"
        f"status 137: restart 1 of 1, {run} goes on with 2 ranks on localhost\n"
    )
    assert out.count(f" of 2: --resume {run}\n") == 2


def test_a_keeper_whose_launcher_has_ended_starts_nothing() -> None:
    line = [sys.executable, "-m", "horovod_launch.keeper"]
    done = subprocess.run(line, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "")


def test_a_child_of_a_process_that_has_ended_ends() -> None:
    """The parent can end before its child asks for the signal."""
    code = (
        "import os, time; from horovod_launch.jobs import dies_with; dies_with(os.getppid() + 1, 15)(); time.sleep(60)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=30).returncode == -signal.SIGTERM


def test_the_status_of_a_job_whose_mpirun_the_watchdog_had_to_kill(modules: Path) -> None:
    """mpirun waits for a host that is cut off: it is killed, and 137 would hide why the job ended."""
    job = started(modules, "toy.train")
    line = [
        "import os, sys",
        "from recsys_core.other_processes import end_launcher, parent_of",
        "rank = int(sys.argv[1])",
        "variables = dict(v.split('=', 1) for v in open(f'/proc/{rank}/environ').read().split(chr(0)) if v)",
        "os.environ.update(variables)",
        "end_launcher(parent_of(rank), 6)",
    ]
    ranks = [pid for pid in left(modules) if b"OMPI_COMM_WORLD_RANK" in Path(f"/proc/{pid}/environ").read_bytes()]
    subprocess.run([sys.executable, "-c", "; ".join(line), str(ranks[0])], cwd=ROOT, check=True, timeout=60)
    job.communicate(timeout=60)
    assert job.returncode == 6
    assert not left(modules)
