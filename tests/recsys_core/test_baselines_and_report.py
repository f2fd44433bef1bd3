"""The table and the progress lines; errors as statuses; the memory limit of a device."""

from __future__ import annotations

import pytest
import tensorflow as tf

from recsys_core import cli, devices
from recsys_core.errors import NonFiniteError, SharedError, UserError
from recsys_core.evaluation.evaluator import Estimate, Evaluation
from recsys_core.evaluation.gate import Verdict
from recsys_core.evaluation.tables import gate_lines, result_table
from recsys_core.training import progress


def test_the_memory_limit_of_a_device() -> None:
    """By the device that every machine has; TensorFlow's rule for the host is 256 MiB."""
    tf.zeros([1])
    assert devices.memory_limit("CPU:0") == 268435456


def evaluation(value: float) -> Evaluation:
    metrics = {"ndcg@100": Estimate(mean=value, standard_error=0.01), "coverage@5": Estimate(mean=0.5)}
    return Evaluation(metrics=metrics, users=1000, users_without_relevant=3)


def test_the_table_has_model_baseline_and_gain() -> None:
    table = result_table(evaluation(0.3), {"popularity": evaluation(0.2)})
    row = next(line for line in table.splitlines() if line.startswith("ndcg@100"))
    assert row.split() == ["ndcg@100", "0.3000", "±", "0.0100", "0.2000", "±", "0.0100", "+50%"]
    assert table.endswith("1,000 users, 3 left out with nothing to find")


def test_gate_lines() -> None:
    missed = Verdict(condition="ndcg@100>=0.4", reached=0.3, wanted=0.4, passed=False)
    assert gate_lines([missed]) == "gate MISSED: ndcg@100>=0.4: 0.3000 reached, 0.4000 wanted"


def report_lines(capsys: pytest.CaptureFixture[str], *, enabled: bool = True) -> list[str]:
    """Lines of a run of 20 steps, 10 an epoch: each two steps take 4 s, an evaluation after 10 steps takes 3 s."""
    now = [100.0]
    shown = progress.ProgressReport(
        total_steps=20, steps_per_epoch=10, start_step=0, enabled=enabled, clock=lambda: now[0]
    )
    for step in range(2, 22, 2):
        now[0] += 4
        shown.update(step, {"loss": 1.5, "users_per_second": 2000.0})
        if step % 10 == 0:
            shown.evaluating()
            now[0] += 3
            shown.evaluated(step, "validation ndcg@100 0.2500")
    shown.close()
    return capsys.readouterr().err.splitlines()


def test_progress_without_a_terminal_is_a_few_whole_lines(capsys: pytest.CaptureFixture[str]) -> None:
    # Step 2 is reached at 104 s and starts the clock: compiling says nothing of the rest. A line comes 10 s after the
    # line before, or with an evaluation. 8 steps took 16 + 3 s up to the first evaluation, so 10 take 24 s.
    assert report_lines(capsys) == [
        "epoch 0.8/2  step 8/20  loss 1.5000  2,000 users/s  0:24 left",
        "epoch 1/2  validation ndcg@100 0.2500  loss 1.5000  0:24 left",
        "epoch 1.6/2  step 16/20  loss 1.5000  2,000 users/s  0:09 left",
        "epoch 2/2  validation ndcg@100 0.2500  loss 1.5000",
    ]


def test_progress_is_silent_on_other_ranks(capsys: pytest.CaptureFixture[str]) -> None:
    assert report_lines(capsys, enabled=False) == []


@pytest.mark.parametrize(
    ("error", "status"),
    [(UserError("disk"), 2), (SharedError("flag"), 2), (NonFiniteError("step 3"), 4), (KeyboardInterrupt(), 130)],
)
def test_errors_become_statuses(error: BaseException, status: int, capsys: pytest.CaptureFixture[str]) -> None:
    with cli.command() as outcome:
        raise error
    assert outcome.code == status
    assert "Traceback" not in capsys.readouterr().err


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ValueError, match="out of TensorFlow"), cli.command():
        raise ValueError("out of TensorFlow")


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with cli.command() as outcome, cli.user_errors():
        raise ValueError("--epochs is -1")
    assert outcome.code == 2
    assert capsys.readouterr().err == "error: --epochs is -1\n"
