"""`horovod_launch run` on several hosts, with ranks that need no TensorFlow: networks, signals, lost hosts."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.hosts import programs
from tests.hosts.hosts import Hosts, hosts, signal_to, wait_for

LAUNCHERS = pytest.mark.parametrize("gloo", [(), ("--gloo",)], ids=["mpi", "gloo"])
PAIR = ("-H", "h1:1,h2:1")


@pytest.fixture(scope="module")
def there() -> Iterator[Hosts]:
    """Two hosts, each with a bridge of Docker: the same address on both."""
    with hosts(["h1", "h2"], prefix="launching") as up:
        for name in up.names:
            add = (
                "ip link add docker0 type bridge && ip address add 172.17.0.1/16 dev docker0 && ip link set docker0 up"
            )
            assert up.run(name, ["bash", "-c", add]).returncode == 0
        yield up


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return programs.write(tmp_path_factory.mktemp("modules"))


def started(there: Hosts, modules: Path, *words: str | Path, **more: str) -> subprocess.Popen[str]:
    """A toy training on both hosts, once all ranks run."""
    line = programs.launch(*PAIR, *words, "toy.train", "--", "--run-dir", there.own_disk / "run")
    job = there.start("h1", line, programs.environment(modules, **more))
    assert job.stdout
    for _ in range(2):
        next(line for line in job.stdout if line.startswith("ready on h"))
    return job


def toys(there: Hosts) -> list[int]:
    """Processes of the toy training on both hosts, launchers included."""
    return [pid for host in there.names for pid in there.pids(host, "toy.train")]


@LAUNCHERS
def test_variables_and_shared_addresses(gloo: tuple[str, ...], there: Hosts, modules: Path) -> None:
    """Ranks under MPI hung where they tried the address of Docker's bridge, which both hosts have."""
    given = {"TF_CUSTOM": "1", "NCCL_CUSTOM": "2", "UCX_CUSTOM": "3", "RECSYS_CUSTOM": "4", "XLA_FLAGS": "--a b"}
    env = programs.environment(modules, UNKNOWN="5", **given)
    done = there.run("h1", programs.launch(*PAIR, *gloo, "says"), env)
    assert done.returncode == 0, done.stderr
    values = "TF_CUSTOM=1 NCCL_CUSTOM=2 UCX_CUSTOM=3 RECSYS_CUSTOM=4 XLA_FLAGS=--a b OMP_NUM_THREADS=None UNKNOWN="
    lines = sorted(done.stdout.splitlines())
    assert [line[: -len("None") if line.startswith("h2") else -1] for line in lines] == [
        f"h1 of 2: {values}",
        f"h2 of 2: {values}",
    ]


@LAUNCHERS
def test_the_status_of_the_first_rank_that_fails(gloo: tuple[str, ...], there: Hosts, modules: Path) -> None:
    done = there.run("h1", programs.launch(*PAIR, *gloo, "fails", "--", "4"), programs.environment(modules))
    assert done.returncode == 4
    assert "error: no" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("gloo", "number", "status"), [((), signal.SIGTERM, 0), (("--gloo",), signal.SIGINT, 130)], ids=["mpi", "gloo"]
)
def test_signals_reach_ranks_on_every_host(
    gloo: tuple[str, ...], number: int, status: int, there: Hosts, modules: Path
) -> None:
    job = started(there, modules, *gloo)
    signal_to(job, number)
    out, _ = job.communicate()
    assert job.returncode == status
    assert sorted(line for line in out.splitlines() if line.startswith("saved")) == ["saved on h1", "saved on h2"]
    wait_for(lambda: not toys(there), "the end of all ranks", timeout=30)


@LAUNCHERS
def test_ranks_end_with_the_launcher(gloo: tuple[str, ...], there: Hosts, modules: Path) -> None:
    """Also those of other hosts, and where the launcher had no time to do anything about it."""
    job = started(there, modules, *gloo)
    assert len(toys(there)) > 2
    signal_to(job, signal.SIGKILL)
    wait_for(lambda: not toys(there), "the end of all ranks", timeout=30)


def test_remote_ranks_end_with_mpirun(there: Hosts, modules: Path) -> None:
    job = started(there, modules)
    subprocess.run(["kill", "-9", *map(str, there.pids("h1", "mpirun -np"))], check=True)
    assert job.wait() == 137
    wait_for(lambda: not toys(there), "the end of all ranks", timeout=30)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("-H", "h1:1,h9:1"),
            "error: h9 cannot be reached by ssh (Could not resolve hostname h9",
        ),
        (
            (*PAIR, "--network", "10.99.0.0/16"),
            "error: h1 has no address of its own in --network 10.99.0.0/16; its addresses: eth0 10.77.0.1",
        ),
    ],
)
def test_hosts_that_cannot_take_part(words: tuple[str, ...], said: str, there: Hosts, modules: Path) -> None:
    done = there.run("h1", programs.launch(*words, "says"), programs.environment(modules))
    assert done.returncode == 2
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1


def test_a_check_names_a_host_that_does_not_answer(there: Hosts, modules: Path) -> None:
    line = programs.launch("-H", "h1:2,h2:1,h9:1", "--check")
    done = there.run("h1", line, programs.environment(modules))
    assert done.returncode == 2
    rows = [row.split() for row in done.stdout.splitlines()]
    assert rows[0][:6] == ["host", "answer", "address", "cores", "ranks", "threads"]
    assert rows[1][:4] == ["h1", "here", "10.77.0.1", "eth0"]
    assert (rows[2][0], rows[2][2:5]) == ("h2", ["s", "10.77.0.2", "eth0"])
    assert len(rows) == 3
    assert done.stderr.startswith("error: h9 cannot be reached by ssh (")


def test_a_folder_that_another_host_lacks(there: Hosts, modules: Path) -> None:
    (there.disk("h1") / "only-here").mkdir(exist_ok=True)
    line = f"cd {there.own_disk}/only-here && exec {' '.join(programs.launch(*PAIR, 'says'))}"
    done = there.run("h1", ["bash", "-c", line], programs.environment(modules))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: h2 has no folder {there.own_disk}/only-here: ranks start in this folder")


@LAUNCHERS
def test_a_host_that_is_cut_off_is_left_out_at_a_restart(gloo: tuple[str, ...], there: Hosts, modules: Path) -> None:
    """It is noticed some time after RECSYS_SILENCE_SECONDS, without help of the ranks."""
    job = started(there, modules, *gloo, "--restarts", "2", RECSYS_SILENCE_SECONDS="4")
    there.link("h2", up=False)
    try:
        out, err = job.communicate(timeout=100)
        assert job.returncode == 0, err
        assert out.endswith(f"ready on h1 rank 0 of 1: --resume {there.own_disk}/run\n")
        line = next(line for line in err.splitlines() if "restart 1 of 2" in line)
        assert line.startswith("h2 cannot be reached by ssh (")
        assert line.endswith(f": restart 1 of 2, {there.own_disk}/run goes on with 1 rank on h1")
    finally:
        there.link("h2", up=True)
