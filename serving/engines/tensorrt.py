"""The TensorRT engine, by TensorRT's Python API (8.6 and 10).

This file has not been run: it needs a machine with TensorRT. It follows NVIDIA's documentation. docs/serving.md says
how to run it on a GPU machine.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.engines.outputs import ALL_SCORES, RANKED, hide_seen
from serving.export_folder import Arrays


class TensorRtEngine:
    """Runs a TensorRT plan on the first GPU."""

    def __init__(self, plan: Path | bytes) -> None:
        """
        Raises:
            ValueError: the plan was built for another TensorRT version or another GPU.
        """
        import tensorrt as trt
        from cuda import cudart

        self._cuda = cudart
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        self._engine = self._runtime.deserialize_cuda_engine(plan if isinstance(plan, bytes) else plan.read_bytes())
        if self._engine is None:
            raise ValueError("this engine was built by another TensorRT or for another GPU; convert again here")
        names = [self._engine.get_tensor_name(k) for k in range(self._engine.num_io_tensors)]
        self.outputs = frozenset(n for n in names if n in (*RANKED, ALL_SCORES))
        self._context = self._engine.create_execution_context()
        self._stream = self._check(cudart.cudaStreamCreate())

    def _check(self, result: tuple[Any, ...]) -> Any:
        """The value that a CUDA function returned.

        Raises:
            RuntimeError: the function returned an error code.
        """
        error, *values = result
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise RuntimeError(f"CUDA: {self._cuda.cudaGetErrorString(error)[1].decode()}")
        return values[0] if values else None

    def __call__(self, inputs: Mapping[str, npt.NDArray], outputs: Sequence[str] = RANKED) -> Arrays:
        kinds = self._cuda.cudaMemcpyKind
        allocated: list[Any] = []

        def allocate(name: str, size: int) -> Any:
            address = self._check(self._cuda.cudaMalloc(max(size, 1)))
            allocated.append(address)
            self._context.set_tensor_address(name, address)
            return address

        try:
            for name, values in inputs.items():
                array = np.ascontiguousarray(values)
                self._context.set_input_shape(name, array.shape)
                address = allocate(name, array.nbytes)
                copy = (address, array.ctypes.data, array.nbytes, kinds.cudaMemcpyHostToDevice, self._stream)
                self._check(self._cuda.cudaMemcpyAsync(*copy))
            found: Arrays = {}
            addresses = {}
            for name in self.outputs:  # TensorRT computes all of them
                shape, dtype = tuple(self._context.get_tensor_shape(name)), np.int32 if name == "items" else np.float32
                found[name] = np.empty(shape, dtype)
                addresses[name] = allocate(name, found[name].nbytes)
            if not self._context.execute_async_v3(self._stream):
                raise RuntimeError("the engine did not run; is the request within --max-batch and --max-history?")
            for name in outputs:
                array = found[name]
                copy = (array.ctypes.data, addresses[name], array.nbytes, kinds.cudaMemcpyDeviceToHost, self._stream)
                self._check(self._cuda.cudaMemcpyAsync(*copy))
            self._check(self._cuda.cudaStreamSynchronize(self._stream))
            return hide_seen({name: found[name] for name in outputs}, inputs)
        finally:
            for address in allocated:
                self._check(self._cuda.cudaFree(address))
