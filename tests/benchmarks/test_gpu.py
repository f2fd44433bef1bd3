"""`python -m benchmarks gpu`: its parts, their limits and records; one line without a GPU; every part on the CPU."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu import card, command, kernels, parts, running
from benchmarks.gpu.command import Course, chosen
from benchmarks.gpu.parts import Part
from benchmarks.gpu.recorder import COMMIT, Recorder
from benchmarks.gpu.sizes import ON_CPU, ON_GPU, Setting
from benchmarks.gpu.tables import as_markdown
from benchmarks.shapes import SHAPES
from recsys_core.measuring.records import read
from tests.conftest import ROOT, Command

CARD = {"card": "NVIDIA H100", "driver": "550.1", "compute_capability": "9.0", "gpu_memory": "81559 MiB"}
SEEN = {"gpus": 1, "tensorflow": "2.17.1", "cuda": "12.3", "cudnn": "8", "environment": {"git_commit": "c0ffee"}}


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def run(text: str, folder: Path, limit_s: float = 60.0) -> tuple[running.Outcome, list[dict[str, Any]]]:
    found: list[dict[str, Any]] = []
    outcome = running.run(
        program(text), limit_s=limit_s, log=folder / "log", env=os.environ, cwd=folder, take=found.append
    )
    return outcome, found


@pytest.mark.skipif(not card.missing(), reason="this machine has a GPU")
def test_without_a_gpu_there_is_one_line(python: Command, tmp_path: Path) -> None:
    done = python("benchmarks", "gpu", "--results", tmp_path / "r.jsonl", "--work", tmp_path)
    assert done.returncode == 2
    assert done.stderr == (
        "error: no NVIDIA GPU here (looked for: nvidia-smi, /dev/nvidia0); run this on a machine with one, "
        "or try every part at small sizes on the CPU with --cpu\n"
    )
    assert not (tmp_path / "r.jsonl").exists()


def test_a_device_file_is_a_gpu(tmp_path: Path) -> None:
    (tmp_path / "nvidia0").touch()
    assert card.missing(tmp_path) == ""


def test_a_gpu_that_tensorflow_does_not_find() -> None:
    assert card.without_tensorflow({}, 1, "2.17.1") == ""
    text = card.without_tensorflow({"card": "NVIDIA H100"}, 0, "2.17.1")
    assert text.startswith("the machine has a GPU (NVIDIA H100), but TensorFlow 2.17.1 finds none")


def test_what_nvidia_smi_says() -> None:
    text = "NVIDIA H100 80GB HBM3, 550.54.15, 9.0, 81559 MiB, 700.00 W\nNVIDIA H100 80GB HBM3, 550.54.15, 9.0, 1, 2\n"
    assert card.parse(text) == {
        "card": "NVIDIA H100 80GB HBM3",
        "driver": "550.54.15",
        "compute_capability": "9.0",
        "gpu_memory": "81559 MiB",
        "power_limit": "700.00 W",
    }
    assert card.parse("") == {}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--only", "speed"], "error: --only speed: unknown part, known are: 'data', 'tests', "),
        (["--minutes", "0"], "error: --minutes is 0.0, expected more than 0"),
        (["--data", "nowhere"], "error: --data nowhere: no prepared data set there"),
    ],
)
def test_a_wrong_value_is_told_first(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    parser.add_argument("--results", type=Path, default=Path("r"))
    assert command.main(parser.parse_args(words)) == 2
    assert capsys.readouterr().err.startswith(message)


def test_a_setting() -> None:
    assert Setting.parse("vae:500:bf16") == Setting(model="vae", batch=500, precision="bf16")
    with pytest.raises(ValueError, match="'vae:x:bf16' is no setting, expected MODEL:BATCH:PRECISION"):
        Setting.parse("vae:x:bf16")


@pytest.mark.parametrize("sizes", [ON_GPU, ON_CPU], ids=["gpu", "cpu"])
def test_the_parts_are_consistent(sizes: Any) -> None:
    known = parts.parts(sizes, work=Path("w"), data=None, torch_python="python3", on_cpu=False)
    names = [part.name for part in known]
    assert names[:3] == ["data", "tests", "compiled step, VAE-CF"] and len({*names}) == len(names)
    assert all(not part.needs or part.needs in names[:k] for k, part in enumerate(known))
    assert all(setting.model in ("vae", *SHAPES) for setting in (*sizes.vae, *sizes.ncf, *sizes.vae_sparse))
    assert {str(s) for s in sizes.vae} & {str(s) for s in sizes.vae_peer}, "some are compared"
    own = parts.parts(sizes, work=Path("w"), data=Path("d"), torch_python="python3", on_cpu=False)
    assert [part.name for part in own] == names[1:]
    assert all("d" in part.command for part in own if "--data" in part.command)


def test_a_chosen_part_brings_what_it_needs() -> None:
    known = parts.parts(ON_CPU, work=Path("w"), data=None, torch_python="python3", on_cpu=True)
    found, reason = chosen(known, ["whole"])
    assert ([part.name for part in found], reason) == (["data", "short run", "whole run"], "")


def test_the_peer_is_told_every_size() -> None:
    words = json.loads(parts.peer_words(Setting.parse("he2017-8:1280:fp32")))
    assert words == {
        "model": "he2017-8", "batch": 1280, "precision": "fp32", "users": 6040, "items": 3706, "pairs": 988129,
        "factors": 8, "tower": [64, 32, 16, 8], "dropout": 0.0, "negatives": 4,
    }  # fmt: skip
    assert json.loads(parts.peer_words(Setting.parse("vae:64:bf16")))["hidden"] == 600


def test_no_program_hides_a_library() -> None:
    names = {path.stem for path in Path(parts.__file__).parent.glob("*.py")}
    assert not names & {*sys.stdlib_module_names, "torch", "numpy"}


def test_results_are_read_while_it_runs(tmp_path: Path) -> None:
    outcome, found = run(
        "print('RESULT {\"a\": 1}'); print('RESULT no json'); print('x RESULT {\"a\": 2} y')", tmp_path
    )
    assert (outcome.state, outcome.reason) == ("done", "")
    assert found == [{"a": 1}, {"a": 2}]


def test_a_failure_says_its_last_line(tmp_path: Path) -> None:
    outcome, found = run("print('RESULT {\"a\": 1}'); raise ValueError('out of memory')", tmp_path)
    assert (outcome.state, outcome.reason) == ("failed", "status 1: ValueError: out of memory")
    assert found == [{"a": 1}]
    assert "Traceback" in (tmp_path / "log").read_text()


def test_a_program_that_is_not_there(tmp_path: Path) -> None:
    outcome = running.run(["./none"], limit_s=1, log=tmp_path / "log", env={}, cwd=tmp_path, take=lambda values: None)
    assert (outcome.state, outcome.reason) == ("failed", "./none: No such file or directory")


def test_at_its_limit_a_part_ends_with_all_that_it_started(tmp_path: Path) -> None:
    child = "import time; time.sleep(600)"
    text = (
        f"import subprocess, sys, time\nchild = subprocess.Popen([sys.executable, '-c', {child!r}])\n"
        "print('SO FAR {\"passed\": 1}'); print('SO FAR {\"passed\": 2}')\n"
        "open('child', 'w').write(str(child.pid))\nsys.stdout.flush(); time.sleep(600)"
    )
    outcome, found = run(text, tmp_path, limit_s=3)
    assert (outcome.state, outcome.reason) == ("stopped", "its 3 s were over")
    assert found == [{"passed": 2}]
    state = Path("/proc", (tmp_path / "child").read_text(), "stat")
    until = time.monotonic() + 20
    while state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z" and time.monotonic() < until:
        time.sleep(0.05)
    assert not state.exists() or state.read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_pytorch_has_an_environment_without_the_packed_libraries() -> None:
    env = {
        "PYTHONPATH": "/packed/site:/packed/app", "LD_LIBRARY_PATH": "/packed/site/nvidia/cublas/lib:/usr/nvidia/lib",
        "XLA_FLAGS": "--x", "HOME": "/root",
    }  # fmt: skip
    expected = {"LD_LIBRARY_PATH": "/usr/nvidia/lib", "HOME": "/root", "PYTHONSAFEPATH": "1"}
    assert running.torch_environment(env) == expected
    assert running.torch_environment({}) == {"PYTHONSAFEPATH": "1"}


def test_a_python_without_pytorch_is_told(tmp_path: Path) -> None:
    text = command.without_torch(str(tmp_path / "python"), {}, True)
    assert text.startswith(f"--torch-python {tmp_path}/python: ")
    if importlib.util.find_spec("torch") is None:
        assert command.without_torch(sys.executable, dict(os.environ), True).startswith(
            f"no PyTorch for {sys.executable}"
        )


def course(tmp_path: Path, minutes: float = 8.0) -> Course:
    args = argparse.Namespace(work=tmp_path, cpu=True, minutes=minutes, torch_python=str(tmp_path / "none"))
    return Course(Recorder(tmp_path / "r.jsonl", CARD, SEEN), args, time.monotonic())


def test_parts_that_cannot_run_are_left_out_with_the_reason(tmp_path: Path) -> None:
    running_parts = course(tmp_path)
    for part in (
        Part(name="data", command=program("raise SystemExit(3)"), limit_s=60),
        Part(name="evaluation", command=program(""), limit_s=60, needs="data"),
        Part(name="peer", command=program(""), limit_s=60, peer=True),
        Part(name="long", command=program(""), limit_s=60, least_s=4_000),
        Part(name="last", command=program('print(\'RESULT {"kind": "gpu-serve", "batch": 1}\')'), limit_s=60),
    ):
        running_parts.run(part)
    found = [row["outcome"] for row in read(tmp_path / "r.jsonl") if row["kind"] == "gpu-part"]
    assert [texts[0] for texts in found] == ["failed", "left out", "left out", "left out", "done"]
    assert found[0][1] == "status 3: it printed nothing"
    assert found[1][1] == "it needs 'data', which was not done"
    assert found[3][1].endswith("s were left, it needs 4000; more with --minutes")
    assert [outcome.bad for outcome in running_parts.outcomes.values()] == [True, False, False, False, False]


def test_every_record_has_card_driver_and_versions(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r.jsonl", CARD, SEEN)
    recorder.add({"kind": "gpu-serve", "signature": "recommend", "batch": 1, "p50_ms": 0.5})
    (row,) = read(tmp_path / "r.jsonl")
    assert row["card"] == row["machine"]["card"] == "NVIDIA H100"
    assert (row["machine"]["driver"], row["machine"]["compute_capability"]) == ("550.1", "9.0")
    assert (row["versions"]["cuda"], row["versions"]["cudnn"], row["versions"]["commit"]) == ("12.3", "8", "c0ffee")
    text = as_markdown(recorder.records)
    assert "Card: NVIDIA H100, driver 550.1, compute capability 9.0, memory 81559 MiB" in text
    assert "| NVIDIA H100 | recommend" in text and "0.500" in text


def test_an_unpacked_copy_knows_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COMMIT, "beef")
    recorder = Recorder(tmp_path / "r.jsonl", {}, {"environment": {"git_commit": None}})
    recorder.add({"kind": "gpu-serve"})
    assert (recorder.records[0]["versions"]["commit"], recorder.records[0]["card"]) == ("beef", "CPU")


def test_ours_over_pytorch_for_the_settings_of_both(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r.jsonl", CARD, SEEN)
    about = {"model": "vae", "precision": "bf16"}
    recorder.add(
        {"kind": "gpu-train", **about, "batch_size": 500, "step": "compiled", "examples_per_second": [30.0, 32.0, 31.0]}
    )
    recorder.add({"kind": "gpu-train", **about, "batch_size": 500, "step": "sparse", "examples_per_second": [9.0]})
    recorder.add({"kind": "gpu-train", **about, "batch_size": 2000, "step": "compiled", "failed": ["out of memory"]})
    for size in (500, 2000):
        recorder.add({"kind": "gpu-peer", **about, "batch_size": size, "torch": "2", "examples_per_second": [20.0]})
    recorder.add_ratios()
    recorder.add_ratios()
    (row,) = (row for row in recorder.records if row["kind"] == "gpu-ratio")
    assert (row["batch_size"], row["over_peer"]) == (500, 1.55)
    assert "1.55" in as_markdown(recorder.records) and "out of memory" in as_markdown(recorder.records)


TESTS = """
import pytest
def test_good(): pass
def test_bad(): assert 0
def test_skipped(): pytest.skip("no")
@pytest.fixture
def broken(): raise OSError
def test_of_a_broken_fixture(broken): pass
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_counts_of_tests(tmp_path: Path, workers: int) -> None:
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "test_no_module.py").write_text("import there_is_none\n")
    words = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "benchmarks.gpu.pytest_results",
        "-n",
        str(workers),
        "--continue-on-collection-errors",
    ]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, *words, str(tmp_path)], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    last = [line.partition("SO FAR ")[2] for line in done.stdout.splitlines() if "SO FAR " in line][-1]
    values = json.loads(last)
    assert (values["passed"], values["skipped"]) == (1.0, 1.0)
    assert {name.rsplit("/", 1)[-1] for name in values["failures"]} == {
        "test_it.py::test_bad", "test_it.py::test_of_a_broken_fixture", "test_no_module.py"
    }  # fmt: skip


