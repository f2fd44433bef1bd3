"""Configuration that every model shares: frozen dataclasses, checked where they are defined.

A docstring under each field is its `--help`. Nothing here imports TensorFlow. `recsys_core.flags` reads command lines
and YAML files into these classes.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from recsys_core.search_space import Parameter

LEARNING_RATE_SCHEDULES = ("constant", "linear", "cosine")
EXCHANGES = ("fp32", "fp16")
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "auto")
STEPS = ("auto", "sparse", "compiled")
FINAL_FIT = "final-fit"
"""The view of a data set in which validation items are training items too; see `dataset.Dataset.viewed`."""
ALL_USERS = "all-users"
"""The view in which all users and all their items are training data."""
FORMATS = ("savedmodel", "onnx", "tensorrt", "tf-trt")
"""Formats that `python -m serving convert --to` knows."""
FROM_PRESET: Any = None
"""Default of a component of a `RunConfig`: the preset's, or the class's own where there is no preset."""


def require(good: bool, flag: str, value: object, expected: str) -> None:
    """Raise ValueError for a value that cannot be used, in the form of all messages about flags."""
    if not good:
        raise ValueError(f"--{flag} is {value!r}, expected {expected}")


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """Length, step sizes and evaluation intervals of a training."""

    epochs: int = 50
    """Visits of every training user."""
    batch_size: int = 0
    """Users in a global batch, divided among the ranks (0: from the data; --published-batch-size, or fewer where the
    data are small)."""
    published_batch_size: int = 500
    """The batch that is taken where the data fill --min-steps-per-epoch of them, if --batch-size is 0."""
    min_steps_per_epoch: int = 20
    """Smaller data are cut into this many batches, if --batch-size is 0."""
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
    evaluate_every: int = 0
    """Epochs between evaluations on the validation users (0: as many as have 100 steps)."""
    patience: int = 0
    """Stop after this many evaluations without a better one (0: train all epochs)."""
    average: float = 0.0
    """Evaluate, keep and export the mean of the parameters at the evaluations so far, each weighing this much of the
    one after it, as 0.8 (1: all the same; 0: the parameters themselves)."""
    average_from: int = 1
    """First epoch whose parameters count in the mean; up to it the parameters themselves are evaluated."""
    keep_checkpoints: int = 2
    """How many of the last checkpoints stay (the best one stays besides)."""
    steps_per_call: int = 10
    """Steps of one inner loop; the progress is shown and signals are answered after each."""

    @property
    def keeps_last(self) -> bool:
        """Whether the last checkpoint is kept instead of the best, because no users are left to choose it by."""
        return False

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        counts = ("epochs", "published_batch_size", "min_steps_per_epoch", "keep_checkpoints", "steps_per_call")
        for name in (*counts, "average_from"):
            require(getattr(self, name) >= 1, name.replace("_", "-"), getattr(self, name), "a whole number from 1")
        for name in ("l2", "weight_decay", "patience", "batch_size", "evaluate_every"):
            require(getattr(self, name) >= 0, name.replace("_", "-"), getattr(self, name), "0 or more")
        for name in ("learning_rate", "epsilon"):
            require(getattr(self, name) > 0, name.replace("_", "-"), getattr(self, name), "more than 0")
        for name in ("beta1", "beta2", "warmup"):
            require(0 <= getattr(self, name) < 1, name, getattr(self, name), "a number from 0 to below 1")
        require(self.seed >= 0, "seed", self.seed, "a whole number from 0")
        require(math.isfinite(self.learning_rate), "learning-rate", self.learning_rate, "a finite number")
        require(0 <= self.average <= 1, "average", self.average, "a number from 0 to 1")
        if self.average_from > 1:
            require(self.average > 0, "average-from", self.average_from, "--average beside it, as 1")
            late = self.average_from > self.epochs
            require(not late, "average-from", self.average_from, f"at most --epochs, {self.epochs}")
        if self.learning_rate_schedule not in LEARNING_RATE_SCHEDULES:
            known = ", ".join(LEARNING_RATE_SCHEDULES)
            raise ValueError(f"unknown learning rate schedule {self.learning_rate_schedule!r}, known are: {known}")


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """Number formats and compilation."""

    precision: str = "fp32"
    """fp32, tf32, bf16, fp16, or auto: the fastest that is safe on this hardware. Parameters stay float32 in all."""
    exchange: str = "fp32"
    """Type in which ranks exchange gradients: fp32, or fp16, which is half of the bytes, for networks that are slower
    than the step. Each tensor is scaled to the range of fp16; gradients by row stay in fp32."""
    step: str = "auto"
    """sparse (TensorFlow's operators, for CPUs), compiled (one XLA program, for GPUs), or auto: compiled where the
    model has a compiled step and there is a GPU. Both train the same model; losses differ by rounding."""
    device_memory: float = 0.0
    """GiB that the temporary arrays of a compiled step may take; a larger batch is computed in parts (0: a third of
    the GPU's memory, 2 on a CPU)."""
    deterministic: bool = False
    """Use deterministic operators only: two runs on one GPU give the same bits. Slower."""
    xla: bool = False
    """Earlier name of --step compiled."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if self.precision not in PRECISIONS:
            raise ValueError(f"unknown precision {self.precision!r}, known are: {', '.join(PRECISIONS)}")
        if self.exchange not in EXCHANGES:
            raise ValueError(f"unknown --exchange {self.exchange!r}, known are: {', '.join(EXCHANGES)}")
        if self.step not in STEPS:
            raise ValueError(f"unknown step {self.step!r}, known are: {', '.join(STEPS)}")
        is_good = 0 <= self.device_memory < math.inf
        require(is_good, "device-memory", self.device_memory, "a number of GiB, 0 or more")


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """What is measured on held-out users, and what a run must reach."""

    PROTOCOL: ClassVar[str] = ""
    """The protocol of a metric that names none."""

    metrics: tuple[str, ...] = ("ndcg@100", "recall@20", "recall@50")
    """NAME@K with NAME one of ndcg, recall, uncapped-recall, map, mrr, precision, hr, coverage, or auc without @K;
    NAME@K/sampled among given candidates. More names: docs/evaluation.md."""
    final_metrics: tuple[str, ...] = ()
    """Measured besides on the best checkpoint, once."""
    primary: str = "ndcg@100"
    """The metric that decides which checkpoint is best."""
    gate: tuple[str, ...] = ()
    """Conditions on the validation set: ndcg@100:0.42 (at least), ndcg@100:1.1xpopularity (above a baseline; the
    default) or ndcg@100:ease-0.002; the lower end of the 95 % interval decides. The signs >=, > and * need quotes."""
    target: str = ""
    """Stop as soon as validation reaches this, as ndcg@100:0.42 (or in quotes "ndcg@100>=0.42"), and report the
    time it took."""
    baselines: tuple[str, ...] = ()
    """Besides popularity: ease, edlae, ials, bpr, itemknn."""
    ease_regularization: float = 500.0
    """Lambda of EASE."""
    evaluation_block: int = 512
    """Users ranked at once."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        require(self.evaluation_block >= 1, "evaluation-block", self.evaluation_block, "a whole number from 1")
        require(self.ease_regularization > 0, "ease-regularization", self.ease_regularization, "more than 0")


def check(config: Any) -> None:
    """Check a configuration and every component in it.

    The classes do not check themselves when they are made, because tyro would wrap the error.

    Raises:
        ValueError: one line that names flag, value and what was expected.
    """
    for part in dataclasses.fields(config):
        value = getattr(config, part.name)
        if dataclasses.is_dataclass(value):
            check(value)
    if hasattr(config, "check"):
        config.check()


EMBEDDING_GRADIENTS = ("auto", "dense", "rows")
"""Values of --embedding-gradients."""


def check_embedding_gradients(value: str) -> None:
    """Raise ValueError for a value of --embedding-gradients that there is not."""
    if value not in EMBEDDING_GRADIENTS:
        raise ValueError(f"unknown --embedding-gradients {value!r}, known are: {', '.join(EMBEDDING_GRADIENTS)}")


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """The configuration of a run; `config.yaml` of a run folder is one. Each family adds its model's components."""

    FREE: ClassVar[tuple[str, ...]] = (
        "data", "top_k", "export_users", "convert", "track", "track_export", "track_register",
        "training.keep_checkpoints", "training.steps_per_call",
        "evaluation.metrics", "evaluation.final_metrics", "evaluation.gate", "evaluation.baselines",
        "evaluation.ease_regularization", "evaluation.evaluation_block", "evaluation.target", "hardware.xla",
        "hardware.step", "hardware.device_memory", "hardware.deterministic",
    )  # fmt: skip
    """Settings that may change when a run is resumed: they do not change what is trained."""
    COMMON: ClassVar[tuple[str, ...]] = (
        "data", "run_dir", "preset", "training.epochs", "training.batch_size", "training.learning_rate",
        "hardware.precision", "evaluation.gate", "evaluation.baselines", "training.seed", "convert",
    )  # fmt: skip
    """Settings that `--help` shows; `--help-all` shows all."""
    PRESETS: ClassVar[Mapping[str, Preset]] = {}
    """Named configurations of the family, from which components that are not given are taken."""

    data: Path
    """Prepared data set (python -m data_prep)."""
    run_dir: Path
    """Folder of the run; must not exist yet."""
    preset: str = ""
    """Named configuration to start from."""
    top_k: int = 100
    """Items the exported model recommends."""
    export_users: bool = False
    """Export ids and histories of all users too, for a demonstration: whoever has the export has them."""
    convert: str = ""
    """Convert the export when the gate was passed: comma-separated savedmodel, onnx, tensorrt, tf-trt."""
    track: str = ""
    """Write the run to a tracking server too: mlflow, or mlflow:URI (docs/model-card.md)."""
    track_export: bool = False
    """Upload the export folder to the tracking server too."""
    track_register: str = ""
    """Upload the export, and register it there as the next version of the model of this name."""
    warm_start: str = ""
    """Folder of an older run: start from its best checkpoint, items (and users) matched by id; new ones start fresh."""
    training: TrainingConfig = FROM_PRESET
    evaluation: EvaluationConfig = FROM_PRESET
    hardware: HardwareConfig = FROM_PRESET

    def __post_init__(self) -> None:
        """Take the components that were not given from the preset.

        Raises:
            ValueError: components are missing, and the preset is unknown.
        """
        own = [f.name for f in dataclasses.fields(self) if f.default is FROM_PRESET]
        missing = [name for name in own if getattr(self, name) is FROM_PRESET]
        if not missing:
            return
        if self.PRESETS and self.preset not in self.PRESETS:
            raise ValueError(f"unknown preset {self.preset!r}, known are: {', '.join(self.PRESETS)}")
        if self.PRESETS and not isinstance(self, type(self.PRESETS[self.preset].config)):
            expected = type(self.PRESETS[self.preset].config).__name__
            raise ValueError(f"preset {self.preset!r} is one of {expected}, this is {type(self).__name__}")
        classes = get_type_hints(type(self))
        for name in missing:
            value = getattr(self.PRESETS[self.preset].config, name) if self.PRESETS else classes[name]()
            object.__setattr__(self, name, value)  # the class is frozen

    @property
    def view(self) -> str:
        """The view of the data set that the run trains on; see `dataset.Dataset.viewed`."""
        return ""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        for name in self.convert.split(",") if self.convert else ():
            if name.strip() not in FORMATS:
                raise ValueError(f"unknown format {name!r} in --convert, known are: {', '.join(FORMATS)}")
        require(self.top_k >= 1, "top-k", self.top_k, "a whole number from 1")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named configuration and the result to expect of it."""

    config: Any
    about: str
    """A sentence that fits on a line of `--help`; then command, machine, duration, and the number to expect."""
    model: str = ""
    """MODULE:CLASS of its `Recommender`; "" for the first model of the family."""
    search: Mapping[str, Parameter] = field(default_factory=dict)
    """Setting -> the values that `python -m FAMILY.tune` tries."""

    @property
    def summary(self) -> str:
        """The first sentence of `about`."""
        return self.about.partition(". ")[0].rstrip(".")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What the commands need to know of a family before its model is imported."""

    family: str
    """Name of the Python package."""
    model: str
    """MODULE:CLASS of its first `Recommender`; a preset of another one names it."""
    description: str
    """First lines of `--help`."""
    presets: Mapping[str, Preset]
    """The first is the default."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Settings of earlier versions -> their names today."""
    earlier: Mapping[str, Any] = field(default_factory=dict)
    """Components that runs of earlier versions lack -> what those runs did."""

    def preset(self, name: str | None) -> Preset:
        """A preset by name; the first one where there is none of this name, as in runs of earlier versions."""
        return self.presets.get(name or "", next(iter(self.presets.values())))

    def model_class(self, preset: str | None = None) -> Any:
        """The `Recommender` of a preset; imports its module, and TensorFlow with it."""
        module, _, name = (self.preset(preset).model or self.model).partition(":")
        return getattr(import_module(module), name)


def plain(value: Any) -> Any:
    """A configuration, or a part of one, as dictionaries, lists, texts and numbers."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return str(value) if isinstance(value, Path) else value
