"""config.pbtxt, written and read with Triton's protobuf messages, so that it has no field that Triton does not know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.export_folder import WHOLE_NUMBERS, ExportFolder, IdTypes
from serving.targets import Target

BELOW_ZERO = "ids_below_zero"
"""Parameter of a model some of whose ids are whole numbers below 0 (`IdTypes.below_zero`)."""
EVENTS = "_events"
"""Ends the name of the model that takes events for another one."""
BACKENDS = {"onnx": "onnxruntime", "tensorrt": "tensorrt", "savedmodel": "tensorflow", "tf-trt": "tensorflow"}
"""Format -> Triton's backend."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """Options of a served model."""

    max_batch: int = 64
    instances: int = 1
    gpu: bool = False
    queue_delay_us: int = 500
    """Longest time that a request waits for other requests of its batch."""
    queue_size: int = 1024
    """Largest number of waiting requests; further requests are refused."""
    queue_timeout_ms: int = 5_000
    """A request that has waited for so long is refused."""

    def check(self) -> None:
        """Raise ValueError for a value that is out of range."""
        for name in ("max_batch", "instances", "queue_size", "queue_timeout_ms"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}, expected 1 or more")
        if self.queue_delay_us < 0:
            raise ValueError(f"--queue-delay-us is {self.queue_delay_us}, expected 0 or more")


def _base_config(name: str, backend: str, versions: Sequence[int], service: Service) -> Any:
    """The fields that all models have."""
    from tritonclient.grpc import model_config_pb2 as pb

    kind = pb.ModelInstanceGroup.KIND_GPU if service.gpu else pb.ModelInstanceGroup.KIND_CPU
    queue = pb.ModelQueuePolicy(
        timeout_action=pb.ModelQueuePolicy.REJECT,
        default_timeout_microseconds=1000 * service.queue_timeout_ms,
        max_queue_size=service.queue_size,
    )
    return pb.ModelConfig(
        name=name,
        backend=backend,
        max_batch_size=service.max_batch,
        instance_group=[pb.ModelInstanceGroup(kind=kind, count=service.instances)],
        version_policy=pb.ModelVersionPolicy(specific=pb.ModelVersionPolicy.Specific(versions=versions)),
        dynamic_batching=pb.ModelDynamicBatching(
            max_queue_delay_microseconds=service.queue_delay_us, default_queue_policy=queue
        ),
    )


def recommender_config(name: str, versions: Sequence[int], service: Service, id_types: IdTypes = WHOLE_NUMBERS) -> Any:
    """The configuration of the recommender (Python backend): original ids or titles in, original ids and titles out."""
    from tritonclient.grpc import model_config_pb2 as pb

    config = _base_config(name, "python", versions, service)
    user_type, item_type = (pb.TYPE_INT64 if t is int else pb.TYPE_STRING for t in (id_types.user, id_types.item))
    for input_name, dtype, dims in (
        ("user_id", user_type, [1]),
        ("item_ids", item_type, [-1]),
        ("titles", pb.TYPE_STRING, [-1]),
        ("k", pb.TYPE_INT32, [1]),
        ("deny", item_type, [-1]),
        ("allow", item_type, [-1]),
        ("where", pb.TYPE_STRING, [1]),
    ):
        config.input.append(
            pb.ModelInput(name=input_name, data_type=dtype, dims=dims, optional=True, allow_ragged_batch=dims == [-1])
        )
    for output_name, dtype, dims in (
        ("items", item_type, [-1]),
        ("scores", pb.TYPE_FP32, [-1]),
        ("titles", pb.TYPE_STRING, [-1]),
        ("source", pb.TYPE_STRING, [1]),
        ("note", pb.TYPE_STRING, [1]),
    ):
        config.output.append(pb.ModelOutput(name=output_name, data_type=dtype, dims=dims))
    if id_types.below_zero:
        config.parameters[BELOW_ZERO].string_value = "true"
    zeros = pb.ModelWarmup.Input(data_type=item_type, dims=[1], zero_data=True)
    config.model_warmup.append(pb.ModelWarmup(name="cold start", batch_size=1, inputs={"item_ids": zeros}))
    return config


