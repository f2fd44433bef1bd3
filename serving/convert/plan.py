"""Builds a TensorRT plan (a serialized engine) from an ONNX model, by the Python API of TensorRT 8.6, 10 and 11.

The ONNX model holds the type of every tensor. Where TensorRT has strongly typed networks (10 and 11), they keep these
types. TensorRT 8.6 has none: a builder flag allows the type of the model there. Weak typing is deprecated since 10.12
and gone in 11. `trt` is the module `tensorrt`, or `tensorrt_rtx`, which has the same API.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.convert.options import Options

Shapes = Mapping[str, tuple[tuple[int, ...], ...]]
"""Name of an input -> its smallest, its optimal and its largest shape."""
FLAGS = {"fp32": (), "fp16": ("FP16",), "bf16": ("BF16",), "int8": ("INT8",)}
"""Precision -> the builder flags of weak typing that allow it."""
DLA_PRECISIONS = ("fp16", "int8")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one version of TensorRT builds one precision."""

    strongly_typed: bool
    flags: tuple[str, ...] = ()
    """Builder flags of weak typing."""


def _strong_flag(trt: Any) -> Any:
    return getattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)


def recipe(trt: Any, precision: str, dla_core: int = -1) -> Recipe:
    """How this TensorRT builds a precision.

    A DLA core of TensorRT 8.6 and 10 takes weakly typed networks only, of TensorRT 11 strongly typed ones.

    Raises:
        ValueError: it cannot; one line.
    """
    if dla_core >= 0 and precision not in DLA_PRECISIONS:
        raise ValueError(f"a DLA core takes {' and '.join(DLA_PRECISIONS)}, not {precision}")
    missing = [flag for flag in FLAGS[precision] if not hasattr(trt.BuilderFlag, flag)]
    if _strong_flag(trt) is not None and (dla_core < 0 or missing):
        return Recipe(strongly_typed=True)
    if missing:
        raise ValueError(
            f"TensorRT {trt.__version__} has no {precision}; take TensorRT 10 or later, or another precision"
        )
    return Recipe(strongly_typed=False, flags=FLAGS[precision])


@functools.lru_cache
def make_logger(trt: Any) -> Any:
    """The logger of a process: prints warnings, and keeps errors in its list `errors`. TensorRT takes no second one."""

    class Logger(trt.ILogger):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            """Called by TensorRT."""
            if severity in (trt.ILogger.Severity.INTERNAL_ERROR, trt.ILogger.Severity.ERROR):
                self.errors.append(message)
            elif severity == trt.ILogger.Severity.WARNING:
                print(f"TensorRT: {message}", flush=True)

    return Logger()


class PlanBuilder:
    """Reads an ONNX model, and builds the plan of a network with dynamic shapes.

    Its parts must live as long as the network, so they are kept together.
    """

    def __init__(self, trt: Any, precision: str, options: Options) -> None:
        """
        Raises:
            ValueError: this TensorRT or this device cannot build the precision.
        """
        self._trt, self._options = trt, options
        self.recipe = recipe(trt, precision, options.dla_core)
        self.logger = make_logger(trt)
        self.logger.errors.clear()
        self.builder = trt.Builder(self.logger)
        if options.dla_core >= max(0, self.builder.num_DLA_cores):
            raise ValueError(
                f"--dla-core is {options.dla_core}, TensorRT {trt.__version__} finds {self.builder.num_DLA_cores} DLA "
                "cores here (its versions 11.0 to 11.3 support none)"
            )
        self.network = self.builder.create_network(self._creation_flags())
        self.parser = trt.OnnxParser(self.network, self.logger)
        self.config = self.builder.create_builder_config()

    def _creation_flags(self) -> int:
        strong = _strong_flag(self._trt) if self.recipe.strongly_typed else None
        # Networks have an explicit batch since TensorRT 10, where the flag is ignored; in 11 it is gone.
        explicit = getattr(self._trt.NetworkDefinitionCreationFlag, "EXPLICIT_BATCH", None)
        return sum(1 << int(flag) for flag in (strong, explicit) if flag is not None)

    def read(self, model: Path) -> None:
        """Read an ONNX model into the network.

        Raises:
            RuntimeError: TensorRT's parser refuses it; one line with the parser's words.
        """
        if not self.parser.parse_from_file(str(model)):
            reasons = [self.parser.get_error(k).desc() for k in range(self.parser.num_errors)] or self.logger.errors
            raise RuntimeError(f"TensorRT's parser refuses {model.name}: {_one_line(reasons)}")

    def configure(self, shapes: Shapes) -> None:
        """Set the memory, the types, the device and the optimisation profile.

        Raises:
            RuntimeError: a shape is not one of the network.
        """
        trt, config = self._trt, self.config
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, self._options.workspace_mib << 20)
        config.clear_flag(trt.BuilderFlag.TF32)  # on by default; it would round what is float32 to 10 bits
        for flag in self.recipe.flags:
            config.set_flag(getattr(trt.BuilderFlag, flag))
        if self._options.dla_core >= 0:
            config.default_device_type = trt.DeviceType.DLA
            config.DLA_core = self._options.dla_core
            config.set_flag(trt.BuilderFlag.GPU_FALLBACK)
        profile = self.builder.create_optimization_profile()
        for name, (smallest, optimal, largest) in shapes.items():
            profile.set_shape(name, smallest, optimal, largest)
        if config.add_optimization_profile(profile) < 0:
            raise RuntimeError(f"TensorRT refuses the profile {dict(shapes)}: {_one_line(self.logger.errors)}")

    def build(self, timing_cache: Path) -> bytes:
        """Build the plan.

        Args:
            timing_cache: file of measured kernels, which later builds on the same machine read.

        Raises:
            RuntimeError: TensorRT builds none; one line with its errors.
        """
        stored = timing_cache.read_bytes() if timing_cache.exists() else b""
        cache = self.config.create_timing_cache(stored)
        if not self.config.set_timing_cache(cache, ignore_mismatch=False):  # of another version or another GPU
            self.config.set_timing_cache(self.config.create_timing_cache(b""), ignore_mismatch=False)
        plan = self.builder.build_serialized_network(self.network, self.config)
        if plan is None:
            raise RuntimeError(f"TensorRT builds no engine: {_one_line(self.logger.errors)}")
        if (measured := self.config.get_timing_cache()) is not None:
            timing_cache.write_bytes(bytes(measured.serialize()))
        return bytes(plan)


def _one_line(messages: list[str], shown: int = 3) -> str:
    """The first messages without line breaks, or that there is none."""
    return "; ".join(" ".join(message.split()) for message in messages[:shown]) or "it gives no reason"
