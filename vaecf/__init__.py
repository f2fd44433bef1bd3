"""Mult-VAE and Mult-DAE (Liang et al. 2018, "Variational Autoencoders for Collaborative Filtering").

horovodrun -np 4 python -m vaecf.train --data DIR --run-dir DIR
python -m vaecf.evaluate --run-dir DIR
from vaecf import MultVae
"""

from typing import TYPE_CHECKING, Any

import recsys_core  # noqa: F401 - sets what TensorFlow reads from the environment

if TYPE_CHECKING:
    from vaecf.model import MultVae

__all__ = ["MultVae"]


def __getattr__(name: str) -> Any:
    """Import the model, and TensorFlow with it, when it is first used: `--help` must not wait for it."""
    if name == "MultVae":
        from vaecf.model import MultVae

        return MultVae
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
