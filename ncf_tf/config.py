"""The configuration of NCF and its presets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import tyro

from recsys_core.config import (
    FINAL_FIT,
    FROM_PRESET,
    EvaluationConfig,
    ModelSpec,
    Preset,
    RunConfig,
    TrainingConfig,
    check_embedding_gradients,
)
from recsys_core.search_space import Choice, Parameter, Real, Whole

KINDS = ("neumf", "gmf", "mlp")
RENAMED = {"members": "ensemble_size", "embedding_deviation": "embedding_stddev"}
"""Settings of earlier versions -> their names today."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network."""

    kind: str = "neumf"
    """neumf (both towers), gmf (product of embeddings) or mlp (hidden layers over embeddings)."""
    factors: int = 8
    """Width of the GMF embeddings, and of the last hidden layer where --layers is not given."""
    layers: tuple[int, ...] = ()
    """The MLP tower: first twice the width of its embeddings, then its hidden layers.
    Without a value: 8, 4, 2 and 1 times --factors, as published."""
    dot_product: bool = False
    """Keep the GMF's output weights at 1: it then is a dot product, and --embedding-l2 limits it (Rendle et al. 2020).
    With weights that are learnt, they grow as the embeddings shrink, and that penalty has little effect."""
    biases: bool = False
    """A bias for every user and every item."""
    ensemble_size: int = 1
    """Dot products trained side by side from other initial values, each by its own loss; their mean recommends. The
    model has as many times the parameters, and is exported as one dot product of as many times the --factors."""
    dropout: float = 0.0
    """Share of the units dropped after each hidden layer."""
    embedding_dropout: float = 0.0
    """Share of the embeddings' units dropped."""
    embedding_stddev: float = 0.01
    """Standard deviation of the embeddings' initial values."""
    embedding_l2: float = 0.0
    """Adds this times the squared norms of the embeddings of each sample to the loss."""

    @property
    def tower(self) -> tuple[int, ...]:
        """Widths of the MLP tower, as in `layers`."""
        return self.layers or tuple(self.factors * scale for scale in (8, 4, 2, 1))

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if self.kind not in KINDS:
            raise ValueError(f"unknown --kind {self.kind!r}, known are: {', '.join(KINDS)}")
        if self.factors < 1:
            raise ValueError(f"--factors is {self.factors}, expected a whole number from 1")
        if self.ensemble_size < 1:
            raise ValueError(f"--ensemble-size is {self.ensemble_size}, expected a whole number from 1")
        if self.ensemble_size > 1 and not (self.kind == "gmf" and self.dot_product):
            raise ValueError(
                f"--ensemble-size {self.ensemble_size} is for --kind gmf --dot-product, whose members add up to one"
            )
        if len(self.tower) < 2 or min(self.tower) < 1 or self.tower[0] % 2:
            raise ValueError(
                f"--layers is {self.layers}, expected two or more widths from 1, the first an even number (it is "
                "divided between user and item), as 64 32 16 8"
            )
        for name in ("dropout", "embedding_dropout"):
            if not 0 <= getattr(self, name) < 1:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} is {getattr(self, name)}, expected a share from 0 to below 1")
        if not 0 < self.embedding_stddev <= 10:
            raise ValueError(f"--embedding-stddev is {self.embedding_stddev}, expected more than 0, as 0.01")
        if self.embedding_l2 < 0:
            raise ValueError(f"--embedding-l2 is {self.embedding_l2}, expected 0 or more")


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """What a positive is compared with in training."""

    negatives: int = 4
    """Items drawn for each positive, uniformly and anew in every epoch."""
    verify_negatives: bool = False
    """Draw again what the user has in training data."""
    embedding_gradients: str = "auto"
    """How tables are updated: dense (all rows), rows (those of the batch, lazy Adam), or auto (by cost)."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if self.negatives < 1:
            raise ValueError(f"--negatives is {self.negatives}, expected a whole number from 1")
        check_embedding_gradients(self.embedding_gradients)


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """Where a NeuMF starts (He et al. 2017, section 3.4.1)."""

    pretrain: bool = False
    """Train a GMF and an MLP first, into RUN_DIR/gmf and RUN_DIR/mlp, and start from them."""
    alpha: float = 0.5
    """Weight of the GMF's output layer; the MLP's has 1 - alpha."""
    pretrain_epochs: int = 0
    """Epochs of the two (0: --epochs)."""
    pretrain_learning_rate: float = 0.0
    """Step size of the two (0: --learning-rate)."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if not 0 <= self.alpha <= 1:
            raise ValueError(f"--alpha is {self.alpha}, expected a share from 0 to 1")
        if self.pretrain_epochs < 0 or self.pretrain_learning_rate < 0:
            raise ValueError(
                f"--pretrain-epochs is {self.pretrain_epochs} and --pretrain-learning-rate "
                f"{self.pretrain_learning_rate}, expected 0 or more"
            )


