"""Per-user values of several runs, matched by user, and their paired differences. Nothing here imports TensorFlow.

Shape legend: S users.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

from recsys_core import run_manifest
from recsys_core.config import ALL_USERS
from recsys_core.dataset import SPLITS
from recsys_core.errors import UserError
from recsys_core.evaluation import user_values
from recsys_core.evaluation.metric_names import OF_SYSTEM
from recsys_core.evaluation.paired import FEW_USERS, holm, mean_intervals, paired_difference, permutation_p, t_test_p
from recsys_core.evaluation.user_values import MODEL, UserValues

COLUMNS = (
    "mean", "standard_error", "difference", "low", "high", "p_permutation", "p_permutation_holm", "p_t", "p_t_holm",
    "users",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Runs:
    """The values of some runs, of the same users in the same order."""

    metric: str
    reference: str
    data_set: str
    values: Mapping[str, pd.Series]
    """Name of the run -> [S] values by user id, NaN for none."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _Model:
    """One model of one run, as the user named it."""

    name: str
    run: Path
    model: str
    """`MODEL` or the name of a baseline."""
    file: UserValues


def read(names: Sequence[str], metric: str | None, split: str, reference: str | None) -> Runs:
    """The values of runs that can be compared.

    Args:
        names: see `compare.compare_runs`.
        metric: None for the primary metric of the first run.

    Raises:
        UserError: one line that says what differs, or what is missing and which command makes it.
    """
    _check_names(names, split, reference)
    files: dict[Path, UserValues] = {}
    models = [_model(name, split, files) for name in names]
    first = models[0]
    for other in models[1:]:
        _check_same_data(first, other, split)
    wanted = metric or _primary(first)
    values = {m.name: _values(m, wanted, split) for m in models}
    for name, own in values.items():
        values[name] = _matched(first.name, values[first.name], name, own)
    return Runs(
        metric=str(values[first.name].name),
        reference=reference or names[0],
        data_set=first.file.data_set,
        values=values,
        notes=_notes(models, values[first.name]),
    )


def _check_names(names: Sequence[str], split: str, reference: str | None) -> None:
    if split not in SPLITS:
        raise UserError(f"unknown split {split!r}, known are: {', '.join(SPLITS)}")
    if len(names) < 2:
        raise UserError(f"{len(names)} run to compare, expected two or more, as runs/a runs/b or runs/a runs/a:ease")
    if again := [name for place, name in enumerate(names) if name in names[:place]]:
        raise UserError(f"{again[0]} is named twice")
    if reference is not None and reference not in names:
        raise UserError(f"reference is {reference!r}, expected one of the runs: {', '.join(names)}")


def _model(name: str, split: str, files: dict[Path, UserValues]) -> _Model:
    """The model that a name means; a file that several names are of is read once."""
    run, model = Path(name), MODEL
    if not run.exists() and ":" in name:
        folder, _, model = name.rpartition(":")
        run = Path(folder)
    if not run.exists():
        raise UserError(f"{run} does not exist; give the folder of a run, as --run-dir named it")
    path = run / user_values.FILE if run.is_dir() else run
    if path not in files:
        if not path.is_file():
            raise UserError(_without_values(run, split))
        files[path] = user_values.read(path)
    found = files[path]
    known = list(dict.fromkeys(found.table["model"]))
    if model not in known:
        baselines = ", ".join(n for n in known if n != MODEL) or "none"
        raise UserError(
            f"{name}: {run} has no baseline {model!r}, it has: {baselines}; evaluate it with --baselines {model} and "
            "--per-user FILE"
        )
    if split not in set(found.table["split"]):
        have = ", ".join(dict.fromkeys(found.table["split"]))
        raise UserError(f"{path} has no values of split {split!r}, only of: {have}; evaluate with --split {split}")
    return _Model(name=name, run=run, model=model, file=found)


def _without_values(run: Path, split: str) -> str:
    """Why a folder has no values, and the command that makes them."""
    manifest = run_manifest.read(run, "RUN")  # raises where the folder holds no run
    if manifest.view == ALL_USERS:
        judged = manifest.config.get("final_fit") or "its judged run"
        return f"{run} was trained on all users of its data set, so it has no values of held-out ones; take {judged}"
    family = manifest.family
    if not (run / "result.json").is_file():
        return f"{run} has no result yet: its training has not finished; go on with --resume {run}"
    fault = f"{run} has no {user_values.FILE} (an earlier version wrote it)"
    words = f"--run-dir {run}{'' if split == 'test' else f' --split {split}'} --per-user {run / user_values.FILE}"
    if not family:  # format 1 does not say it
        return f"{fault}; make it: python -m vaecf.evaluate {words} (for NCF: python -m ncf_tf.evaluate)"
    return (
        f"{fault}; make it: python -m {family}.evaluate {words}" if _is_command(family) else f"{fault}; train it again"
    )