def events_config(name: str, id_types: IdTypes = WHOLE_NUMBERS) -> Any:
    """The configuration of the model that appends events (Python backend): one instance, one writer."""
    from tritonclient.grpc import model_config_pb2 as pb

    config = _base_config(name, "python", [1], Service())
    user_type, item_type = (pb.TYPE_INT64 if t is int else pb.TYPE_STRING for t in (id_types.user, id_types.item))
    for input_name, dtype, dims in (("user_id", user_type, [1]), ("item_ids", item_type, [-1])):
        config.input.append(pb.ModelInput(name=input_name, data_type=dtype, dims=dims, allow_ragged_batch=dims == [-1]))
    config.input.append(pb.ModelInput(name="time", data_type=pb.TYPE_INT64, dims=[1], optional=True))
    config.output.append(pb.ModelOutput(name="written", data_type=pb.TYPE_INT64, dims=[1]))
    config.output.append(pb.ModelOutput(name="note", data_type=pb.TYPE_STRING, dims=[1]))
    if id_types.below_zero:
        config.parameters[BELOW_ZERO].string_value = "true"
    return config


def native_config(name: str, export: ExportFolder, target: Target, versions: Sequence[int], service: Service) -> Any:
    """The configuration of a converted model that one of Triton's own backends runs: item indices in and out."""
    from tritonclient.grpc import model_config_pb2 as pb

    config = _base_config(name, BACKENDS[target.format], versions, service)
    if target.format == "savedmodel" or target.format == "tf-trt":
        config.platform = "tensorflow_savedmodel"
        config.parameters["TF_SIGNATURE_DEF"].string_value = export.stored_signature(target.signature)
    zeros = pb.ModelWarmup.Input(data_type=pb.TYPE_INT32, dims=[1], zero_data=True)
    warm_up_inputs: dict[str, Any] = {}
    for input_name, about in export.inputs(target.signature).items():
        # Triton wants at least one dimension besides the batch; `reshape` removes it again for an input of shape [B].
        is_vector = len(about["shape"]) == 1
        reshape = pb.ModelTensorReshape(shape=[]) if is_vector else None
        dims = [1] if is_vector else [-1]
        config.input.append(pb.ModelInput(name=input_name, data_type=pb.TYPE_INT32, dims=dims, reshape=reshape))
        warm_up_inputs[input_name] = zeros
    for output_name, dtype in (("items", pb.TYPE_INT32), ("scores", pb.TYPE_FP32)):
        config.output.append(pb.ModelOutput(name=output_name, data_type=dtype, dims=[export.top_k]))
    config.model_warmup.append(pb.ModelWarmup(name="one", batch_size=1, inputs=warm_up_inputs))
    return config


def to_text(config: Any) -> str:
    """The content of config.pbtxt."""
    from google.protobuf import text_format

    return text_format.MessageToString(config)


def read_config(path: Path) -> Any:
    """Parse a config.pbtxt.

    Raises:
        ValueError: it is no configuration of Triton.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2 as pb

    try:
        return text_format.Parse(path.read_text(), pb.ModelConfig())
    except text_format.ParseError as error:
        raise ValueError(f"{path} is no configuration of Triton: {error}") from None


def with_options_of(config: Any, former: Any) -> Any:
    """The former configuration of a recommender, with the versions, inputs, outputs and kind of ids of another one."""
    former.version_policy.CopyFrom(config.version_policy)
    for name in ("input", "output", "model_warmup"):
        former.ClearField(name)
        getattr(former, name).extend(getattr(config, name))
    former.parameters.pop(BELOW_ZERO, None)
    former.parameters.MergeFrom(config.parameters)
    return former


def served_versions(config: Any) -> list[int]:
    """The versions that a configuration names."""
    return list(config.version_policy.specific.versions)
