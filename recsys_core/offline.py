"""Evaluating a trained run offline: its best checkpoint on held-out users, of its own data set or of another."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from recsys_core import agreement, flags, numerics, run_manifest, runs
from recsys_core.baselines import check_installed
from recsys_core.config import ALL_USERS, ModelSpec, check
from recsys_core.dataset import SPLITS, Dataset
from recsys_core.errors import UserError
from recsys_core.evaluation import baselines, user_values
from recsys_core.evaluation.criteria import criteria
from recsys_core.evaluation.evaluator import Evaluation, Evaluator
from recsys_core.evaluation.tables import result_table
from recsys_core.files import write_json
from recsys_core.training.checkpoints import Checkpoints
from recsys_core.training.kinds import step_bytes
from recsys_core.training.task import check_candidates
from recsys_core.world import World


@dataclass(frozen=True, kw_only=True)
class EvaluateRequest:
    """The evaluation that a command line asks for."""

    config: Any
    """The run's configuration, with the metrics and baselines of the command line."""
    view: str
    """The view of the data set that the run trained on."""
    own_data: Path | None
    """The run's data set; None for one in memory."""
    other_data: Path | None
    split: str
    json: Path | None
    per_user: Path | None
    """Where the values of each user are written."""
    items: str | None
    """`Dataset.item_digest` of the run's data set; None where it has to be read."""
    users: str | None
    """`Dataset.user_digest` of the run's data set; None where it has to be read."""
    fingerprint: str | None
    """Of the run's data set; None where nothing says it."""
    trained_on_all: bool
    """Whether no user of the run's data set was held out."""
    here: Path | None = None
    """Where this rank's host has the data set, by its own --data; None for where rank 0 has it."""


def request(spec: ModelSpec, args: argparse.Namespace) -> EvaluateRequest:
    """Read the run's manifest and the flags.

    Raises:
        ValueError: the folder holds no run of this family, or a flag cannot be used.
    """
    if args.split not in SPLITS:
        raise UserError(f"unknown --split {args.split!r}, known are: {', '.join(SPLITS)}")
    run = run_manifest.read(args.run_dir, "--run-dir", spec.family, spec.renamed)
    base = replace(spec.preset(run.config.get("preset")).config, data=Path(), run_dir=args.run_dir)
    stored = {name: value for name, value in run.config.items() if value is not None}
    config = replace(flags.from_plain(stored, base, str(args.run_dir)), run_dir=args.run_dir)
    evaluation = config.evaluation
    if args.metrics is not None:
        evaluation = replace(
            evaluation, metrics=tuple(args.metrics), primary=args.metrics[0], gate=(), final_metrics=(), target=""
        )
    if args.baselines is not None:
        evaluation = replace(evaluation, baselines=tuple(args.baselines))
    check(evaluation)
    check_installed(evaluation.baselines)
    criteria(evaluation)
    if run.view == ALL_USERS and args.data is None:
        raise UserError(
            f"{args.run_dir} was trained on all users of its data set, so none is left to evaluate it on; its metrics "
            f"are those of {run.config['final_fit']}"
        )
    if run.data is None and args.data is None:
        raise UserError(f"{args.run_dir} was trained on a data set in memory; name one on disk with --data")
    if run.data is not None and args.data is None and not run.data.is_dir():
        raise UserError(
            f"the data set of {args.run_dir}, {run.data}, is not there any more; name the folder where it is now, or "
            "another one with the same items, with --data"
        )
    return EvaluateRequest(
        config=replace(config, evaluation=evaluation),
        view="" if run.view == ALL_USERS else run.view,
        own_data=run.data,
        other_data=args.data,
        split=args.split,
        json=args.json,
        per_user=args.per_user,
        items=run.items,
        users=run.users,
        fingerprint=run.fingerprint or _fingerprint_of_checkpoint(args.run_dir),
        trained_on_all=run.view == ALL_USERS,
    )


