"""In place of TensorRT and CUDA on machines without them: the API of a real version, ONNX Runtime as what computes.

TensorRT's rules that matter here are kept: types and flags, zero points, K, the profile, addresses of all tensors, plans
of one version only. `strict` refuses attributes and arguments that the version does not have.
"""

from __future__ import annotations

import ctypes
import pickle
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.serving.tensorrt import strict
from tests.serving.tensorrt.emulate import in_float32

LARGEST_TOP_K = 3840
WEAK = ("FP16", "BF16", "INT8")


def cuda() -> SimpleNamespace:
    """A module in place of `cuda.bindings.runtime`; the GPU's memory is this process's. `live` holds the allocations."""
    live: dict[int, Any] = {}
    error = SimpleNamespace(cudaSuccess=0, cudaErrorInvalidValue=1)

    def malloc(size: int) -> tuple[int, int]:
        block = ctypes.create_string_buffer(size)
        live[ctypes.addressof(block)] = block
        return 0, ctypes.addressof(block)

    def free(address: int) -> tuple[int]:
        return (0 if live.pop(address, None) is not None else 1,)

    def copy(to: int, source: int, size: int, kind: int, stream: int) -> tuple[int]:
        device = to if kind == 1 else source
        if device not in live or len(live[device]) < size or stream != 7:
            return (1,)
        ctypes.memmove(to, source, size)
        return (0,)

    return SimpleNamespace(
        cudaMalloc=malloc, cudaFree=free, cudaMemcpyAsync=copy, cudaStreamCreate=lambda: (0, 7),
        cudaStreamSynchronize=lambda stream: (0,), cudaStreamDestroy=lambda stream: (0,), cudaError_t=error,
        cudaGetErrorString=lambda code: (0, b"invalid argument"), live=live,
        cudaMemcpyKind=SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2),
    )  # fmt: skip


