"""A model of the zoo as a SavedModel and as an ONNX file: inputs by name, a free batch axis, one output "scores"."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from load_study.zoo.models import ZooModel

OPSET = 17
ONE_FILE = (1 << 31) - (1 << 24)
"""Bytes that a protocol buffer holds, less room for the graph."""


def specs(zoo_model: ZooModel) -> list[tf.TensorSpec]:
    """Inputs in the order of the configuration."""
    return [
        tf.TensorSpec([None, *feature.shape], tf.int32 if feature.rows else tf.float32, name=feature.name)
        for feature in zoo_model.configuration.features()
    ]


def function(zoo_model: ZooModel) -> Any:
    """The model as one graph: takes the inputs in the order of `specs` and gives {"scores": ...}."""
    signature = specs(zoo_model)

    @tf.function(input_signature=signature, autograph=False)
    def serving(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = {spec.name: tensor for spec, tensor in zip(signature, tensors, strict=True)}
        return {"scores": tf.identity(zoo_model.model(inputs, training=False), name="scores")}

    return serving


def export(zoo_model: ZooModel, folder: Path) -> None:
    """Write a TensorFlow SavedModel whose signature is "serving_default"."""
    module = tf.Module()
    module.kept = [variable.value for variable in zoo_model.model.variables]
    module.serving = function(zoo_model)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serving})


def export_onnx(zoo_model: ZooModel, target: Path, *, opset: int = OPSET, one_file: int = ONE_FILE) -> None:
    """Write an ONNX file. Needs tf2onnx.

    Args:
        one_file: weights of more bytes than this are written to a second file, the name of the first with ".data".
    """
    import onnx

    model = _without_tables(zoo_model, opset)
    names = {value.name: value.name.split(":")[0] for value in model.graph.input}
    names |= {value.name: "scores" for value in model.graph.output}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*model.graph.input, *model.graph.output):
        value.name = names[value.name]
    inputs = [value for value in model.graph.input if value.name in {spec.name for spec in specs(zoo_model)}]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    for name, table in _table_variables(zoo_model).items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(table.numpy(), name))
    two_files = zoo_model.table_bytes + zoo_model.dense_bytes > one_file
    onnx.save(
        model, str(target), save_as_external_data=two_files, location=f"{target.name}.data" if two_files else None
    )


def _table_variables(zoo_model: ZooModel) -> dict[str, Any]:
    """Embedding tables by the names that they get in ONNX."""
    variables = zoo_model.model.variables
    return {v.path.replace("/", "."): v for v in variables if v.path.endswith("/rows")}


def _without_tables(zoo_model: ZooModel, opset: int) -> Any:
    """The ONNX graph with the tables as further inputs: tf2onnx takes over 20 GiB of memory for a constant of 1 GiB."""
    import tf2onnx

    tables = _table_variables(zoo_model)
    input_specs = specs(zoo_model)
    signature = [*input_specs, *(tf.TensorSpec(v.shape, tf.float32, name=name) for name, v in tables.items())]

    @tf.function(input_signature=signature, autograph=False)
    def serving(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        inputs = {spec.name: tensor for spec, tensor in zip(input_specs, tensors, strict=False)}
        given = list(zip(tables.values(), tensors[len(input_specs) :], strict=True))
        with keras.StatelessScope(state_mapping=given):
            return {"scores": zoo_model.model(inputs, training=False)}

    return tf2onnx.convert.from_function(serving, input_signature=signature, opset=opset)[0]