def test_kernels_of_a_profile(tmp_path: Path) -> None:
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    space = xplane_pb2.XSpace()
    for plane_name in ("/device:GPU:0", "/host:CPU"):
        plane = space.planes.add(name=plane_name)
        names = ("sm90_xmma_gemm_bf16bf16_bf16f32", "loop_add_fusion", "MemcpyD2H", "gemm_fusion_dot_7")
        for key, name in enumerate(names):
            plane.event_metadata[key].name = name
        for line_name in ("Stream #14(Compute)", "XLA Ops"):
            line = plane.lines.add(name=line_name)
            for key, ms in ((0, 4), (0, 2), (1, 2), (2, 1), (3, 1)):
                line.events.add(metadata_id=key, duration_ps=ms * 10**9)
    (tmp_path / "a.xplane.pb").write_bytes(space.SerializeToString())
    times = kernels.kernel_times(kernels.read_space(kernels.newest_profile(tmp_path)))
    assert times["sm90_xmma_gemm_bf16bf16_bf16f32"] == (6.0, 2), "streams only: other lines repeat the kernels"
    found = kernels.summary(times, steps=2)
    assert (found["busy_ms"], found["product_share"], found["copy_share"]) == (5.0, 0.7, 0.1)
    assert found["copies_to_host"] == 0.5, "one in two steps"
    assert found["kernels"][0] == {"name": "sm90_xmma_gemm_bf16bf16_bf16f32", "ms": 3.0, "times": 1.0}
    with pytest.raises(ValueError, match="expected TensorFlow's profile"):
        kernels.newest_profile(tmp_path / "none")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_part_on_the_cpu(python: Command, tmp_path: Path) -> None:
    words = ["--cpu", "--minutes", "14", "--work", tmp_path / "work", "--results", tmp_path / "r.jsonl"]
    done = python("benchmarks", "gpu", *words, timeout=880)
    assert done.returncode == 0, done.stderr
    rows = read(tmp_path / "r.jsonl")
    outcomes = {row["part"]: row["outcome"][0] for row in rows if row["kind"] == "gpu-part"}
    peers = "done" if importlib.util.find_spec("torch") else "left out"
    assert len(outcomes) == 12
    assert outcomes == {name: peers if name in parts.PEERS else "done" for name in outcomes}
    kinds = {row["kind"] for row in rows}
    assert kinds >= {"gpu-tests", "gpu-train", "gpu-evaluate", "gpu-run", "gpu-serve", "gpu-profile"}
    (tests,) = (row for row in rows if row["kind"] == "gpu-tests")
    assert tests["passed"] > 0 and tests["failures"] == []
    assert "GPU: training step" in (tmp_path / "work" / "tables.md").read_text()
