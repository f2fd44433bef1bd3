"""The TensorRT engine, by the Python API that TensorRT 8.6, 10 and 11 share: tensors by name.

It was not run, for want of a GPU with TensorRT; docs/tensorrt.md says how it was tested without one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from serving.engines import cuda, gpu
from serving.engines.outputs import RANKED, hide_seen
from serving.export_folder import Arrays

PROFILE = 0
"""Engines are built with one optimisation profile."""


class TensorRtEngine:
    """Runs a TensorRT plan on the first GPU. One thread at a time."""

    def __init__(self, plan: Path | bytes, dla_core: int = -1) -> None:
        """
        Args:
            dla_core: the DLA core that the plan was built for; -1 for none.

        Raises:
            ValueError: a package or the GPU is missing, or the plan was built by another TensorRT or for another GPU.
        """
        if lacking := cuda.missing_requirements() + gpu.missing_requirements():
            raise ValueError(f"a TensorRT engine cannot run here: {'; '.join(lacking)}")
        import tensorrt as trt

        self._trt = trt
        self._logger = trt.Logger(trt.Logger.WARNING)
        self._runtime = trt.Runtime(self._logger)
        if dla_core >= 0:
            self._runtime.DLA_core = dla_core
        self._engine = self._runtime.deserialize_cuda_engine(plan if isinstance(plan, bytes) else plan.read_bytes())
        if self._engine is None:
            raise ValueError(
                f"this engine was built for another GPU, or by another TensorRT than {trt.__version__}: convert again"
            )
        self._context = self._engine.create_execution_context()
        self._memory = cuda.DeviceMemory()
        self._types: dict[str, npt.DTypeLike] = {}
        outputs = []
        for k in range(self._engine.num_io_tensors):
            name = self._engine.get_tensor_name(k)
            self._types[name] = trt.nptype(self._engine.get_tensor_dtype(name))
            if self._engine.get_tensor_mode(name) == trt.TensorIOMode.OUTPUT:
                outputs.append(name)
        self.outputs = frozenset(outputs)

    def _set_input(self, name: str, values: npt.NDArray) -> npt.NDArray:
        """Tell the engine the shape of an input and start its copy to the GPU; returns the copied array.

        Raises:
            ValueError: the shape is outside of those that the engine was built for.
        """
        array = cuda.contiguous(values, self._types[name])
        if not self._context.set_input_shape(name, array.shape):
            smallest, _, largest = (tuple(s) for s in self._engine.get_tensor_profile_shape(name, PROFILE))
            raise ValueError(
                f"{name} has the shape {array.shape}, this engine takes {smallest} to {largest}: send less, or convert "
                "with a larger --max-batch or --max-history"
            )
        address = self._memory.buffer(name, array.nbytes)
        self._set_address(name, address)
        self._memory.copy_in(address, array)
        return array

    def _set_address(self, name: str, address: int) -> None:
        if not self._context.set_tensor_address(name, address):
            raise RuntimeError(f"TensorRT does not take the address of {name}")

    def __call__(self, inputs: Mapping[str, npt.NDArray], outputs: Sequence[str] = RANKED) -> Arrays:
        """See `Engine`. TensorRT computes every output; those of `outputs` are copied."""
        sent = [self._set_input(name, values) for name, values in inputs.items()]  # lives until the copies are done
        found: Arrays = {}
        addresses: dict[str, int] = {}
        for name in self.outputs:
            shape, dtype = tuple(self._context.get_tensor_shape(name)), np.dtype(self._types[name])
            if min(shape) < 0:
                raise RuntimeError(f"TensorRT does not know the shape of {name}: {shape}")
            addresses[name] = self._memory.buffer(name, int(np.prod(shape)) * dtype.itemsize)
            self._set_address(name, addresses[name])
            if name in outputs:
                found[name] = np.empty(shape, dtype)
        if not self._context.execute_async_v3(self._memory.stream):
            raise RuntimeError("the engine did not run; TensorRT's reasons are above")
        for name, array in found.items():
            self._memory.copy_out(array, addresses[name])
        self._memory.wait()
        del sent
        return hide_seen(found, inputs)