def _is_command(family: str) -> bool:
    """Whether a family has a command that evaluates its runs."""
    try:
        return find_spec(f"{family}.evaluate") is not None
    except ModuleNotFoundError:
        return False


def _check_same_data(first: _Model, other: _Model, split: str) -> None:
    if first.file.data_set != other.file.data_set:
        raise UserError(
            f"{other.name} was evaluated on other data than {first.name} (fingerprints {other.file.data_set[:8]} and "
            f"{first.file.data_set[:8]}); compare runs of one prepared data set, or evaluate both with "
            "--data DIR --per-user FILE"
        )
    if split == "valid" and first.file.view != other.file.view:
        raise UserError(
            f"{other.name} has other validation items than {first.name}, because one of them was trained with "
            "--final-fit; compare them with --split test"
        )


def _primary(model: _Model) -> str:
    """The primary metric of a run; of a file, or where the run does not say, the first metric of the file."""
    metrics = model.file.metrics
    try:
        evaluation = json.loads((model.run / run_manifest.MANIFEST).read_text())["config"]["evaluation"]
        return next(name for name in metrics if name.split("/")[0] == evaluation["primary"].split("/")[0])
    except (OSError, ValueError, KeyError, TypeError, StopIteration):
        return metrics[0]


def _values(model: _Model, metric: str, split: str) -> pd.Series:
    """[S] one metric of one model by user id; its protocol may be left out where only one was measured."""
    metrics = model.file.metrics
    found = [name for name in metrics if name == metric] or [n for n in metrics if n.split("/")[0] == metric]
    if metric.split("@")[0] in OF_SYSTEM:
        raise UserError(f"{metric} is one value of all users; compare takes metrics of each user: {', '.join(metrics)}")
    if len(found) != 1:
        raise UserError(
            f"{model.name} has no values of {metric!r}, it has: {', '.join(metrics)}; evaluate it with "
            f"--metrics {metric} --per-user FILE"
        )
    table = model.file.table
    rows = table[(table["split"] == split) & (table["model"] == model.model)]
    return pd.Series(rows[found[0]].to_numpy(np.float64), index=pd.Index(rows["user_id"], name="user"), name=found[0])


def _matched(reference: str, expected: pd.Series, name: str, own: pd.Series) -> pd.Series:
    """A run's values in the order of the reference's users.

    Raises:
        UserError: other users, users that are there twice, another protocol, or values of other users.
    """
    if own.name != expected.name:
        raise UserError(f"{name} has {own.name}, {reference} has {expected.name}; they rank the item among others")
    if own.index.has_duplicates:
        raise UserError(f"{name} has a user twice; write its per-user values again")
    missing, more = expected.index.difference(own.index), own.index.difference(expected.index)
    if len(missing) or len(more):
        raise UserError(
            f"{name} was measured on other users than {reference}: {len(own):,} and {len(expected):,}, of which "
            f"{len(expected) - len(missing):,} are the same; a paired comparison needs the same users"
        )
    ordered = own.reindex(expected.index)
    if (ordered.isna() != expected.isna()).any():
        raise UserError(f"{name} has values of other users than {reference}; a paired comparison needs the same users")
    return ordered


def _notes(models: Sequence[_Model], values: pd.Series) -> tuple[str, ...]:
    """What limits the comparison."""
    notes = []
    if len({m.file.view for m in models}) > 1:
        fitted = ", ".join(m.name for m in models if m.file.view)
        notes.append(f"note: {fitted} was trained on validation items too (--final-fit), the others were not")
    users = int(values.notna().sum())
    if users < FEW_USERS:
        notes.append(f"note: {users} users; below {FEW_USERS} such an interval is rough")
    return tuple(notes)


def table(
    runs: Runs,
    *,
    confidence: float,
    resamples: int,
    seed: int,
    progress: Callable[[int], None] | None,
) -> pd.DataFrame:
    """A row for each run; see `compare.compare_runs`."""
    reference = runs.values[runs.reference].to_numpy()
    rows: dict[str, dict[str, float]] = {}
    for name, values in runs.values.items():
        own = values.to_numpy()
        known = own[~np.isnan(own)]
        if len(known) < 2:
            raise UserError(f"{len(known)} users have a value of {runs.metric}, expected two or more")
        mean, error, _, _ = mean_intervals(known)
        rows[name] = {"mean": float(mean), "standard_error": float(error), "users": len(known)}
        if name != runs.reference:
            found = paired_difference(own, reference, confidence=confidence)
            differences = (own - reference)[~np.isnan(own)]
            rows[name] |= {
                "difference": found.mean,
                "low": found.low,
                "high": found.high,
                "p_permutation": permutation_p(differences, resamples=resamples, seed=seed, progress=progress),
                "p_t": t_test_p(differences),
            }
    others = [name for name in rows if name != runs.reference]
    for test in ("p_permutation", "p_t"):
        for name, corrected in zip(others, holm([rows[n][test] for n in others]), strict=True):
            rows[name][f"{test}_holm"] = corrected
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("run").reindex(columns=list(COLUMNS))
