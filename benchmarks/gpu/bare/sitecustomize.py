"""Python runs this first on the GPU machine: it hides frameworks that are installed there from TensorFlow.

Keras imports orbax, jax and PyTorch where it finds them; beside TensorFlow that ends the process. TensorFlow 2.17 needs
distutils, which Python 3.12 has from setuptools only.
"""

import importlib.abc
import sys

import setuptools  # noqa: F401

HIDDEN = {"orbax", "jax", "jaxlib", "tensorstore", "flax", "torch", "torchvision", "cupy", "onnx", "tensorboardX"}


class HideFrameworks(importlib.abc.MetaPathFinder):
    """Finds none of the hidden packages, and says so before other finders are asked."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"{name} is hidden from TensorFlow", name=name)


sys.meta_path.insert(0, HideFrameworks())
