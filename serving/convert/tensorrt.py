"""TensorRT by its Python API (8.6 and 10): an engine from the ONNX model, and running one.

Not run by us: no machine with TensorRT was at hand. Written to NVIDIA's documentation, kept thin, and everything around
it is tested. docs/serving.md says how to run it on a GPU machine.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.convert import gpu, onnx
from serving.convert.options import Options
from serving.export_folder import SERVING, Arrays, ExportFolder
from serving.targets import Variant

LARGEST_TOP_K = 3840


def missing(variant: Variant) -> list[str]:
    """What TensorRT lacks on this machine."""
    lacks = onnx.missing(variant)
    if importlib.util.find_spec("tensorrt") is None:
        lacks.append("package tensorrt is not installed (pip install tensorrt==8.6.1, or use NVIDIA's containers)")
    if importlib.util.find_spec("cuda") is None:
        lacks.append("package cuda-python is not installed (pip install cuda-python)")
    return lacks + gpu.missing()


def shapes(export: ExportFolder, options: Options) -> dict[str, tuple[tuple[int, ...], ...]]:
    """The optimisation profile: smallest, optimal and largest shape of every input."""
    batches = (1, options.optimal_batch, options.max_batch)
    histories = (1, options.optimal_history, options.max_history)
    two: tuple[tuple[int, ...], ...] = tuple(zip(batches, histories, strict=True))
    return {name: two if name == "item_ids" else tuple((b,) for b in batches) for name in export.inputs(SERVING)}


def _network(trt: Any, builder: Any, logger: Any, model: Path) -> Any:
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)  # the only kind since TensorRT 10
    network = builder.create_network(1 << int(explicit) if explicit is not None else 0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(model)):
        reasons = "; ".join(str(parser.get_error(k)) for k in range(parser.num_errors))
        raise RuntimeError(f"TensorRT cannot read {model.name}: {reasons}")
    return network, parser


def _configure(trt: Any, builder: Any, config: Any, variant: Variant, options: Options) -> None:
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    flags = {"fp16": ("FP16",), "bf16": ("BF16",), "int8": ("INT8", "FP16")}.get(variant.precision, ())
    for flag in flags:
        if not hasattr(trt.BuilderFlag, flag):
            raise RuntimeError(f"TensorRT {trt.__version__} has no {flag}")
        config.set_flag(getattr(trt.BuilderFlag, flag))
    if options.dla_core >= 0:
        if options.dla_core >= builder.num_DLA_cores:
            raise RuntimeError(f"--dla-core is {options.dla_core}, this device has {builder.num_DLA_cores} DLA cores")
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
        if not flags:
            raise RuntimeError("a DLA core takes fp16 or int8, not fp32")


def convert(export: ExportFolder, variant: Variant, target: Path, options: Options) -> dict[str, str]:
    """Build an engine. int8 takes its scales from the ONNX model that was calibrated on real requests."""
    import tensorrt as trt

    source = target.with_name("source.onnx")
    form = Variant(format="onnx", precision="int8" if variant.precision == "int8" else "fp32")
    onnx.convert(export, form, source, options)
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network, parser = _network(trt, builder, logger, source)
    config = builder.create_builder_config()
    _configure(trt, builder, config, variant, options)
    profile = builder.create_optimization_profile()
    for name, (least, best, most) in shapes(export, options).items():
        profile.set_shape(name, least, best, most)
    config.add_optimization_profile(profile)
    timing = target.parent.parent / "tensorrt-timing.cache"
    cache = config.create_timing_cache(timing.read_bytes() if timing.exists() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    del parser
    if plan is None:
        raise RuntimeError("TensorRT built no engine; its reasons are above")
    target.write_bytes(bytes(plan))
    timing.write_bytes(bytes(config.get_timing_cache().serialize()))
    return {"tensorrt": str(trt.__version__), "profile": str(shapes(export, options))}


class TensorRtRunner:
    """An engine on the first GPU."""

    def __init__(self, plan: Path | bytes) -> None:
        import tensorrt as trt
        from cuda import cudart

        self._trt, self._cuda = trt, cudart
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        self._engine = self._runtime.deserialize_cuda_engine(plan if isinstance(plan, bytes) else plan.read_bytes())
        if self._engine is None:
            raise ValueError("this engine was built by another TensorRT or for another GPU; convert again here")
        self._context = self._engine.create_execution_context()
        self._stream = self._checked(cudart.cudaStreamCreate())

    def _checked(self, result: tuple[Any, ...]) -> Any:
        error, *values = result
        if error != self._cuda.cudaError_t.cudaSuccess:
            raise RuntimeError(f"CUDA: {self._cuda.cudaGetErrorString(error)[1].decode()}")
        return values[0] if values else None

    def __call__(self, inputs: Mapping[str, npt.NDArray]) -> Arrays:
        kinds = self._cuda.cudaMemcpyKind
        held: list[Any] = []

        def bind(name: str, size: int) -> Any:
            address = self._checked(self._cuda.cudaMalloc(max(size, 1)))
            held.append(address)
            self._context.set_tensor_address(name, address)
            return address

        try:
            for name, values in inputs.items():
                given = np.ascontiguousarray(values)
                self._context.set_input_shape(name, given.shape)
                address = bind(name, given.nbytes)
                copy = (address, given.ctypes.data, given.nbytes, kinds.cudaMemcpyHostToDevice, self._stream)
                self._checked(self._cuda.cudaMemcpyAsync(*copy))
            outputs: Arrays = {}
            places = {}
            for name, kind in (("items", np.int32), ("scores", np.float32)):
                outputs[name] = np.empty(tuple(self._context.get_tensor_shape(name)), kind)
                places[name] = bind(name, outputs[name].nbytes)
            if not self._context.execute_async_v3(self._stream):
                raise RuntimeError("the engine did not run; is the request within --max-batch and --max-history?")
            for name, array in outputs.items():
                copy = (array.ctypes.data, places[name], array.nbytes, kinds.cudaMemcpyDeviceToHost, self._stream)
                self._checked(self._cuda.cudaMemcpyAsync(*copy))
            self._checked(self._cuda.cudaStreamSynchronize(self._stream))
            return outputs
        finally:
            for address in held:
                self._checked(self._cuda.cudaFree(address))