@dataclass(frozen=True, kw_only=True)
class NcfTrainingConfig(TrainingConfig):
    """Length, step sizes and evaluation intervals of a training."""

    epochs: int = 20
    """Visits of every training pair."""
    batch_size: int = 0
    """Samples (positives and their negatives) in a global batch, divided among the ranks (0: --published-batch-size, or
    fewer where the data are small)."""
    published_batch_size: int = 16_384
    """The batch that is taken where the data fill --min-steps-per-epoch of them, if --batch-size is 0."""
    min_steps_per_epoch: int = 100
    """Smaller data are cut into this many batches, if --batch-size is 0."""
    evaluate_every: int = 0
    """Epochs between evaluations on the validation items (0: as many as have 100 steps)."""
    final_fit: bool = False
    """Train on the validation items too, when epochs and all else have been chosen by them: there is no best
    checkpoint then but the last, and the gate is judged by the test items."""
    choose_on_test: bool = False
    """With --final-fit: take the epoch that is best on the test items, as He et al. did. Only for comparing with
    figures that were made so."""

    @property
    def keeps_last(self) -> bool:
        return self.final_fit and not self.choose_on_test


@dataclass(frozen=True, kw_only=True)
class NcfEvaluationConfig(EvaluationConfig):
    """What is measured on held-out items, and what a run must reach."""

    PROTOCOL: ClassVar[str] = "sampled"

    metrics: tuple[str, ...] = ("hr@10", "ndcg@10")
    """NAME@K among the sampled candidates (over the whole catalogue where the data set has none); NAME@K/all over the
    whole catalogue."""
    final_metrics: tuple[str, ...] = ("recall@10/all", "recall@50/all", "ndcg@10/all")
    """Measured besides on the best checkpoint, once."""
    primary: str = "hr@10"
    """The metric that decides which checkpoint is best."""
    gate: tuple[str, ...] = ()
    """Conditions on the validation items: hr@10:0.68 (at least), hr@10:1.1xpopularity (above a baseline; the default)
    or hr@10:ease-0.002; the lower end of the 95 % interval decides. The signs >=, > and * need quotes."""
    target: str = ""
    """Stop as soon as validation reaches this, as hr@10:0.68 (or in quotes "hr@10>=0.68"), and report the time it
    took."""


@dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Everything a run depends on; `config.yaml` of a run folder is one."""

    data: Path
    """Prepared data set (python -m data_prep NAME --protocol leave-one-out, time or per-user)."""
    preset: str = "he2017"
    """A preset's name, or a preset file."""
    model: ModelConfig = FROM_PRESET
    sampling: SamplingConfig = FROM_PRESET
    pretraining: PretrainingConfig = FROM_PRESET
    training: NcfTrainingConfig = FROM_PRESET
    evaluation: NcfEvaluationConfig = FROM_PRESET

    @property
    def view(self) -> str:
        return FINAL_FIT if self.training.final_fit else ""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        super().check()
        if self.warm_start and self.pretraining.pretrain:
            raise ValueError("--warm-start and --pretrain both give the initial parameters; leave one of them out")
        check_together(self.model, self.pretraining, self.training, self.evaluation)


def check_together(
    model: ModelConfig, pretraining: PretrainingConfig, training: TrainingConfig, evaluation: EvaluationConfig
) -> None:
    """Raise ValueError for settings that do not go together."""
    final_fit, on_test = (getattr(training, name, False) for name in ("final_fit", "choose_on_test"))
    if on_test and not final_fit:
        raise ValueError("--choose-on-test goes with --final-fit")
    if final_fit and (training.patience or evaluation.target):
        raise ValueError("--final-fit has no validation items left to evaluate --patience or --target on")
    if not pretraining.pretrain:
        return
    if model.kind != "neumf":
        raise ValueError(f"--pretrain is for --kind neumf, which merges a GMF and an MLP; this is {model.kind}")
    epochs = pretraining.pretrain_epochs or training.epochs
    if training.average_from > epochs:
        raise ValueError(
            f"--average-from is {training.average_from}, expected at most {epochs}, the epochs of "
            "pre-training: the towers take means too"
        )


def _config(preset: str, model: ModelConfig, training: NcfTrainingConfig, **others: Any) -> Any:
    return Config(data=tyro.MISSING, run_dir=tyro.MISSING, preset=preset, model=model, training=training, **others)


