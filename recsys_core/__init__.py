"""The parts that all models share: data set, input pipeline, ranks, trainer, evaluation, export.

from recsys_core import Dataset, Recommender, Trainer, load

No model of a family is here. Shape legend of this package: U users, I items, B users in a batch, N interactions in a
batch, K top-k, M metrics, H hidden units, L latent units.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

# Read by TensorFlow when it is imported, so set here, before any module of ours can import it.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# TensorFlow leaves its oneDNN kernels off on CPUs without AVX-512; there too they multiply matrices 1.2 to 1.9 times
# as fast as its own (`python -m benchmarks train`, with TF_ENABLE_ONEDNN_OPTS=0 and 1).
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")


def _xla_flags(flags: str) -> str:
    """XLA's flags with the folder of the CUDA compiler that comes with TensorFlow's extra `and-cuda`, if it is there.

    XLA looks for it in folders of a toolkit that such a machine need not have.
    """
    found = find_spec("nvidia.cuda_nvcc") if find_spec("nvidia") else None
    if found is None or not found.submodule_search_locations or "xla_gpu_cuda_data_dir" in flags:
        return flags
    return f"{flags} --xla_gpu_cuda_data_dir={next(iter(found.submodule_search_locations))}".strip()


if _found := _xla_flags(os.environ.get("XLA_FLAGS", "")):
    os.environ["XLA_FLAGS"] = _found

if TYPE_CHECKING:
    from recsys_core.dataset import Dataset
    from recsys_core.model import Recommender, load
    from recsys_core.training.trainer import Trainer

__all__ = ["Dataset", "Recommender", "Trainer", "load"]
_HOMES = {
    "Dataset": "recsys_core.dataset",
    "Recommender": "recsys_core.model",
    "Trainer": "recsys_core.training.trainer",
    "load": "recsys_core.model",
}


def __getattr__(name: str) -> Any:
    """Import a class when it is first used, and TensorFlow with it: `--help` must not wait for it."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
