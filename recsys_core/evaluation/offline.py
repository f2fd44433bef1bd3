"""Evaluating a trained run offline, for any model: ``python -m PACKAGE.evaluate --run-dir DIR [--split test]``."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from recsys_core import cli, devices, distributed, report
from recsys_core import config as configuration
from recsys_core import dataset as datasets
from recsys_core.evaluation import baselines as baseline_models
from recsys_core.evaluation.criteria import criteria
from recsys_core.evaluation.evaluator import Evaluation, Evaluator
from recsys_core.files import write_json
from recsys_core.training import precision
from recsys_core.training.checkpoint import Checkpoints
from recsys_core.training.package import Package, check_candidates


def build_parser(package: Package) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {package.name}.evaluate", description="Evaluate the best checkpoint of a run on held-out data."
    )
    parser.add_argument("--run-dir", type=Path, required=True, help="folder of the run")
    parser.add_argument("--split", default="test", help="valid or test (default: %(default)s)")
    parser.add_argument("--data", type=Path, help="another data set with the same items (default: the run's own)")
    parser.add_argument("--metrics", nargs="+", help="NAME@K[/all|/sampled] ... (default: those of the run)")
    parser.add_argument("--baselines", nargs="*", help="besides popularity: ease (default: those of the run)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    return parser


def _configuration_of(package: Package, run_dir: Path) -> Any:
    """The configuration that a run was made with."""
    if not (run_dir / "config.yaml").is_file():
        raise ValueError(f"--run-dir {run_dir} holds no run (no config.yaml)")
    return replace(
        configuration.from_yaml(run_dir / "config.yaml", next(iter(package.presets.values())).config), run_dir=run_dir
    )


def _changed(config: Any, args: argparse.Namespace) -> Any:
    """What the command line asks for in the run's place."""
    evaluation = config.evaluation
    if args.metrics is not None:
        evaluation = replace(
            evaluation, metrics=tuple(args.metrics), primary=args.metrics[0], gate=(), final_metrics=(), target=""
        )
    if args.baselines is not None:
        evaluation = replace(evaluation, baselines=tuple(args.baselines))
    return replace(config, data=args.data or config.data, evaluation=evaluation)


def _check_items(own: Path, other: Path) -> None:
    """Refuse a data set whose columns are other items than the model's."""
    theirs, ours = datasets.open_dataset(other), datasets.open_dataset(own)
    if not ours.items["item_id"].equals(theirs.items["item_id"]):
        raise ValueError(
            f"--data {other} has other items than {own} ({theirs.n_items:,} and {ours.n_items:,}); "
            "a model ranks the items it was trained on"
        )


def evaluate(
    package: Package, config: Any, split: str, world: distributed.World, other_data: bool = False
) -> tuple[Evaluation, dict[str, Evaluation]]:
    """Evaluate the best checkpoint, and the baselines of the data set's training users.

    Args:
        other_data: whether the data set is meant to be another than the run's own.

    Raises:
        ValueError: the run has no checkpoint, or the data set is damaged or another one.
    """
    wanted = criteria(config.evaluation)
    devices.configure(world)
    numbers = precision.resolve(config.hardware.precision, config.hardware.amp, world)
    world.on_first(lambda: datasets.verify(config.data))
    data = datasets.open_dataset(config.data)
    world.on_first(lambda: check_candidates(wanted, data))
    model = package.build(config, data, numbers)
    checkpoints = Checkpoints(config.run_dir / "checkpoints", keep=1, world=world, model=model)
    checkpoints.restore_best(lambda state: None if other_data else _check_data(state, data))
    evaluator = Evaluator(
        data.held_out(split),
        wanted.final_metrics,
        world=world,
        n_items=data.n_items,
        block_size=config.evaluation.evaluation_block,
    )
    baselines = baseline_models.evaluate(
        wanted.baselines,
        data,
        {split: evaluator},
        ease_regularization=config.evaluation.ease_regularization,
        world=world,
    )
    return evaluator.evaluate(package.scorer(model)), {name: found[split] for name, found in baselines.items()}


def _check_data(state: Mapping[str, Any], data: datasets.Dataset) -> None:
    """Refuse a data set that was prepared anew since: its test users may have been training users."""
    if state["identity"]["data set"] != data.fingerprint:
        raise ValueError(f"{data.folder} is not the data set of this run any more; name the right one with --data")


def _request(package: Package, args: argparse.Namespace) -> Any:
    own = _configuration_of(package, args.run_dir)
    if args.data is not None:
        _check_items(own.data, args.data)
    if args.split not in datasets.SPLITS:
        raise ValueError(f"unknown --split {args.split!r}, known are: {', '.join(datasets.SPLITS)}")
    config = _changed(own, args)
    criteria(config.evaluation)
    return config


def _report(args: argparse.Namespace, config: Any, model: Evaluation, baselines: dict[str, Evaluation]) -> None:
    print(report.result_table(model, baselines))
    if args.json is not None:
        content = {"split": args.split, "data_set": str(config.data), "model": model.as_json()}
        write_json(args.json, content | {"baselines": {n: b.as_json() for n, b in baselines.items()}})


def main(package: Package, argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input."""
    args = build_parser(package).parse_args(argv)

    def work(config: Any, world: distributed.World) -> int:
        model, baselines = evaluate(package, config, args.split, world, args.data is not None)
        world.on_first(lambda: _report(args, config, model, baselines))
        return 0

    return cli.run(lambda: _request(package, args), work)
