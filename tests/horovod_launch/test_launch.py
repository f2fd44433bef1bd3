"""Launch commands, installation checks and cluster scripts."""

from __future__ import annotations

import json
import subprocess

import pytest

from horovod_launch.command import Launch, command, environment
from horovod_launch.install import SetupError, check_system, horovod_flags
from horovod_launch.templates import Cluster, mpi_job, slurm


def line(launch: Launch, cores: int, is_root: bool = False) -> str:
    return " ".join(command(launch, cores, environment(launch, cores, {"PATH": "/bin"}), is_root))


def test_one_rank_needs_no_launcher() -> None:
    assert " -m vaecf.train --x 1" in line(Launch(ranks=1, module="vaecf.train", arguments=("--x", "1")), 8)
    assert "mpirun" not in line(Launch(ranks=1, module="m"), 8)


@pytest.mark.parametrize(
    ("ranks", "cores", "threads", "bound"), [(4, 4, "1", "core"), (2, 8, "4", "none"), (4, 2, "1", "none")]
)
def test_threads_and_binding(ranks: int, cores: int, threads: str, bound: str) -> None:
    launch = Launch(ranks=ranks, module="m")
    assert environment(launch, cores, {})["OMP_NUM_THREADS"] == threads
    assert f"--bind-to {bound}" in line(launch, cores)


def test_waiting_ranks_yield_only_when_there_are_too_many() -> None:
    assert environment(Launch(ranks=4, module="m"), 2, {})["OMPI_MCA_mpi_yield_when_idle"] == "1"
    assert "OMPI_MCA_mpi_yield_when_idle" not in environment(Launch(ranks=2, module="m"), 2, {})


def test_what_the_user_set_stays() -> None:
    assert environment(Launch(ranks=2, module="m"), 8, {"OMP_NUM_THREADS": "3"})["OMP_NUM_THREADS"] == "3"
    assert environment(Launch(ranks=2, module="m", threads=2), 8, {"OMP_NUM_THREADS": "3"})["OMP_NUM_THREADS"] == "2"


def test_root_gloo_and_hosts() -> None:
    assert "--allow-run-as-root" in line(Launch(ranks=2, module="m"), 2, is_root=True)
    assert "--allow-run-as-root" not in line(Launch(ranks=2, module="m"), 2)
    assert line(Launch(ranks=2, module="m", gloo=True), 2).startswith("horovodrun --gloo -np 2 -H localhost:2")
    assert "-H a:2,b:2" in line(Launch(ranks=4, module="m", hosts="a:2,b:2"), 2)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ranks": 0}, "-np is 0"),
        ({"ranks": 5, "hosts": "a:2,b:2"}, "4 slots, fewer than -np 5"),
        ({"ranks": 1, "hosts": "a:x"}, "is not host:slots"),
        ({"ranks": 1, "threads": 0}, "--threads is 0"),
    ],
)
def test_bad_launches(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Launch(module="m", **values)


def test_slurm_script_is_valid_shell() -> None:
    script = slurm(
        Launch(ranks=8, module="vaecf.train", arguments=("--run-dir", "a b")), Cluster(nodes=2, gpus_per_node=4)
    )
    assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
    assert "#SBATCH --ntasks-per-node=4" in script
    assert "#SBATCH --gpus-per-node=4" in script
    assert "--run-dir 'a b'" in script


def test_mpi_job_has_what_the_operator_needs() -> None:
    job = json.loads(mpi_job(Launch(ranks=4, module="vaecf.train"), Cluster(nodes=2, gpus_per_node=2)))
    assert (job["apiVersion"], job["kind"], job["spec"]["slotsPerWorker"]) == ("kubeflow.org/v2beta1", "MPIJob", 2)
    roles = job["spec"]["mpiReplicaSpecs"]
    assert (roles["Launcher"]["replicas"], roles["Worker"]["replicas"]) == (1, 2)
    worker = roles["Worker"]["template"]["spec"]["containers"][0]
    assert worker["resources"]["limits"] == {"cpu": 8, "nvidia.com/gpu": 2}


def test_uneven_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="-np 3 cannot be shared evenly by --nodes 2"):
        slurm(Launch(ranks=3, module="m"), Cluster(nodes=2))


@pytest.mark.parametrize(
    ("version", "tools", "venv", "message"),
    [
        ((3, 13), {}, True, r"Python 3.13 found, 3.10, 3.11 or 3.12 needed.*apt-get install"),
        ((3, 11), {}, False, "apt-get install -y python3.11-venv"),
        ((3, 12), {"c++ compiler": None}, True, r"no c\+\+ compiler found.*apt-get install -y g\+\+"),
    ],
)
def test_a_missing_part_names_its_command(version: tuple, tools: dict, venv: bool, message: str) -> None:
    with pytest.raises(SetupError, match=message):
        check_system(version, tools, venv)


def test_gpu_build_flags() -> None:
    assert horovod_flags(True, 4)["HOROVOD_GPU_OPERATIONS"] == "NCCL"
    assert "HOROVOD_GPU_OPERATIONS" not in horovod_flags(False, 4)
    assert horovod_flags(False, 4)["MAKEFLAGS"] == "-j4"
