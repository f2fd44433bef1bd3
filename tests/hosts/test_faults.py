"""The command that does faults to trainings on two hosts (`tests.hosts.faults`): its plan, its table, and one try."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.hosts import fault_records as records
from tests.hosts import faults
from tests.hosts.fault_list import FAULTS, LAUNCHERS
from tests.hosts.fault_records import Try
from tests.hosts.hosts import why_not

KILLED = "kill -9 of the rank on host 2"


def test_each_fault_is_planned_once_before_any_is_planned_again() -> None:
    tries = list(faults.planned(6, list(FAULTS), LAUNCHERS))
    once = len(tries) // 6
    assert {(t.fault, t.launcher) for t in tries[:once]} == {
        (name, launcher) for name, fault in FAULTS.items() for launcher in fault.statuses
    }
    assert len({t.key for t in tries}) == len(tries)
    of_one = [t for t in tries if (t.fault, t.launcher) == (KILLED, "MPI")]
    assert {(t.family, t.resumed_on) for t in of_one} == {(f, p) for f in faults.FAMILIES for p in faults.PLACES}


def tried(number: int, status: int, seconds: float, problems: tuple[str, ...] = ()) -> Try:
    return Try(
        fault=KILLED,
        launcher="MPI",
        number=number,
        family="vaecf",
        status=status,
        seconds=seconds,
        last_step=30 + number,
        saved_step=20,
        resumed_on="1 rank",
        differences={"loss": number * 1e-7, "metric": 0.0, "parameter": 2e-6},
        said=["error: rank 1 was silent; --resume /tmp/a/disk/tried", "-----"],
        problems=list(problems),
    )


def test_table(tmp_path: Path) -> None:
    file = tmp_path / "tries.jsonl"
    assert records.read(file) == []
    for one in (tried(0, 137, 1.0), tried(1, 137, 2.0), tried(2, 1, 4.5, ("status 1",))):
        records.append(file, one)
    lines = records.table(records.read(file)).splitlines()
    assert lines[2:] == [
        f"| {KILLED} | MPI | 3 | 1 (1x), 137 (2x) | 2.0 (1.0 to 4.5) | 11 (12) | 1 rank | 2e-07 | 0 | 2e-06 "
        "| error: rank 1 was silent; --resume DISK/tried |",
        "",
        "3 tries, 1 not as documented",
        f"{KILLED}, MPI, try 2: status 1",
    ]


def test_records_for_the_results(tmp_path: Path) -> None:
    for one in (tried(0, 137, 1.0), tried(1, 137, 2.0), tried(2, 1, 4.5)):
        records.append(tmp_path / "tries.jsonl", one)
    assert faults.main(["--out", str(tmp_path), "--table", "--results", str(tmp_path / "r.jsonl")]) == 0
    (row,) = map(json.loads, (tmp_path / "r.jsonl").read_text().splitlines())
    assert (row["kind"], row["fault"], row["by"], row["tries"]) == ("faults", KILLED, "MPI", 3)
    assert row["command"] == "python -m tests.hosts.faults --out O --times 10"
    assert row["seconds"] == {"value": 2.0, "low": 1.0, "high": 4.5}
    assert row["steps_lost"] == {"value": 11.0, "low": None, "high": 12.0}
    assert (row["exit_status"], row["resumed_on"]) == ("1 (1x), 137 (2x)", "1 rank")
    assert row["largest_loss_difference"] == pytest.approx(2e-7)
    assert row["last_message"] == "`error: rank 1 was silent; --resume DISK/tried`"


def test_steps_of_a_run_that_is_being_written(tmp_path: Path) -> None:
    rows = [{"kind": "train", "step": 1, "loss": 2.0}, {"kind": "validation", "step": 1, "ndcg@100": 0.1}]
    rows += [{"kind": "train", "step": 2, "loss": 1.5}]
    assert records.last_step(tmp_path) == 0
    (tmp_path / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows) + '{"step": 3, "lo')
    assert records.losses(tmp_path) == [(1, 2.0), (2, 1.5)]
    assert records.saved_step(tmp_path) == 0
    for step, whole in ((10, True), (20, False)):
        folder = tmp_path / f"checkpoints/step-{step:08d}"
        folder.mkdir(parents=True)
        if whole:
            (folder / "state.json").touch()
    assert records.saved_step(tmp_path) == 10


@pytest.mark.slow
def test_one_fault(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A rank is killed, the job ends, and the run goes on elsewhere as if nothing had been."""
    if reason := why_not():
        pytest.skip(reason)
    words = ["--out", str(tmp_path), "--times", "1", "--only", KILLED, "--by", "Gloo"]
    assert faults.main(words) == 0
    assert "1 tries, 0 not as documented" in capsys.readouterr().out
    (one,) = records.read(tmp_path / "tries.jsonl")
    assert (one.status, one.resume_status, one.resumed_on) == (137, 3, faults.PLACES[0])
    assert one.step >= 1 and one.seconds > 0
    assert one.differences["loss"] < 1e-6
    assert faults.main(words) == 0  # it is there, and not done again
    assert records.read(tmp_path / "tries.jsonl") == [one]