def _fingerprint_of_checkpoint(run_dir: Path) -> str | None:
    """The data set that the checkpoints of a run of format 1 name; None if there is none that can be read."""
    for step in reversed(runs.checkpoint_steps(run_dir / "checkpoints")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            state = json.loads((run_dir / "checkpoints" / f"step-{step:08d}" / "state.json").read_text())
            return _data_of(state)
    return None


def evaluate_command(spec: ModelSpec, asked: EvaluateRequest, world: World) -> None:
    """Evaluate, print the table, write the JSON file and the values of the users."""
    data, model, found = evaluate(spec, asked, world)

    def report() -> None:
        print(result_table(model, found))
        if asked.per_user is not None:
            table = user_values.user_table(data, {asked.split: {user_values.MODEL: model, **found}})
            user_values.write(asked.per_user, table, data)
        if asked.json is not None:
            folder = str(asked.other_data or asked.own_data)
            content = {"split": asked.split, "data_set": folder, "model": model.as_json()}
            write_json(asked.json, content | {"baselines": {n: b.as_json() for n, b in found.items()}})

    world.run_on_rank0(report)


def evaluate(
    spec: ModelSpec, asked: EvaluateRequest, world: World
) -> tuple[Dataset, Evaluation, dict[str, Evaluation]]:
    """The data set, the evaluation of the best checkpoint on it, and those of the baselines of its training users.

    Raises:
        UserError: the run has no best checkpoint, or the data set is damaged, another one, or has other ids.
    """
    config = asked.config
    kind = spec.model_class(config.preset)
    folder = asked.here or asked.other_data or asked.own_data
    assert folder is not None, "request found a data set"
    data = agreement.opened(folder, asked.view, world)
    if asked.other_data is not None:
        world.run_on_rank0(lambda: check_ids(asked, data, with_users=kind.needs_known_users))
    wanted = criteria(config.evaluation, data)
    world.run_on_rank0(lambda: check_candidates(wanted, data))
    if wanted.note and world.is_rank0:
        print(f"note: {wanted.note}", file=sys.stderr, flush=True)
    components = {component: getattr(config, component) for component in kind.configs}
    if config.hardware.deterministic:
        numerics.use_deterministic_operators()
    model = kind(data, preset=config.preset or None, seed=config.training.seed, **components)
    checkpoints = Checkpoints(config.run_dir / "checkpoints", keep=1, world=world, model=model)
    checkpoints.restore_best(lambda state: None if asked.other_data else _check_data(state, data))
    evaluator = Evaluator(
        data.held_out(asked.split),
        wanted.final_metrics,
        world=world,
        n_items=data.n_items,
        block_size=config.evaluation.evaluation_block,
        device_bytes=step_bytes(model, config.hardware, world),
        train=data.train,
    )
    found = baselines.evaluate(
        wanted.baselines,
        data,
        {asked.split: evaluator},
        ease_regularization=config.evaluation.ease_regularization,
        world=world,
    )
    return data, evaluator.evaluate(model), {baseline: splits[asked.split] for baseline, splits in found.items()}


def check_ids(asked: EvaluateRequest, other: Dataset, *, with_users: bool) -> None:
    """Refuse a data set whose columns are other items than the model's, or whose rows are other users.

    The run's own data set in another place is known by its fingerprint.

    Args:
        with_users: whether the model knows its users by row.

    Raises:
        UserError: names what differs.
    """
    if asked.fingerprint == other.fingerprint:
        if asked.trained_on_all:
            raise UserError(
                f"{asked.config.run_dir} was trained on all users of --data {other.name}, so none is left to evaluate"
            )
        return
    items, users = asked.items, asked.users
    if items is None or users is None:  # a run of format 1
        assert asked.own_data is not None, "a run of format 1 names its data set"
        if not asked.own_data.is_dir():
            raise UserError(
                f"--data {other.name} is another data set than {asked.own_data}, on which {asked.config.run_dir} was "
                "trained; that is not there any more, so their items cannot be compared"
            )
        own = Dataset.open(asked.own_data)
        items, users = own.item_digest, own.user_digest
    if items != other.item_digest:
        raise UserError(
            f"--data {other.name} has other items than the run's data set, or in another order ({other.n_items:,} "
            "here); a model ranks the items it was trained on"
        )
    if with_users and users != other.user_digest:
        raise UserError(
            f"--data {other.name} has other users than the run's data set, or in another order ({other.n_users:,} "
            "here); this model knows its users by row"
        )


def _check_data(state: Mapping[str, Any], data: Dataset) -> None:
    """Refuse a data set that was prepared again since: its test users may have been training users."""
    if _data_of(state) != data.fingerprint:
        raise UserError(f"{data.name} is not the data set of this run any more; name the right one with --data")


def _data_of(state: Mapping[str, Any]) -> str | None:
    """Fingerprint of the data set that the state of a checkpoint names."""
    identity = state["identity"]
    return identity.get("data_set", identity.get("data set"))
