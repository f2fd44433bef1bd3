"""Neural collaborative filtering: GMF, MLP and NeuMF (He et al. 2017, "Neural Collaborative Filtering").

horovodrun -np 4 python -m ncf_tf.train --data DIR --run-dir DIR
python -m ncf_tf.evaluate --run-dir DIR
from ncf_tf import NeuMf
"""

from typing import TYPE_CHECKING, Any

import recsys_core  # noqa: F401 - sets what TensorFlow reads from the environment

if TYPE_CHECKING:
    from ncf_tf.model import NeuMf

__all__ = ["NeuMf"]


def __getattr__(name: str) -> Any:
    """Import the model, and TensorFlow with it, when it is first used: `--help` must not wait for it."""
    if name == "NeuMf":
        from ncf_tf.model import NeuMf

        return NeuMf
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
