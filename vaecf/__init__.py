"""Mult-VAE and Mult-DAE (Liang et al. 2018, "Variational Autoencoders for Collaborative Filtering").

horovodrun -np 4 python -m vaecf.train --data DIR --run-dir DIR
python -m vaecf.evaluate --run-dir DIR
from vaecf import MultVae, RecVae, VampVae, JointVae
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

import recsys_core  # noqa: F401 - sets what TensorFlow reads from the environment

if TYPE_CHECKING:
    from vaecf.joint import JointVae
    from vaecf.model import MultVae
    from vaecf.recvae import RecVae
    from vaecf.vamp import VampVae

__all__ = ["JointVae", "MultVae", "RecVae", "VampVae"]
_MODULES = {"JointVae": "joint", "MultVae": "model", "RecVae": "recvae", "VampVae": "vamp"}


def __getattr__(name: str) -> Any:
    """Import a model, and TensorFlow with it, when it is first used: `--help` must not wait for it."""
    if name in _MODULES:
        return getattr(import_module(f"vaecf.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
