"""Launch commands and cluster scripts."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from horovod_launch.__main__ import main
from horovod_launch.command import Launch, command, environment, passed_on
from horovod_launch.templates import Cluster, mpi_job, slurm
from tests.conftest import Command, _environment


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
    assert "-H a:2,b:2" in line(Launch(ranks=4, module="m", hosts="a:2,b:2"), 2)
    assert "-H a:2,b:1 " in line(Launch(ranks=3, module="m", hosts="a:2,b:2,c:4"), 2)


def test_several_hosts_have_their_own_threads_and_transport() -> None:
    """Ranks divide the cores of their own host, and UCX is not shut out."""
    there = Launch(ranks=4, module="m", hosts="a.invalid:2,b.invalid:2")
    assert "OMP_NUM_THREADS" not in environment(there, 8, {})
    assert environment(there, 8, {"OMP_NUM_THREADS": "3"})["OMP_NUM_THREADS"] == "3"
    assert environment(replace(there, threads=2), 8, {})["OMP_NUM_THREADS"] == "2"
    assert " ob1" not in line(there, 8)
    assert "--bind-to none" in line(replace(there, threads=1), 8)
    assert "--mca pml ob1" in line(Launch(ranks=2, module="m"), 8)


def test_what_ranks_on_other_hosts_get() -> None:
    names = "PATH PYTHONHASHSEED XLA_FLAGS NVIDIA_TF32_OVERRIDE TF_A NCCL_A UCX_A HOROVOD_A OMPI_MCA_A RECSYS_A".split()
    env = dict.fromkeys([*names, "HOME", "CUDA_VISIBLE_DEVICES", "SSH_AUTH_SOCK"], "0,1")
    assert passed_on(env) == sorted(names)
    assert passed_on({"CUDA_VISIBLE_DEVICES": ""}) == ["CUDA_VISIBLE_DEVICES"]  # no GPU, on any host


def test_a_lost_host_and_a_silent_rank_have_the_same_time() -> None:
    there = Launch(ranks=2, module="m", hosts="a.invalid:1,b.invalid:1")
    env = environment(there, 2, {"RECSYS_SILENCE_SECONDS": "100"})
    assert env["HOROVOD_GLOO_TIMEOUT_SECONDS"] == "100"
    keys = ("time", "intvl", "probes")
    assert [env[f"OMPI_MCA_oob_tcp_keepalive_{key}"] for key in keys] == ["25", "10", "10"]
    assert environment(there, 2, {})["HOROVOD_GLOO_TIMEOUT_SECONDS"] == "300"
    assert environment(there, 2, {"HOROVOD_GLOO_TIMEOUT_SECONDS": "7"})["HOROVOD_GLOO_TIMEOUT_SECONDS"] == "7"
    off = environment(there, 2, {"RECSYS_SILENCE_SECONDS": "0"})  # it was refused, though ranks take it
    assert (off["RECSYS_SILENCE_SECONDS"], off["HOROVOD_GLOO_TIMEOUT_SECONDS"]) == ("0", "300")
    with pytest.raises(ValueError, match="RECSYS_SILENCE_SECONDS is 'x', expected a whole number of seconds; 0 switch"):
        environment(there, 2, {"RECSYS_SILENCE_SECONDS": "x"})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"ranks": 0}, "-np is 0"),
        ({"ranks": 5, "hosts": "a:2,b:2"}, "4 slots, fewer than -np 5"),
        ({"ranks": 1, "hosts": "a:x"}, "is not host:slots"),
        ({"ranks": 1, "hosts": "a:0"}, "is not host:slots"),
        ({"ranks": 1, "threads": 0}, "--threads is 0"),
        ({"ranks": 1, "restarts": -1}, "--restarts is -1"),
        ({"ranks": 1, "network": "10.0"}, "--network is '10.0', expected an IPv4 network as 10.0.0.0/8"),
        ({"ranks": 1, "network": "fd00::/8"}, "--network is 'fd00::/8', expected an IPv4 network as 10.0.0.0/8"),
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


@pytest.mark.ranks
def test_the_script_of_the_mpi_job_starts_ranks(tmp_path: Path) -> None:
    """With the Open MPI that is on PATH: no image's folder is written into it."""
    code = 'import os, sys; sys.stdout.write(f\'{os.environ["OMPI_COMM_WORLD_SIZE"]} {os.environ["TF_A"]}\\n\')'
    (tmp_path / "says.py").write_text(code)
    job = json.loads(mpi_job(Launch(ranks=2, module="says"), Cluster()))
    container = job["spec"]["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]
    env = _environment({"PYTHONPATH": str(tmp_path), "TF_A": "b"})
    done = subprocess.run(container["command"], env=env, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "2 b\n2 b\n"), done.stderr
    assert "/app" not in json.dumps(job)


def test_scripts_for_several_nodes_leave_the_transport_open() -> None:
    one, two = Launch(ranks=2, module="m"), Launch(ranks=2, module="m", timeline="a b")
    assert "--mca pml ob1" in slurm(one, Cluster())
    assert "ob1" not in slurm(two, Cluster(nodes=2)) + mpi_job(two, Cluster(nodes=2))
    assert "export HOROVOD_TIMELINE='a b'" in slurm(two, Cluster(nodes=2))
    assert "trap 'kill -USR1" in slurm(one, Cluster())
    with pytest.raises(ValueError, match="--gloo is for run"):
        slurm(Launch(ranks=2, module="m", gloo=True), Cluster())


def test_uneven_nodes_are_refused() -> None:
    with pytest.raises(ValueError, match="-np 3 cannot be shared evenly by --nodes 2"):
        slurm(Launch(ranks=3, module="m"), Cluster(nodes=2))


@pytest.mark.parametrize("script", [slurm, mpi_job])
def test_a_node_with_more_ranks_than_gpus_is_refused(script: Callable[[Launch, Cluster], str]) -> None:
    words = "--gpus-per-node is 2, fewer than the 4 ranks of a node, .*: take -np 4 or --gpus-per-node 4"
    with pytest.raises(ValueError, match=words):
        script(Launch(ranks=8, module="m"), Cluster(nodes=2, gpus_per_node=2))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("", "ACTION is missing; see python -m horovod_launch --help"),
        ("rum", "ACTION is 'rum', expected one of: install, run, doctor, slurm, k8s; did you mean run?"),
        ("run", "module is missing; see python -m horovod_launch run --help"),
        ("run -np two m", "-np/--ranks is 'two', expected a whole number; see python -m horovod_launch run --help"),
        ("run -np", "-np/--ranks has no value"),
        ("run --grloo m", "unknown flag --grloo; did you mean --gloo?"),
        ("slurm --node-count 3 m", "unknown flag --node-count"),
        (
            "run -np 2 vaecf.train --data d",
            "--data stands after vaecf.train; write -- between them, as: vaecf.train -- --data ...",
        ),
    ],
)
def test_bad_flags_are_one_line(words: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: {message}")
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", [["--help"], ["run", "--help"], ["slurm", "--help"], ["k8s", "--help"]])
def test_help_has_an_example_and_fits_a_page(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 0
    text = capsys.readouterr().out
    assert "-- --data data/mine --run-dir runs/a" in text
    assert text.count("\n") <= 50


SPEAKER = """
import sys
sys.stdout.write("first line\\nsecond line\\n")
sys.stderr.write("an error\\n")
sys.stderr.write("half\\rwhole\\n")
sys.exit(3)
"""


@pytest.mark.ranks
@pytest.mark.parametrize("launcher", [(), ("--gloo",)])
def test_lines_and_status_of_ranks_are_passed_on(launcher: tuple[str, ...], command: Command, tmp_path: Path) -> None:
    """horovodrun writes [0]<stdout>: before every line, and turns every status into 1 under Gloo."""
    (tmp_path / "speaker.py").write_text(SPEAKER)
    line = [sys.executable, "-m", "horovod_launch", "run", "-np", "2", *launcher, "speaker"]
    done = command(line, env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 3
    lines = done.stdout.splitlines() + done.stderr.splitlines()
    assert lines.count("first line") == lines.count("second line") == 2
    assert "an error" in lines
    assert "half" in lines and "whole" in lines  # a carriage return ends a line here
    assert "<std" not in done.stdout + done.stderr
