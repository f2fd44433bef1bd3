"""The configuration of RecVAE and its presets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import tyro

from recsys_core.config import FROM_PRESET, Preset, TrainingConfig, require
from recsys_core.search_space import Choice, Parameter, Real, Whole
from vaecf.run_config import StartConfig, VaeRunConfig

PRIORS = ("composite", "standard")


@dataclass(frozen=True, kw_only=True)
class RecVaeConfig:
    """The network, its prior, and how its halves take turns."""

    hidden: tuple[int, ...] = (600, 600, 600, 600, 600)
    """Widths of the encoder's hidden layers. Where --dense-encoder is on, all are the same."""
    latent: int = 200
    """Width of the code."""
    dense_encoder: bool = True
    """Add the outputs of all earlier layers to each layer, before its activation."""
    dropout: float = 0.5
    """Share of a user's items hidden from the encoder while it is trained; the decoder is trained without."""
    prior: str = "composite"
    """composite (standard normal, the code's distribution by an earlier encoder, and a wide normal) or standard."""
    standard_weight: float = 0.15
    """Weight of the standard normal in the composite prior."""
    earlier_weight: float = 0.75
    """Weight of the earlier encoder's distribution in the composite prior; the wide normal has the rest."""
    gamma: float = 0.005
    """Weight of the KL term of a user for each of its items (0: --anneal-cap for every user instead)."""
    anneal_cap: float = 0.2
    """Largest weight of the KL term where --gamma is 0; it rises from 0 over the whole run."""
    encoder_epochs: int = 3
    """Epochs in a row in which the encoder is trained, before one in which the decoder is (0: both together)."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if not self.hidden or min((*self.hidden, self.latent)) < 1:
            raise ValueError(f"--hidden is {self.hidden} and --latent {self.latent}, expected widths from 1")
        if self.dense_encoder and len(set(self.hidden)) > 1:
            raise ValueError(
                f"--hidden is {self.hidden}, expected equal widths with --dense-encoder, which adds them up"
            )
        require(0 <= self.dropout < 1, "dropout", self.dropout, "a share from 0 to below 1")
        if self.prior not in PRIORS:
            raise ValueError(f"unknown --prior {self.prior!r}, known are: {', '.join(PRIORS)}")
        weights = self.standard_weight, self.earlier_weight
        if min(weights) <= 0 or sum(weights) >= 1:
            raise ValueError(
                f"--standard-weight is {weights[0]} and --earlier-weight {weights[1]}, expected two numbers above 0 "
                "whose sum is below 1"
            )
        for name in ("gamma", "anneal_cap", "encoder_epochs"):
            require(getattr(self, name) >= 0, name.replace("_", "-"), getattr(self, name), "0 or more")


@dataclass(frozen=True, kw_only=True)
class RecVaeRunConfig(VaeRunConfig):
    """Everything a run of RecVAE depends on."""

    preset: str = "recvae"
    """Named configuration to start from."""
    model: RecVaeConfig = FROM_PRESET


def _config(preset: str, model: RecVaeConfig, training: TrainingConfig) -> Any:
    return RecVaeRunConfig(
        data=tyro.MISSING, run_dir=tyro.MISSING, preset=preset, model=model, training=training, start=START
    )


START = StartConfig(items_from="auto")
TRAINING = TrainingConfig(epochs=200, learning_rate=1e-3, evaluate_every=8, average=0.8)
SEARCH: dict[str, Parameter] = {
    "learning_rate": Real(2e-4, 4e-3, log=True),
    "gamma": Real(1e-3, 2e-2, log=True),
    "dropout": Real(0.3, 0.8),
    "latent": Whole(64, 512, log=True),
    "l2": Real(1e-6, 1e-3, log=True),
    "encoder_epochs": Choice(1, 2, 3),
}
"""What is searched for a RecVAE."""

PRESETS: dict[str, Preset] = {
    "recvae": Preset(
        model="vaecf.recvae:RecVae",
        config=_config("recvae", RecVaeConfig(), TRAINING),
        about="RecVAE: network, prior and KL term as published. Of four epochs three train the encoder and one the "
        "decoder (200 epochs are 50 of the paper's); Adam 1e-3 instead of 5e-4, the mean of the parameters of the last "
        "evaluations, and item matrices that start from EASE. ML-1M (all interactions, 750 + 750 users held out by the "
        "paper's protocol): test NDCG@100 0.491 +- 0.006 in 3 minutes on 2 CPU cores. Published for ML-20M: 0.442; "
        "not measured by us.",
        search=SEARCH,
    ),
}