def _refusal(model: Any) -> str | None:
    """Why TensorRT's parser refuses a model."""
    from onnx import numpy_helper

    constants = {t.name: t for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear") and len(node.input) == 3:
            zero = numpy_helper.to_array(constants[node.input[2]])
            if zero.dtype != np.int8 or zero.any():
                return f"node {node.name}: Non-zero zero point is not supported."
    return None


def _unbuildable(network: Any, config: Any) -> str | None:
    """Why TensorRT builds no engine."""
    from onnx import numpy_helper

    constants = {t.name: numpy_helper.to_array(t) for t in network._model.graph.initializer}
    sizes = [int(constants[n.input[1]].max()) for n in network._model.graph.node if n.op_type == "TopK"]
    if sizes and max(sizes) > LARGEST_TOP_K:
        return f"K is {max(sizes)}, at most {LARGEST_TOP_K}"
    if network._strong and config._flags & set(WEAK):
        return "a strongly typed network takes no precision flags"
    if not network._strong and "INT8" not in config._flags and "Quantize" in str(network._model.graph.node):
        return "a network with Q/DQ layers needs the flag INT8"
    return None if config._profiles else "the network has dynamic inputs and no profile"


def _builder_behaviours(trt: SimpleNamespace, cores: int) -> strict.Behaviour:
    def create_network(self: Any, flags: int = 0) -> Any:
        made = trt.INetworkDefinition()
        strong = getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        made._strong = "FP16" not in trt.BuilderFlag.__members__ or (
            strong is not None and bool(flags & 1 << int(strong))
        )
        return made

    def parse(self: Any, model: str) -> bool:
        import onnx

        self._network._model = onnx.load(model)
        self._error = _refusal(self._network._model)
        return self._error is None

    def build(self: Any, network: Any, config: Any, kernel_text: Any = None) -> bytes | None:
        if (reason := _unbuildable(network, config)) is not None:
            self._logger.log(trt.ILogger.Severity.ERROR, reason)
            return None
        content = network._model.SerializeToString()
        return pickle.dumps((trt.__version__, content, config._profiles[0], sorted(config._flags)))

    def get_error(self: Any, index: int) -> Any:
        error = trt.ParserError()
        error._text = self._error
        return error

    def set_network(self: Any, network: Any, logger: Any) -> None:
        self._network, self._error = network, None

    return {
        "Builder.__init__": lambda self, logger: setattr(self, "_logger", logger),
        "Builder.num_DLA_cores": lambda self: cores,
        "Builder.create_network": create_network,
        "Builder.create_builder_config": lambda self: trt.IBuilderConfig(),
        "Builder.create_optimization_profile": lambda self: trt.IOptimizationProfile(),
        "Builder.build_serialized_network": build,
        "OnnxParser.__init__": set_network,
        "OnnxParser.parse_from_file": parse,
        "OnnxParser.num_errors": lambda self: int(self._error is not None),
        "OnnxParser.get_error": get_error,
        "ParserError.desc": lambda self: self._text,
    }


def _config_behaviours(trt: SimpleNamespace) -> strict.Behaviour:
    def parts(self: Any) -> Any:
        if not hasattr(self, "_flags"):
            self._flags, self._profiles = {"TF32"}, []
        return self

    def set_shape(self: Any, input: str, min: Any, opt: Any, max: Any) -> None:
        if not hasattr(self, "_shapes"):
            self._shapes = {}
        self._shapes[input] = (min, opt, max)

    def add_profile(self: Any, profile: Any) -> int:
        parts(self)._profiles.append(profile._shapes)
        return len(self._profiles) - 1

    def cache(self: Any, serialized_timing_cache: bytes = b"") -> Any:
        return trt.ITimingCache()

    return {
        "IBuilderConfig.set_memory_pool_limit": lambda self, pool, pool_size: None,
        "IBuilderConfig.set_flag": lambda self, flag: parts(self)._flags.add(flag.name),
        "IBuilderConfig.clear_flag": lambda self, flag: parts(self)._flags.discard(flag.name),
        "IBuilderConfig.add_optimization_profile": add_profile,
        "IBuilderConfig.create_timing_cache": cache,
        "IBuilderConfig.set_timing_cache": lambda self, cache, ignore_mismatch: True,
        "IBuilderConfig.get_timing_cache": cache,
        "ITimingCache.serialize": lambda self: b"cache",
        "IOptimizationProfile.set_shape": set_shape,
        "ILogger.__init__": lambda self: None,
        "Logger.__init__": lambda self, min_severity=None: None,
    }


def _engine_behaviours(trt: SimpleNamespace, gpu: SimpleNamespace) -> strict.Behaviour:
    def deserialize(self: Any, serialized_engine: bytes) -> Any:
        import onnxruntime as ort

        version, content, profile, _ = pickle.loads(serialized_engine)
        if version != trt.__version__:
            return None
        made = trt.ICudaEngine()
        made._session, made._profile = ort.InferenceSession(in_float32(content)), profile
        made._tensors = {t.name: t for t in (*made._session.get_inputs(), *made._session.get_outputs())}
        return made

    def context(self: Any) -> Any:
        made = trt.IExecutionContext()
        made._engine, made._shapes, made._addresses = self, {}, {}
        return made

    def mode(self: Any, name: str) -> Any:
        return trt.TensorIOMode.INPUT if name in self._profile else trt.TensorIOMode.OUTPUT

    def dtype(self: Any, name: str) -> Any:
        return trt.DataType.INT32 if "int32" in self._tensors[name].type else trt.DataType.FLOAT

    def set_input_shape(self: Any, name: str, shape: tuple[int, ...]) -> bool:
        smallest, _, largest = self._engine._profile[name]
        fits = all(a <= b <= c for a, b, c in zip(smallest, shape, largest, strict=True))
        if fits:
            self._shapes[name] = shape
        return fits

    def shape(self: Any, name: str) -> tuple[int, ...]:
        batch = next(iter(self._shapes.values()))[0] if self._shapes else -1
        return tuple(batch if not isinstance(d, int) else d for d in self._engine._tensors[name].shape)

    def set_address(self: Any, name: str, memory: int) -> bool:
        self._addresses[name] = memory
        return memory in gpu.live

    def execute(self: Any, stream_handle: int) -> bool:
        engine = self._engine
        if set(self._addresses) != set(engine._tensors) or set(self._shapes) != set(engine._profile):
            return False
        inputs = {}
        for name, size in self._shapes.items():
            count = int(np.prod(size))
            inputs[name] = np.frombuffer(gpu.live[self._addresses[name]], np.int32, count).reshape(size)
        names = [o.name for o in engine._session.get_outputs()]
        for name, values in zip(names, engine._session.run(names, inputs), strict=True):
            ctypes.memmove(self._addresses[name], np.ascontiguousarray(values).ctypes.data, values.nbytes)
        return True

    return {
        "Runtime.__init__": lambda self, logger: None,
        "Runtime.deserialize_cuda_engine": deserialize,
        "ICudaEngine.create_execution_context": context,
        "ICudaEngine.num_io_tensors": lambda self: len(self._tensors),
        "ICudaEngine.get_tensor_name": lambda self, index: list(self._tensors)[index],
        "ICudaEngine.get_tensor_mode": mode,
        "ICudaEngine.get_tensor_dtype": dtype,
        "ICudaEngine.get_tensor_profile_shape": lambda self, name, profile_index: list(self._profile[name]),
        "IExecutionContext.set_input_shape": set_input_shape,
        "IExecutionContext.get_tensor_shape": shape,
        "IExecutionContext.set_tensor_address": set_address,
        "IExecutionContext.execute_async_v3": execute,
    }


def tensorrt(version: str, gpu: SimpleNamespace, dla_cores: int = 0) -> SimpleNamespace:
    """A module in place of `tensorrt`.

    Args:
        version: a name of `strict.VERSIONS`.
        gpu: of `cuda`.
        dla_cores: number of DLA cores that the builder finds.
    """
    trt = SimpleNamespace()
    behaviours = _builder_behaviours(trt, dla_cores) | _config_behaviours(trt) | _engine_behaviours(trt, gpu)
    vars(trt).update(vars(strict.module(version, behaviours)))
    trt.nptype = {trt.DataType.INT32: np.int32, trt.DataType.FLOAT: np.float32}.__getitem__
    return trt


def load(plan: Path) -> tuple[dict[str, Any], list[str]]:
    """The profile and the builder flags of a plan."""
    _, _, profile, flags = pickle.loads(plan.read_bytes())
    return profile, flags
