"""The result of a training run: `result.json`, and the object that `Trainer.fit` returns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from recsys_core.evaluation import user_values
from recsys_core.evaluation.gate import Verdict
from recsys_core.evaluation.result import Evaluation
from recsys_core.measuring.records import circumstances
from recsys_core.run_state import GATE_MISSED
from recsys_core.training.state import TrainState
from recsys_core.training.task import TrainTask

CONVERSION_FAILED = 5
"""Exit status of a run whose model is good, but could not be converted as asked."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A metric of the model, with the baselines beside it."""

    value: float
    standard_error: float | None
    baselines: Mapping[str, float]


class Metrics(Mapping[str, Measured]):
    """The metrics of one split by name; the protocol may be left out of a name, as "hr@10" for "hr@10/sampled"."""

    def __init__(self, model: Mapping[str, Any], baselines: Mapping[str, Mapping[str, Any]]) -> None:
        """
        Args:
            model, baselines: evaluations as `result.json` holds them.
        """
        self._found = {
            name: Measured(
                value=entry["mean"],
                standard_error=entry["standard_error"],
                baselines={b: evaluation["metrics"][name]["mean"] for b, evaluation in baselines.items()},
            )
            for name, entry in model["metrics"].items()
        }

    def __getitem__(self, name: str) -> Measured:
        if name in self._found:
            return self._found[name]
        longer = [known for known in self._found if known.split("/")[0] == name]
        if len(longer) != 1:
            raise KeyError(f"{name!r} was not evaluated once; evaluated were: {', '.join(self._found)}")
        return self._found[longer[0]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"Metrics({self._found})"

    def table(self) -> pd.DataFrame:
        """The values as a table: a row for each metric; the model, its standard error, and a column for each baseline.

        The standard error is missing for a metric that is no mean over users.
        """
        rows = [{"model": m.value, "standard_error": m.standard_error, **m.baselines} for m in self._found.values()]
        return pd.DataFrame(rows, index=pd.Index(list(self._found), name="metric"))


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended."""

    complete: bool
    """False when it was interrupted by a signal."""
    passed: bool = False
    """Whether the gate was passed and the model exported."""
    converted: bool = True
    """False when a conversion that was asked for failed."""
    content: Mapping[str, Any] | None = None
    """`result.json`; None when the run was interrupted."""
    run_dir: Path | None = None
    temporary: Any = None
    """Keeps a temporary `run_dir` from being removed while the result is in use."""

    @property
    def exit_status(self) -> int:
        if self.complete and not self.passed:
            return GATE_MISSED
        return 0 if self.converted else CONVERSION_FAILED

    def _finished(self) -> Mapping[str, Any]:
        if self.content is None:
            raise ValueError("the run was interrupted and has no result yet")
        return self.content

    def _metrics(self, split: str) -> Metrics:
        content = self._finished()
        if "judged_run" in content:
            raise ValueError("a final fit has no metrics of its own; content['judged_run'] has those of its run")
        return Metrics(content[split], {name: found[split] for name, found in content["baselines"].items()})

    @property
    def valid(self) -> Metrics:
        """Metrics of the validation users, for the best checkpoint."""
        return self._metrics("validation")

    @property
    def test(self) -> Metrics:
        """Metrics of the test users, for the best checkpoint."""
        return self._metrics("test")

    @property
    def per_user(self) -> pd.DataFrame:
        """The values of each held-out user: split, user_id, model ("model" or a baseline), and each metric.

        Raises:
            UserError: the run has no such file, because an earlier version wrote it.
        """
        self._finished()
        assert self.run_dir is not None, "a finished run has a folder"
        return user_values.read(self.run_dir / user_values.FILE).table

    @property
    def history(self) -> pd.DataFrame:
        """A row for each evaluation during training: step, epoch, loss (mean since the last one), validation metrics.

        Without rows for a model that is not trained by steps.
        """
        rows = [
            {**{name: entry[name] for name in ("step", "epoch", "loss")}, **entry["validation"]}
            for entry in self._finished()["history"]
        ]
        return pd.DataFrame(rows, columns=None if rows else ["step", "epoch", "loss"])


def result_content(
    task: TrainTask,
    state: TrainState,
    evaluations: Mapping[str, Evaluation],
    baselines: Mapping[str, Mapping[str, Evaluation]],
    verdicts: tuple[Verdict, ...],
    world_size: int,
) -> dict[str, Any]:
    """The content of `result.json`.

    Args:
        evaluations: "valid" and "test" -> the best checkpoint's.
    """
    per_epoch = max(task.plan.steps_per_epoch, 1)
    unit = task.model.unit
    return {
        "validation": evaluations["valid"].as_json(),
        "test": evaluations["test"].as_json(),
        "baselines": {
            name: {"validation": b["valid"].as_json(), "test": b["test"].as_json()} for name, b in baselines.items()
        },
        "gate": {
            "passed": all(v.passed for v in verdicts),
            "conditions": [asdict(v) for v in verdicts],
            "chosen_on_same_users": chosen_on_same_users(task, state),
        },
        "history": state.history,
        "best_step": state.best_step,
        "best_epoch": (state.best_step or 0) / per_epoch,
        "steps": state.step,
        "trained_seconds": state.trained_seconds,
        "seconds": state.seconds,
        f"{unit}_per_second": state.step * task.examples_per_step / max(state.trained_seconds, 1e-9),
        "target": _target_report(task, state),
        "world_size": world_size,
        "data_set": task.data.fingerprint,
        "measured": circumstances(),
    }


def chosen_on_same_users(task: TrainTask, state: TrainState) -> bool:
    """Whether the users of the gate chose among several checkpoints, which makes their mean a little too high."""
    return len(state.history) > 1 and not task.settings.training.keeps_last


def write_user_values(
    task: TrainTask, evaluations: Mapping[str, Evaluation], baselines: Mapping[str, Mapping[str, Evaluation]]
) -> None:
    """Write `per_user.parquet`: the values of the validation and test users, for the model and the baselines."""
    found = {
        split: {user_values.MODEL: own, **{name: b[split] for name, b in baselines.items()}}
        for split, own in evaluations.items()
    }
    table = user_values.user_table(task.data, found)
    user_values.write(task.run_dir / user_values.FILE, table, task.data)


def _target_report(task: TrainTask, state: TrainState) -> dict[str, Any] | None:
    """When the target was reached: seconds of training steps, and with evaluations; None without a target."""
    if task.target is None:
        return None
    entry = state.first_reaching(*task.target) or {}
    times = {name: entry.get(name) for name in ("epoch", "trained_seconds", "seconds")}
    return {"condition": str(task.criteria.target), "reached": bool(entry), **times}
