"""TensorRT by its Python API (8.6 and 10): builds an engine from the ONNX model.

This file has not been run: it needs a machine with TensorRT. It follows NVIDIA's documentation. docs/serving.md says
how to run it on a GPU machine.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from serving.convert import onnx
from serving.convert.options import Options
from serving.engines import gpu
from serving.export_folder import SERVING, ExportFolder
from serving.targets import Target


def missing_requirements(target: Target) -> list[str]:
    """Packages and hardware that this machine lacks."""
    missing = onnx.missing_requirements(target)
    if importlib.util.find_spec("tensorrt") is None:
        missing.append("package tensorrt is not installed (pip install tensorrt==8.6.1, or use NVIDIA's containers)")
    if importlib.util.find_spec("cuda") is None:
        missing.append("package cuda-python is not installed (pip install cuda-python)")
    return missing + gpu.missing_requirements()


def profile_shapes(export: ExportFolder, options: Options) -> dict[str, tuple[tuple[int, ...], ...]]:
    """The optimisation profile: the smallest, the optimal and the largest shape of every input."""
    batches = (1, options.optimal_batch, options.max_batch)
    histories = (1, options.optimal_history, options.max_history)
    vector = tuple((b,) for b in batches)
    matrix: tuple[tuple[int, ...], ...] = tuple(zip(batches, histories, strict=True))
    return {name: matrix if name == "item_ids" else vector for name in export.inputs(SERVING)}


def _read_network(trt: Any, builder: Any, logger: Any, model: Path) -> tuple[Any, Any]:
    """The network of an ONNX model, and the parser, which must live as long as the network."""
    explicit = getattr(trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)  # the only kind since TensorRT 10
    network = builder.create_network(1 << int(explicit) if explicit is not None else 0)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse_from_file(str(model)):
        reasons = "; ".join(str(parser.get_error(k)) for k in range(parser.num_errors))
        raise RuntimeError(f"TensorRT cannot read {model.name}: {reasons}")
    return network, parser


def _configure(trt: Any, builder: Any, config: Any, target: Target, options: Options) -> None:
    """Set the memory, the precision and the device of a builder's configuration."""
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib << 20)
    flags = {"fp16": ("FP16",), "bf16": ("BF16",), "int8": ("INT8", "FP16")}.get(target.precision, ())
    for flag in flags:
        if not hasattr(trt.BuilderFlag, flag):
            raise RuntimeError(f"TensorRT {trt.__version__} has no {flag}")
        config.set_flag(getattr(trt.BuilderFlag, flag))
    config.clear_flag(trt.BuilderFlag.TF32)  # on by default; layers in float32 stay in float32
    if options.dla_core >= 0:
        if options.dla_core >= builder.num_DLA_cores:
            raise RuntimeError(f"--dla-core is {options.dla_core}, this device has {builder.num_DLA_cores} DLA cores")
        config.default_device_type = trt.DeviceType.DLA
        config.DLA_core = options.dla_core
        config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
        if not flags:
            raise RuntimeError("a DLA core takes fp16 or int8, not fp32")


def convert(export: ExportFolder, target: Target, path: Path, options: Options) -> dict[str, str]:
    """Build an engine and write its plan; returns further fields for conversion.json.

    An int8 engine takes its scales from the int8 ONNX model, which is calibrated on real requests.
    """
    import tensorrt as trt

    source = path.with_name("source.onnx")
    source_target = Target(format="onnx", precision="int8" if target.precision == "int8" else "fp32")
    onnx.convert(export, source_target, source, options)
    logger = trt.Logger(trt.Logger.WARNING)
    builder = trt.Builder(logger)
    network, parser = _read_network(trt, builder, logger, source)
    config = builder.create_builder_config()
    _configure(trt, builder, config, target, options)
    profile = builder.create_optimization_profile()
    for name, (smallest, optimal, largest) in profile_shapes(export, options).items():
        profile.set_shape(name, smallest, optimal, largest)
    config.add_optimization_profile(profile)
    timing = path.parent.parent / "tensorrt-timing.cache"
    cache = config.create_timing_cache(timing.read_bytes() if timing.exists() else b"")
    config.set_timing_cache(cache, ignore_mismatch=False)
    plan = builder.build_serialized_network(network, config)
    del parser
    if plan is None:
        raise RuntimeError("TensorRT built no engine; its reasons are above")
    path.write_bytes(bytes(plan))
    timing.write_bytes(bytes(config.get_timing_cache().serialize()))
    return {"tensorrt": str(trt.__version__), "profile": str(profile_shapes(export, options))}