NEUMF_SEARCH: dict[str, Parameter] = {
    "learning_rate": Real(5e-4, 2e-2, log=True),
    "batch_size": Choice(0, 2048, 8192, 16_384),
    "factors": Choice(8, 16, 32, 64),
    "negatives": Whole(2, 16),
    "dropout": Real(0.0, 0.5),
    "embedding_dropout": Real(0.0, 0.5),
    "embedding_stddev": Real(3e-3, 0.3, log=True),
    "embedding_l2": Real(1e-7, 1e-2, log=True),
}
"""What is searched for a NeuMF; 0 leaves the batch size to the data."""
DOT_SEARCH: dict[str, Parameter] = {
    "learning_rate": Real(0.03, 1.0, log=True),
    "batch_size": Choice(0, 16_384, 69_632, 139_264),
    "factors": Choice(32, 64, 128, 256),
    "negatives": Whole(4, 32),
    "embedding_stddev": Real(0.03, 0.3, log=True),
    "embedding_l2": Real(2e-4, 1e-2, log=True),
}
"""What is searched for dot products."""
LARGE_SEARCH: dict[str, Parameter] = {
    "learning_rate": Real(1e-3, 2e-2, log=True),
    "batch_size": Choice(0, 1 << 17, 1 << 19, 1 << 20),
    "negatives": Whole(2, 16),
    "dropout": Real(0.0, 0.7),
    "beta1": Real(0.1, 0.9),
    "beta2": Real(0.4, 0.999),
    "embedding_stddev": Real(3e-3, 0.3, log=True),
}
"""What is searched for a NeuMF in large batches."""

PRESETS: dict[str, Preset] = {
    "he2017": Preset(
        config=_config(
            "he2017",
            ModelConfig(),
            NcfTrainingConfig(epochs=16, learning_rate=4e-3, learning_rate_schedule="linear"),
            sampling=SamplingConfig(verify_negatives=True),
        ),
        about="NeuMF as published, negatives verified, in batches of 16,384 samples instead of 256. It has 8 factors "
        "and a tower of 64-32-16-8; --factors 16, 32 or 64 scales them.",
        search=NEUMF_SEARCH,
    ),
    "tuned": Preset(
        config=_config(
            "tuned",
            ModelConfig(
                kind="gmf",
                factors=128,
                dot_product=True,
                biases=True,
                ensemble_size=2,
                embedding_stddev=0.1,
                embedding_l2=1.25e-3,
            ),
            # Adam with so large an epsilon is gradient descent with momentum, at rate 0.3 / 1e-4: it does not raise the
            # steps of rare users and items as Adam does, and generalises better here (0.729 against 0.726).
            NcfTrainingConfig(
                epochs=24, published_batch_size=69_632, learning_rate=0.3, epsilon=1e-4, learning_rate_schedule="linear"
            ),
            sampling=SamplingConfig(negatives=16),
        ),
        about="the mean of two dot products with biases, more accurate than NeuMF. 128 factors each, 16 negatives, "
        "L2 that limits them, gradient descent with momentum. ML-1M, published split, with --final-fit: test HR@10 "
        "0.733 +- 0.001, NDCG@10 0.455 +- 0.001 (three seeds). One of the two (--ensemble-size 1) has 0.729 and 0.451.",
        search=DOT_SEARCH,
    ),
    "nvidia": Preset(
        config=_config(
            "nvidia",
            ModelConfig(factors=64, layers=(256, 256, 128, 64), dropout=0.5),
            NcfTrainingConfig(
                epochs=30,
                published_batch_size=1 << 20,
                min_steps_per_epoch=50,
                learning_rate=4.5e-3,
                beta1=0.25,
                beta2=0.5,
            ),
        ),
        about="the large-batch hyperparameters of NVIDIA's NCF. Published for ML-20M: HR@10 0.959 (candidates as "
        "MLPerf draws them) in 141 s on one A100; not measured by us.",
        search=LARGE_SEARCH,
    ),
    "quick": Preset(
        config=_config(
            "quick",
            ModelConfig(),
            NcfTrainingConfig(epochs=4, learning_rate=8e-3, learning_rate_schedule="linear"),
        ),
        about="a small model for a first look; what `make train MODEL=ncf` runs. Synthetic data (--like demo): test "
        "HR@10 0.53 of 100 candidates, popularity 0.41, in a minute on 2 CPU cores.",
        search=NEUMF_SEARCH,
    ),
}
Config.PRESETS = PRESETS  # from here on a Config takes from its preset what it is not given

SPEC = ModelSpec(
    family="ncf_tf",
    model="ncf_tf.model:NeuMf",
    description="Train GMF, MLP or NeuMF on a prepared data set, on one process or on Horovod ranks.",
    presets=PRESETS,
    renamed=RENAMED,
)
