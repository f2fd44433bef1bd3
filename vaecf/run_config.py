"""What a run of every model of VAE-CF can be told besides the settings of its model."""

from __future__ import annotations

from dataclasses import dataclass

from recsys_core.config import ALL_USERS, FROM_PRESET, RunConfig, check_embedding_gradients

EARLIER = {"first_layer": {"embedding_gradients": "dense"}, "start": {"items_from": "random"}}
"""What runs of versions without these components did."""


@dataclass(frozen=True, kw_only=True)
class FirstLayerConfig:
    """The layer that reads a history: its kernel has a row for each item."""

    embedding_gradients: str = "auto"
    """How its kernel is updated: dense (all rows), rows (those of the batch's items, lazy Adam), or auto (by cost)."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        check_embedding_gradients(self.embedding_gradients)


ITEMS_FROM = ("random", "ease", "auto")


@dataclass(frozen=True, kw_only=True)
class StartConfig:
    """Where a training begins."""

    items_from: str = "random"
    """What the first and last layers' kernels start from: random numbers, ease (EASE's weights, cut to the width of the
    layer), or auto (ease up to 25,000 items)."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        if self.items_from not in ITEMS_FROM:
            raise ValueError(f"unknown --items-from {self.items_from!r}, known are: {', '.join(ITEMS_FROM)}")


@dataclass(frozen=True, kw_only=True)
class VaeRunConfig(RunConfig):
    """Everything a run depends on, but for the model."""

    final_fit: str = ""
    """Folder of a finished run that passed its gate: train with its settings, to its best epoch, on all users, the
    held-out ones too, and export that model. Takes every setting from that run."""

    first_layer: FirstLayerConfig = FROM_PRESET
    start: StartConfig = FROM_PRESET

    @property
    def view(self) -> str:
        return ALL_USERS if self.final_fit else ""
