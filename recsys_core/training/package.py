"""A model's package as the commands see it, and the two commands that are the same for every model: train, evaluate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import tensorflow as tf

from recsys_core import config as configuration
from recsys_core import dataset as datasets
from recsys_core import devices, run_folder
from recsys_core.config import Preset
from recsys_core.distributed import World
from recsys_core.evaluation.criteria import Criteria, criteria
from recsys_core.evaluation.evaluator import Scorer
from recsys_core.training import conversion, precision
from recsys_core.training.conduct import conduct
from recsys_core.training.experiment import Experiment, Outcome, Run


@dataclass(frozen=True, kw_only=True)
class Package:
    """What a model brings. Its configuration has data, run_dir, resume, training, evaluation and hardware."""

    name: str
    """Of the Python package."""
    description: str
    presets: Mapping[str, Preset]
    build: Callable[[Any, datasets.Dataset, precision.Precision], tf.Module]
    """(configuration, data set, precision) -> the model with fresh parameters."""
    scorer: Callable[[Any], Scorer]
    experiment: Callable[[Any, datasets.Dataset, Any, precision.Precision, World], Experiment]
    """(configuration, data set, model, precision, world) -> what the shared training needs to know."""
    check: Callable[[Any, datasets.Dataset, int], None]
    """(configuration, data set, ranks); raises ValueError for what this model cannot work with."""
    view: Callable[[Any, datasets.Dataset], datasets.Dataset] = lambda config, data: data
    """(configuration, data set) -> the data set as this run sees it."""


def check(package: Package, config: Any, ranks: int) -> None:
    """Refuse what cannot work before anything is written.

    Raises:
        ValueError: an unknown name, a batch smaller than the ranks, or a damaged data set.
    """
    configuration.check(config)
    wanted = criteria(config.evaluation)
    precision.known(config.hardware.precision)
    datasets.verify(config.data)
    data = datasets.open_dataset(config.data)
    check_candidates(wanted, data)
    package.check(config, data, ranks)


def check_candidates(wanted: Criteria, data: datasets.Dataset) -> None:
    """Refuse sampled metrics where there are no candidates.

    Raises:
        ValueError: names the metric and how to prepare such a data set.
    """
    sampled = [m for m in wanted.final_metrics if m.is_sampled]
    if sampled and not data.is_leave_one_out:
        raise ValueError(
            f"{sampled[0]} needs lists of candidates, which {data.folder} has not; prepare it with "
            f"--protocol leave-one-out, or ask for {sampled[0].name}@{sampled[0].k}/all"
        )


Initialise = Callable[[Any, datasets.Dataset, precision.Precision], Outcome | None]
"""(model, data set, precision) -> nothing, after it gave the fresh model other values; or the outcome to end with."""


def train_and_evaluate(package: Package, config: Any, world: World, initialise: Initialise | None = None) -> Outcome:
    """Run a configuration to its verdict.

    Raises:
        UserError: anything wrong with the configuration, the data set or the disk.
        NonFiniteError: the loss or a gradient is not finite.
    """
    devices.configure(world)  # before the first exchange, which starts TensorFlow
    world.on_first(lambda: check(package, config, world.size))
    numbers = precision.resolve(config.hardware.precision, config.hardware.amp, world)
    data = package.view(config, datasets.open_dataset(config.data))
    model = package.build(config, data, numbers)
    parts = package.experiment(config, data, model, numbers, world)
    run_folder.create(config.run_dir, configuration.to_yaml(config), resume=config.resume, world=world)
    if initialise is not None and (ended := initialise(model, data, numbers)) is not None:
        return ended
    run = Run(parts, data, config.run_dir, config.training, config.evaluation, scaled=numbers.scaled, world=world)
    outcome = conduct(run, resume=config.resume)
    if not (config.convert and outcome.passed):
        return outcome
    done = conversion.convert(config.run_dir / "export", config.convert) if world.is_first else None
    return replace(outcome, converted=bool(world.broadcast(done)))


def parse(package: Package, argv: Sequence[str] | None) -> Any:
    """The configuration of the command line, which works from any folder."""
    config = configuration.parse(f"{package.name}.train", package.description, package.presets, argv)
    return replace(config, data=config.data.absolute())
