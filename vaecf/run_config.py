"""What a run of every model of VAE-CF can be told besides the settings of its model."""

from __future__ import annotations

from dataclasses import dataclass

from recsys_core.config import ALL_USERS, RunConfig


@dataclass(frozen=True, kw_only=True)
class VaeRunConfig(RunConfig):
    """Everything a run depends on, but for the model."""

    final_fit: str = ""
    """Folder of a finished run that passed its gate: train with its settings, to its best epoch, on all users, the
    held-out ones too, and export that model. Takes every setting from that run."""

    @property
    def view(self) -> str:
        return ALL_USERS if self.final_fit else ""
