"""Processes that a launcher started and that would not join each other are refused."""

from __future__ import annotations

import subprocess
import sys

import pytest

from recsys_core.launchers import mismatch, refusal
from tests.conftest import ROOT, _environment

ALONE = [
    {},
    # python in a batch script of a job with two tasks
    {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"},
    # srun --pty bash, or srun -n 1, in such a job
    {"SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1"},
    {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "PMIX_RANK": "0"},
    {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "1", "PMI_SIZE": "1", "PMI_RANK": "0"},
    {"PMI_SIZE": "1"},
    {"MPI_LOCALNRANKS": "1"},
    {"PMI_SIZE": "2", "RECSYS_SINGLE": "1"},
    {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "RECSYS_SINGLE": "1"},
]
JOINED = [
    {"OMPI_COMM_WORLD_SIZE": "2", "PMIX_RANK": "1"},
    {"OMPI_COMM_WORLD_SIZE": "2", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2"},  # mpirun in a job uses srun
    {"HOROVOD_GLOO_RENDEZVOUS_ADDR": "10.0.0.1", "HOROVOD_SIZE": "2", "SLURM_PROCID": "1"},
]
APART = [
    ({"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"}, "srun started 2 processes"),
    ({"SLURM_STEPID": "0", "SLURM_NTASKS": "4"}, "srun started 4 processes"),
    ({"SLURM_NTASKS": "2", "SLURM_PROCID": "1"}, "srun started 2 processes"),
    (
        {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "PMIX_RANK": "0", "PMIX_NAMESPACE": "a"},
        "srun started 2 processes",
    ),
    ({"PMI_SIZE": "2", "PMI_RANK": "0"}, "MPICH, Intel MPI or srun started 2 processes"),
    ({"MPI_LOCALNRANKS": "2"}, "MPICH or Intel MPI started 2 processes"),
    ({"MV2_COMM_WORLD_SIZE": "8"}, "MVAPICH started 8 processes"),
    ({"PMIX_RANK": "1", "PMIX_NAMESPACE": "a"}, "a launcher with PMIx started this process"),
    ({"PMI_SIZE": "2", "RECSYS_SINGLE": "0"}, "MPICH, Intel MPI or srun started 2 processes"),
]


@pytest.mark.parametrize("env", ALONE + JOINED)
def test_what_may_train(env: dict[str, str]) -> None:
    assert refusal(env) == ""


@pytest.mark.parametrize(("env", "said"), APART)
def test_several_worlds_of_one_are_refused(env: dict[str, str], said: str) -> None:
    text = refusal(env)
    assert text.startswith(f"{said}, which would train apart from each other: start with mpirun or python -m ")
    assert text.endswith("or set RECSYS_SINGLE=1 where each process is meant to be alone")
    assert "\n" not in text


@pytest.mark.parametrize("single", ["", "1"])
def test_the_elastic_launcher_is_refused(single: str) -> None:
    env = {"HOROVOD_ELASTIC": "1", "HOROVOD_GLOO_RENDEZVOUS_ADDR": "10.0.0.1", "RECSYS_SINGLE": single}
    assert "run --restarts N" in refusal(env)


def test_ranks_of_another_open_mpi() -> None:
    assert mismatch({}, 1) == mismatch({"OMPI_COMM_WORLD_SIZE": "2"}, 2) == mismatch({"HOROVOD_SIZE": "2"}, 2) == ""
    text = mismatch({"OMPI_COMM_WORLD_SIZE": "4"}, 1)
    assert text.startswith("the launcher started 4 processes, but this one joined 1: ")


def test_a_training_under_srun_ends_in_one_line(tmp_path: object) -> None:
    line = [sys.executable, "-m", "vaecf.train", "--data", str(tmp_path), "--run-dir", f"{tmp_path}/run"]
    env = _environment({"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0"})
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 2
    assert [text for text in done.stderr.splitlines() if text.startswith("error: srun started 2 processes")]
    assert "Traceback" not in done.stderr
