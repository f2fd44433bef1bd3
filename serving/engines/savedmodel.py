"""The TensorFlow engine: a signature by TensorFlow's kernels, or the same compiled by XLA."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from serving.engines.outputs import RANKED, hide_seen
from serving.export_folder import COMPILED, Arrays, stored_signature

NOT_COMPILED = (
    "has no signature that XLA compiles (exports have them since recommend_compiled was added): train again, or take "
    "--provider tensorflow"
)


def compiled_signature(signature: str, inputs: Mapping[str, Collection[str]]) -> str | None:
    """The compiled signature with the same inputs; None if there is none.

    Args:
        inputs: names of the inputs of every signature of the model.
    """
    wanted = set(inputs.get(stored_signature(signature, inputs), ()))
    return next((name for name in COMPILED if wanted and set(inputs.get(name, ())) == wanted), None)


def stored_inputs(folder: Path) -> dict[str, set[str]]:
    """Names of the inputs of every signature of a SavedModel, without loading it.

    Raises:
        ValueError: it is no SavedModel.
    """
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    content = saved_model_pb2.SavedModel()
    try:
        content.ParseFromString((folder / "saved_model.pb").read_bytes())
        return {name: set(about.inputs) for name, about in content.meta_graphs[0].signature_def.items()}
    except (OSError, DecodeError, IndexError) as error:
        raise ValueError(f"{folder} is no SavedModel: {error}") from None


def require_engines() -> None:
    """From now on, a request that no TensorRT engine of a TF-TRT model takes is an error, in this process.

    TensorFlow would compute it by its own kernels instead, and only its log would tell.
    """
    os.environ["TF_TRT_ALLOW_ENGINE_NATIVE_SEGMENT_EXECUTION"] = "False"


def powers_of_two(first: int, last: int) -> list[int]:
    """`first` and its doubles, up to the first that is at least `last`."""
    found = [first]
    while found[-1] < last:
        found.append(2 * found[-1])
    return found


class SavedModelEngine:
    """Runs a signature of a SavedModel in TensorFlow; also of a TF-TRT model, if TensorFlow has TensorRT."""

    def __init__(self, folder: Path, signature: str, threads: int = 0, provider: str = "tensorflow") -> None:
        """
        Args:
            provider: "tensorflow", or "xla" for the compiled signature with the same inputs.

        Raises:
            ValueError: the model has no compiled signature.
        """
        import tensorflow as tf

        from recsys_core import xla

        tf.config.experimental.enable_tensor_float_32_execution(False)  # scores are float32, on GPUs too
        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
        self._tf, self._model = tf, tf.saved_model.load(str(folder))
        signatures = self._model.signatures
        stored = stored_signature(signature, signatures.keys())
        if provider == "xla":
            xla.start()
            inputs = {name: f.structured_input_signature[1].keys() for name, f in signatures.items()}
            compiled = compiled_signature(signature, inputs)
            if compiled is None:
                raise ValueError(f"{folder} {NOT_COMPILED}")
            stored = compiled
        self.signature = stored if stored in signatures else "serving_default"
        self._function = signatures[self.signature]
        self._inputs = self._function.structured_input_signature[1]
        self.outputs = frozenset(self._function.structured_outputs)
        self._functions: dict[tuple[str, ...], Any] = {}

    def _answering(self, outputs: tuple[str, ...]) -> Any:
        """The signature as a function of these outputs only: TensorFlow leaves out what only the others need."""
        if outputs not in self._functions:

            def answer(**tensors: Any) -> dict[str, Any]:
                found = self._function(**tensors)
                return {name: found[name] for name in outputs}

            specs = {k: self._tf.TensorSpec(s.shape, s.dtype, name=k) for k, s in self._inputs.items()}
            function = self._tf.function(answer, autograph=False)
            self._functions[outputs] = function.get_concrete_function(**specs)
        return self._functions[outputs]

    def __call__(self, inputs: Mapping[str, npt.NDArray], outputs: Sequence[str] = RANKED) -> Arrays:
        tensors = {name: self._tf.constant(value) for name, value in inputs.items()}
        found = self._answering(tuple(outputs))(**tensors)
        return hide_seen({name: value.numpy() for name, value in found.items()}, inputs)

    def count(self, operator: str) -> int:
        """Number of nodes of the signature with an operator, those of the functions that it calls too."""
        graph = self._function.graph.as_graph_def()
        nodes = [*graph.node, *(node for function in graph.library.function for node in function.node_def)]
        return sum(node.op == operator for node in nodes)

    def warm_up(self, largest_batch: int, longest: int, padding: int) -> int:
        """Run every shape that XLA compiles a program for, up to these; returns their number.

        Requests of a longer history, or of a larger batch, wait for XLA the first time (a second or so).

        Args:
            padding: the item id that fills up the rows of item_ids.
        """
        from recsys_core.compiled import SHORTEST

        batches, lengths = powers_of_two(1, largest_batch), powers_of_two(SHORTEST, longest)
        names = self._inputs.keys()
        for batch in batches:
            for length in lengths:
                shapes = {
                    "item_ids": np.full((batch, length), padding, np.int32),
                    "user_ids": np.zeros(batch, np.int32),
                }
                self({name: shapes[name] for name in names})
        return len(batches) * len(lengths)
