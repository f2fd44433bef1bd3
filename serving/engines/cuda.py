"""The CUDA runtime by NVIDIA's Python bindings: memory of the GPU and copies. The TensorRT engine uses it."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
from typing import Any

import numpy as np
import numpy.typing as npt

MODULES = ("cuda.bindings.runtime", "cuda.cudart")
"""The bindings of the runtime: of cuda-python from 12.6 on, and of earlier ones. Version 13 has no cuda.cudart."""
MISSING = "package cuda-python is not installed (pip install cuda-python)"


def _found(name: str) -> bool:
    """Whether a module is installed."""
    with contextlib.suppress(ModuleNotFoundError):  # not even its package is there
        return importlib.util.find_spec(name) is not None
    return False


def load() -> Any:
    """The module with the functions of the CUDA runtime.

    Raises:
        ValueError: cuda-python is not installed.
    """
    name = next(filter(_found, MODULES), None)
    if name is None:
        raise ValueError(MISSING)
    return importlib.import_module(name)


def missing_requirements() -> list[str]:
    """One line if cuda-python is not installed."""
    return [] if any(map(_found, MODULES)) else [MISSING]


class DeviceMemory:
    """Buffers of the first GPU by name, and a stream for copies to and from them. A buffer grows when it has to."""

    def __init__(self) -> None:
        """
        Raises:
            ValueError: cuda-python is not installed.
            RuntimeError: CUDA does not start.
        """
        self._cuda = load()
        self._buffers: dict[str, tuple[int, int]] = {}
        self.stream = int(self._check(self._cuda.cudaStreamCreate()))

    def _check(self, result: tuple[Any, ...]) -> Any:
        """The value that a CUDA function returned.

        Raises:
            RuntimeError: the function returned an error code.
        """
        error, *values = result
        if error != self._cuda.cudaError_t.cudaSuccess:
            text = self._cuda.cudaGetErrorString(error)[1]
            raise RuntimeError(f"CUDA: {text.decode() if isinstance(text, bytes) else text}")
        return values[0] if values else None

    def buffer(self, name: str, size: int) -> int:
        """Address of a buffer of at least `size` bytes; its content may be lost when it grows."""
        address, has = self._buffers.get(name, (0, 0))
        if has < max(size, 1):
            if address:
                self._check(self._cuda.cudaFree(address))
                del self._buffers[name]
            address = int(self._check(self._cuda.cudaMalloc(max(size, 1))))
            self._buffers[name] = (address, max(size, 1))
        return address

    def copy_in(self, address: int, array: npt.NDArray) -> None:
        """Start a copy to the GPU. The array must be contiguous and live until `wait`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._check(self._cuda.cudaMemcpyAsync(address, array.ctypes.data, array.nbytes, kind, self.stream))

    def copy_out(self, array: npt.NDArray, address: int) -> None:
        """Start a copy from the GPU. The array must be contiguous and live until `wait`."""
        kind = self._cuda.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._check(self._cuda.cudaMemcpyAsync(array.ctypes.data, address, array.nbytes, kind, self.stream))

    def wait(self) -> None:
        """Wait until everything in the stream is done."""
        self._check(self._cuda.cudaStreamSynchronize(self.stream))

    def close(self) -> None:
        """Free the buffers and the stream."""
        for address, _ in self._buffers.values():
            self._check(self._cuda.cudaFree(address))
        self._buffers.clear()
        self._check(self._cuda.cudaStreamDestroy(self.stream))


def contiguous(values: npt.NDArray, dtype: npt.DTypeLike) -> npt.NDArray:
    """The values in one block of memory, in the type that the engine reads."""
    return np.ascontiguousarray(values, dtype)
