"""Configuration that every model shares, and reading it: defaults < preset < YAML file < flags.

Each component is a frozen dataclass, checked where it is defined, with a docstring under each field (the `--help`).
tyro turns the classes into flags and dacite reads the YAML; only the few lines that join the two are ours.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import dacite
import tyro
import yaml

from recsys_core.distributed import rank_hint
from recsys_core.training.schedules import LEARNING_RATE

C = TypeVar("C")


def _require(good: bool, flag: str, value: object, expected: str) -> None:
    if not good:
        raise ValueError(f"--{flag} is {value!r}, expected {expected}")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """How long to learn, how fast, and how often to look."""

    epochs: int = 50
    """Visits of every training user."""
    batch_size: int = 500
    """Users in a global batch, divided among the ranks."""
    learning_rate: float = 1e-3
    """Step size of Adam. It is not scaled by the number of ranks: the global batch stays the same."""
    learning_rate_schedule: str = "constant"
    """constant, linear or cosine (falling to 0 at the end of the run)."""
    warmup: float = 0.0
    """Share of the run over which the learning rate rises from 0."""
    beta1: float = 0.9
    """Adam's decay of the first moment."""
    beta2: float = 0.999
    """Adam's decay of the second moment."""
    epsilon: float = 1e-8
    """Adam's epsilon."""
    l2: float = 0.0
    """Adds l2 * ||W||^2 of all kernels to the loss."""
    weight_decay: float = 0.0
    """Decoupled weight decay of all kernels (AdamW)."""
    seed: int = 0
    """Root seed of initial values, order, dropout and sampling."""
    evaluate_every: int = 1
    """Epochs between evaluations on the validation users."""
    patience: int = 0
    """Stop after this many evaluations without a better one (0: train all epochs)."""
    average: float = 0.0
    """Evaluate, keep and export the mean of the parameters at the evaluations so far, each weighing this much of the
    one after it, as 0.8 (1: all the same; 0: the parameters themselves)."""
    average_from: int = 1
    """First epoch whose parameters count in the mean; up to it they are judged themselves."""
    keep_checkpoints: int = 2
    """How many of the last checkpoints stay (the best one stays besides)."""
    steps_per_call: int = 10
    """Steps of the inner loop between two looks at the progress."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        for name in ("epochs", "batch_size", "evaluate_every", "keep_checkpoints", "steps_per_call", "average_from"):
            _require(getattr(self, name) >= 1, name.replace("_", "-"), getattr(self, name), "a whole number from 1")
        for name in ("l2", "weight_decay", "patience"):
            _require(getattr(self, name) >= 0, name.replace("_", "-"), getattr(self, name), "0 or more")
        for name in ("learning_rate", "epsilon"):
            _require(getattr(self, name) > 0, name.replace("_", "-"), getattr(self, name), "more than 0")
        for name in ("beta1", "beta2", "warmup"):
            _require(0 <= getattr(self, name) < 1, name, getattr(self, name), "a number from 0 to below 1")
        _require(0 <= self.average <= 1, "average", self.average, "a number from 0 to 1")
        if self.average_from > 1:
            _require(self.average > 0, "average-from", self.average_from, "--average beside it, as 1")
            late = self.average_from > self.epochs
            _require(not late, "average-from", self.average_from, f"at most --epochs, {self.epochs}")
        if self.learning_rate_schedule not in LEARNING_RATE:
            known = ", ".join(LEARNING_RATE)
            raise ValueError(f"unknown learning rate schedule {self.learning_rate_schedule!r}, known are: {known}")


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """Number formats and compilation."""

    precision: str = "fp32"
    """fp32, tf32, bf16 or fp16. Parameters stay float32 in all of them."""
    amp: bool = False
    """Take the fastest safe precision of this hardware instead of --precision."""
    xla: bool = False
    """Compile the dense part with XLA (helps on GPUs; slower on CPUs)."""


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured on held-out users, and what a run must reach."""

    PROTOCOL: ClassVar[str] = ""
    """The protocol of a metric that names none."""

    metrics: tuple[str, ...] = ("ndcg@100", "recall@20", "recall@50")
    """NAME@K with NAME one of ndcg, recall, map, precision, hr, coverage; NAME@K/sampled among given candidates."""
    final_metrics: tuple[str, ...] = ()
    """Measured besides on the best checkpoint, once."""
    primary: str = "ndcg@100"
    """The metric that decides which checkpoint is best."""
    gate: tuple[str, ...] = ()
    """Conditions on the validation set, as "ndcg@100>=0.42" or "ndcg@100>=1.1*popularity" (the default)."""
    target: str = ""
    """Stop as soon as validation reaches this, as "ndcg@100>=0.42", and report the time it took."""
    baselines: tuple[str, ...] = ()
    """Baselines besides popularity: ease."""
    ease_regularization: float = 500.0
    """Lambda of EASE."""
    evaluation_block: int = 512
    """Users ranked at once."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        _require(self.evaluation_block >= 1, "evaluation-block", self.evaluation_block, "a whole number from 1")
        _require(self.ease_regularization > 0, "ease-regularization", self.ease_regularization, "more than 0")


def check(config: Any) -> None:
    """Check a configuration and every component in it (tyro would wrap what a constructor raises).

    Raises:
        ValueError: one line that names flag, value and what was expected.
    """
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            check(value)
    if hasattr(config, "check"):
        config.check()


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named configuration and what to expect of it."""

    config: Any
    about: str
    """Command, machine, duration, and the number to expect."""


