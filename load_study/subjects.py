"""Subjects of the study: a model of the zoo, an export, or a known delay.

A `Subject` is a description that another process can open. Shape legend: B examples of a request.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from load_study.zoo.configurations import CONFIGURATIONS, scaled

Arrays = Mapping[str, npt.NDArray]
TENSORFLOW = "tensorflow"
XLA = "tensorflow-xla"
ONNX, ONNX_INT8 = "onnx-fp32", "onnx-int8"
DELAYS = ("delay", "delay-exponential")


class Servable(Protocol):
    """A subject that is loaded in this process."""

    def examples(self, size: int, rng: np.random.Generator) -> Arrays:
        """Inputs [B, ...] of a request with `size` examples."""

    def __call__(self, inputs: Arrays) -> Any:
        """Compute the whole answer."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model and the engine that runs it."""

    model: str
    """Name in the zoo, "delay:MS", "delay-exponential:MS", or the package of an export."""
    engine: str = ONNX
    """tensorflow, tensorflow-xla, or a conversion such as onnx-fp32."""
    export: Path | None = None
    data: Path | None = None
    """The data set of the export's run, if it was moved."""
    converted: Path | None = None
    """Folder of an export's conversions, or for the models of the zoo a folder to write them to."""
    table_bytes: int = 1 << 28
    ids: str = "uniform"
    """Of the rows of a zoo model's tables, as in `zoo.ids.NAMES`."""

    @property
    def settings(self) -> dict[str, Any]:
        """Fields of a record that say what was asked of a model of the zoo; none for other subjects."""
        if self.model not in CONFIGURATIONS:
            return {}
        return {"ids": self.ids, "table_mib": self.table_bytes >> 20}

    def prepare(self) -> None:
        """Write the missing ONNX files that `open` needs. This loads TensorFlow: call it in a separate process."""
        if self.model not in CONFIGURATIONS or not self.engine.startswith("onnx"):
            return
        from load_study.zoo import export, models

        file = self.onnx_file(ONNX)
        if not file.is_file():
            file.parent.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part.onnx")
            export.export_onnx(models.build(self.model, table_bytes=self.table_bytes), part)
            part.replace(file)
        if self.engine == ONNX_INT8 and not self.onnx_file(ONNX_INT8).is_file():
            from onnxruntime.quantization import QuantType, quantize_dynamic

            quantize_dynamic(
                file, self.onnx_file(ONNX_INT8), op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8
            )

    def open(self, threads: int = 0, profile: Path | None = None) -> Servable:
        """Load the subject with a number of threads (0: all cores).

        Args:
            profile: beginning of the name of the file to which ONNX Runtime writes the times of its operators.

        Raises:
            ValueError: there is no such model, or it was not converted.
        """
        kind, _, length = self.model.partition(":")
        if kind in DELAYS:
            return Delay(float(length) / 1e3, exponential=kind == DELAYS[1])
        if self.export is not None:
            return _ExportServable(self, threads, profile)
        return _ZooServable(self, threads, profile)

    def onnx_file(self, engine: str) -> Path:
        """Path of the ONNX file of a model of the zoo."""
        assert self.converted is not None, "a folder for conversions is needed"
        return self.converted / f"{self.model}-{self.table_bytes}-{engine}.onnx"


class Delay:
    """Waits a known time for every request, to compare the generator with queueing theory."""

    def __init__(self, seconds: float, *, exponential: bool = False) -> None:
        self._seconds, self._exponential = seconds, exponential
        self._rng = np.random.default_rng(0)

    def examples(self, size: int, rng: np.random.Generator) -> Arrays:
        return {}

    def __call__(self, inputs: Arrays) -> None:
        delay = self._rng.exponential(self._seconds) if self._exponential else self._seconds
        until = time.perf_counter() + delay
        while (left := until - time.perf_counter()) > 0:
            time.sleep(max(left - 2e-4, 0))


class _ZooServable:
    """A model of the zoo with random weights; requests hold random examples."""

    def __init__(self, subject: Subject, threads: int, profile: Path | None) -> None:
        from load_study.zoo.examples import KeptExamples
        from load_study.zoo.ids import exponent_of

        configuration = scaled(CONFIGURATIONS[subject.model], subject.table_bytes)
        self._kept = KeptExamples(configuration, exponent_of(subject.ids))
        if subject.engine.startswith("onnx"):
            from serving.engines.onnx import OnnxEngine

            engine = OnnxEngine(subject.onnx_file(subject.engine), threads, profile)
            self.runner: Any = engine
            self._run: Callable[[Arrays], Any] = partial(engine, outputs=tuple(engine.outputs))
        else:
            self.runner = self._run = _open_keras(subject, threads)

    def examples(self, size: int, rng: np.random.Generator) -> Arrays:
        return self._kept.take(size, rng)

    def __call__(self, inputs: Arrays) -> Any:
        return self._run(inputs)


def limit_tensorflow(threads: int) -> None:
    """Limit TensorFlow's threads (0: no limit). It takes effect before the first operator runs."""
    if threads:
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)


def _open_keras(subject: Subject, threads: int) -> Callable[[Arrays], Any]:
    limit_tensorflow(threads)
    import tensorflow as tf

    from load_study.zoo import export, models

    function = export.function(models.build(subject.model, table_bytes=subject.table_bytes))
    if subject.engine == XLA:
        function = tf.function(function, jit_compile=True)
    return lambda inputs: function(*(tf.constant(values) for values in inputs.values()))["scores"].numpy()


class _ExportServable:
    """A trained model; requests hold histories of its test users."""

    def __init__(self, subject: Subject, threads: int, profile: Path | None) -> None:
        from serving import targets
        from serving.engines.engine import open_engine
        from serving.engines.onnx import OnnxEngine
        from serving.engines.savedmodel import SavedModelEngine
        from serving.export_folder import SERVING, open_export

        assert subject.export is not None
        export = open_export(subject.export, subject.data)
        self._held_out, self._padding = export.held_out_users("test"), export.n_items
        if subject.engine == TENSORFLOW:
            same_inputs = export.inputs("recommend").keys() == export.inputs(SERVING).keys()
            self.runner: Any = SavedModelEngine(export.saved_model, "recommend" if same_inputs else SERVING, threads)
        else:
            made = targets.artifact(subject.converted or targets.default_folder(subject.export), subject.engine)
            made.require_verified(export.identity)
            self.runner = OnnxEngine(made.model, threads, profile) if profile else open_engine(made, threads)

    def examples(self, size: int, rng: np.random.Generator) -> Arrays:
        return self._held_out.requests(rng.integers(0, len(self._held_out.fold_in), size), self._padding)

    def __call__(self, inputs: Arrays) -> Any:
        from serving.engines.blocks import in_blocks

        return in_blocks(self.runner, inputs, self._padding)
