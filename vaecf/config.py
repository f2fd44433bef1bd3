"""The configuration of Mult-VAE and Mult-DAE, and the presets of all models of VAE-CF."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tyro

from recsys_core.config import FROM_PRESET, ModelSpec, Preset, TrainingConfig, require
from recsys_core.search_space import Choice, Parameter, Real, Whole
from vaecf import joint_config, recvae_config, vamp_config
from vaecf.run_config import EARLIER, VaeRunConfig

KINDS = ("vae", "dae")
ACTIVATIONS = ("tanh", "relu")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network and its likelihood."""

    kind: str = "vae"
    """vae (variational, sampled code) or dae (denoising, deterministic code)."""
    hidden: tuple[int, ...] = (600,)
    """Widths between the items and the code; the decoder mirrors them. Without a value: none."""
    latent: int = 200
    """Width of the code."""
    activation: str = "tanh"
    """tanh or relu."""
    dropout: float = 0.5
    """Share of a user's items hidden from the encoder in training."""
    anneal_cap: float = 0.2
    """Largest weight of the KL term (vae)."""
    anneal_fraction: float = 0.85
    """Share of the run over which that weight rises from 0, whatever the batch size."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if self.kind not in KINDS:
            raise ValueError(f"unknown --kind {self.kind!r}, known are: {', '.join(KINDS)}")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"unknown --activation {self.activation!r}, known are: {', '.join(ACTIVATIONS)}")
        if min((*self.hidden, self.latent)) < 1:
            raise ValueError(f"--hidden is {self.hidden} and --latent {self.latent}, expected widths from 1")
        require(0 <= self.dropout < 1, "dropout", self.dropout, "a share from 0 to below 1")
        if self.anneal_cap < 0 or not 0 <= self.anneal_fraction <= 1:
            raise ValueError(
                f"--anneal-cap is {self.anneal_cap} and --anneal-fraction {self.anneal_fraction}, "
                "expected 0 or more, and a share from 0 to 1"
            )


@dataclass(frozen=True, kw_only=True)
class Config(VaeRunConfig):
    """Everything a run depends on; `config.yaml` of a run folder is one."""

    preset: str = "paper"
    """A preset's name, or a preset file."""
    model: ModelConfig = FROM_PRESET


def _config(preset: str, model: ModelConfig, training: TrainingConfig) -> Any:
    return Config(data=tyro.MISSING, run_dir=tyro.MISSING, preset=preset, model=model, training=training)


DAE_SEARCH: dict[str, Parameter] = {
    "learning_rate": Real(2e-4, 1e-2, log=True),
    "batch_size": Choice(0, 100, 200, 500, 1000),
    "l2": Real(1e-6, 1e-2, log=True),
    "dropout": Real(0.1, 0.8),
    "latent": Whole(64, 512, log=True),
}
"""What is searched for a Mult-DAE; 0 leaves the batch size to the data."""
VAE_SEARCH: dict[str, Parameter] = DAE_SEARCH | {
    "hidden": Choice((), (300,), (600,), (1000,)),
    "anneal_cap": Real(0.02, 1.0, log=True),
    "anneal_fraction": Real(0.1, 1.0),
}
"""What is searched for a Mult-VAE."""

MULT_VAE: dict[str, Preset] = {
    "paper": Preset(
        config=_config("paper", ModelConfig(), TrainingConfig(epochs=200)),
        about="Mult-VAE as published: I-600-200-600-I, Adam 1e-3, 200 epochs. Batches of 500 (fewer on small data). "
        "ML-1M (all interactions, 750 + 750 users held out by the paper's protocol): test NDCG@100 0.448 +- 0.006 "
        "in 5 minutes on 2 CPU cores. Published for ML-20M: 0.426.",
        search=VAE_SEARCH,
    ),
    "shallow": Preset(
        config=_config(
            "shallow",
            ModelConfig(kind="dae", hidden=(), latent=200),
            TrainingConfig(epochs=200, l2=5e-4),
        ),
        about="Mult-DAE without hidden layers and with L2, better on small data sets. "
        "ML-1M as above: test NDCG@100 0.481 +- 0.006 in 2 minutes on 2 CPU cores.",
        search=DAE_SEARCH,
    ),
    "nvidia": Preset(
        config=_config(
            "nvidia",
            ModelConfig(anneal_cap=0.1, anneal_fraction=1.0),
            TrainingConfig(
                epochs=400,
                published_batch_size=24_576,
                min_steps_per_epoch=4,  # ML-20M fills 4.7 of its batches
                learning_rate=4e-3,
                beta2=0.9,
                evaluate_every=10,
            ),
        ),
        about="the large-batch hyperparameters of NVIDIA's VAE-CF. Batches of 24,576, Adam 4e-3. "
        "Published for ML-20M: 0.430 (validation users) in 113 s on one A100; not measured by us.",
        search=VAE_SEARCH | {"batch_size": Choice(0, 4096, 8192, 24_576), "beta2": Real(0.8, 0.999)},
    ),
    "quick": Preset(
        config=_config(
            "quick",
            ModelConfig(hidden=(), latent=128),
            TrainingConfig(epochs=20, learning_rate=2e-3),
        ),
        about="a small model for a first look; what `make train` runs. "
        "Synthetic data (--like demo): test NDCG@100 0.26, popularity 0.11, in half a minute on 2 CPU cores.",
        search=VAE_SEARCH,
    ),
}
PRESETS: dict[str, Preset] = {**MULT_VAE, **recvae_config.PRESETS, **vamp_config.PRESETS, **joint_config.PRESETS}
for _preset in PRESETS.values():  # from here on a configuration takes from its preset what it is not given
    type(_preset.config).PRESETS = PRESETS

SPEC = ModelSpec(
    family="vaecf",
    model="vaecf.model:MultVae",
    description="Train a model of VAE-CF on a prepared data set, on one process or on ranks.",
    presets=PRESETS,
    earlier=EARLIER,
)