def to_yaml(config: Any) -> str:
    """The whole configuration; reading it back gives an equal one."""
    plain = dataclasses.asdict(config)
    return yaml.safe_dump(_plain(plain), sort_keys=False)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    both = dict(base)
    for key, value in over.items():
        nested = isinstance(value, Mapping) and isinstance(both.get(key), Mapping)
        both[key] = _merged(both[key], value) if nested else value
    return both


def from_yaml(path: Path, base: C) -> C:
    """`base` with what a YAML file says in its place.

    Raises:
        ValueError: the file is missing, not YAML, or names something unknown or of another type.
    """
    if not path.is_file():
        raise ValueError(f"--config {path} does not exist")
    try:
        given = yaml.safe_load(path.read_text())
        if not isinstance(given, dict):
            raise ValueError(f"--config {path} holds {type(given).__name__}, expected names and values")
        required = [n for n in ("data", "run_dir") if getattr(base, n) is tyro.MISSING and n not in given]
        plain = _merged(_plain(dataclasses.asdict(base)), given) | dict.fromkeys(required, "")  # type: ignore[call-overload]
        rules = dacite.Config(strict=True, cast=[Path, tuple], type_hooks={float: _number})
        read = dacite.from_dict(type(base), plain, rules)
        return dataclasses.replace(read, **dict.fromkeys(required, tyro.MISSING))  # type: ignore[type-var]
    except yaml.YAMLError as error:
        raise ValueError(f"--config {path} is not YAML: {' '.join(str(error).split())}") from None
    except dacite.DaciteError as error:
        raise ValueError(f"--config {path}: {' '.join(str(error).split())}") from None


def _number(value: Any) -> Any:
    """YAML reads 1e-3 as text and 1 as an integer; both are fine where a float is asked for."""
    try:
        return float(value) if isinstance(value, int | str) and not isinstance(value, bool) else value
    except ValueError:
        return value


def parse(program: str, description: str, presets: Mapping[str, Preset], argv: Sequence[str] | None = None) -> Any:
    """The configuration that the command line asks for.

    Raises:
        ValueError: an unknown preset (the known ones are listed), or what `from_yaml` and the classes refuse.
        SystemExit: what the flag parser refuses (status 2) and `--help` (0).
    """
    early = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    early.add_argument("--preset", default=None)
    early.add_argument("--config", type=Path, default=None)
    try:
        known, rest = early.parse_known_args(argv)
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None
    name = known.preset or next(iter(presets))
    if name not in presets:
        raise ValueError(f"unknown preset {name!r}, known are: {', '.join(presets)}")
    base = presets[name].config
    if known.config is not None:
        base = from_yaml(known.config, base)
    if known.preset:
        base = dataclasses.replace(base, preset=name)
    listed = "\n\n".join(f"--preset {n}: {p.about}" for n, p in presets.items())
    config = tyro.cli(
        type(base),
        default=base,
        args=rest,
        prog=f"python -m {program}",
        description=f"{description}\n\n--config FILE reads any of these from YAML; flags win over it.\n\n{listed}",
        config=(tyro.conf.OmitArgPrefixes,),
        console_outputs=rank_hint() == 0,
    )
    check(config)
    return config
