"""config.pbtxt, made of Triton's own protobuf messages: what is not in its schema cannot be written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2 as pb

from serving.export_folder import ExportFolder
from serving.targets import Variant

BACKENDS = {"onnx": "onnxruntime", "tensorrt": "tensorrt", "savedmodel": "tensorflow", "tf-trt": "tensorflow"}
"""Format -> Triton's backend."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """How a model is served."""

    max_batch: int = 64
    instances: int = 1
    gpu: bool = False
    queue_delay_us: int = 500
    """How long a request waits for others to share a batch with."""
    queue_size: int = 1024
    """Requests that may wait; more are refused at once."""
    queue_timeout_ms: int = 5_000
    """A request that waited so long is refused."""

    def check(self) -> None:
        """Raise ValueError for a value that cannot be used."""
        for name in ("max_batch", "instances", "queue_size", "queue_timeout_ms"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}, expected 1 or more")
        if self.queue_delay_us < 0:
            raise ValueError(f"--queue-delay-us is {self.queue_delay_us}, expected 0 or more")


def _common(name: str, backend: str, versions: Sequence[int], service: Service) -> Any:
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


def recommender(name: str, versions: Sequence[int], service: Service) -> Any:
    """The model that people ask: original ids in, ids and titles out (Python backend)."""
    config = _common(name, "python", versions, service)
    for given, kind, dims in (
        ("user_id", pb.TYPE_INT64, [1]),
        ("item_ids", pb.TYPE_INT64, [-1]),
        ("k", pb.TYPE_INT32, [1]),
        ("deny", pb.TYPE_INT64, [-1]),
        ("allow", pb.TYPE_INT64, [-1]),
    ):
        config.input.append(
            pb.ModelInput(name=given, data_type=kind, dims=dims, optional=True, allow_ragged_batch=dims == [-1])
        )
    for answer, kind, dims in (
        ("items", pb.TYPE_INT64, [-1]),
        ("scores", pb.TYPE_FP32, [-1]),
        ("titles", pb.TYPE_STRING, [-1]),
        ("source", pb.TYPE_STRING, [1]),
        ("note", pb.TYPE_STRING, [1]),
    ):
        config.output.append(pb.ModelOutput(name=answer, data_type=kind, dims=dims))
    zeros = pb.ModelWarmup.Input(data_type=pb.TYPE_INT64, dims=[1], zero_data=True)
    config.model_warmup.append(pb.ModelWarmup(name="cold start", batch_size=1, inputs={"item_ids": zeros}))
    return config


def tensors(name: str, export: ExportFolder, variant: Variant, versions: Sequence[int], service: Service) -> Any:
    """The bare model: indices in, indices out, by Triton's own backend of the format."""
    config = _common(name, BACKENDS[variant.format], versions, service)
    if variant.format == "savedmodel" or variant.format == "tf-trt":
        config.platform = "tensorflow_savedmodel"
        config.parameters["TF_SIGNATURE_DEF"].string_value = variant.signature
    ids = pb.ModelWarmup.Input(data_type=pb.TYPE_INT32, dims=[1], zero_data=True)
    warm: dict[str, Any] = {}
    for given, about in export.inputs(variant.signature).items():
        # A batch of shape [B] is one number each: Triton wants a dimension, and reshapes it away.
        one = len(about["shape"]) == 1
        reshape = pb.ModelTensorReshape(shape=[]) if one else None
        config.input.append(
            pb.ModelInput(name=given, data_type=pb.TYPE_INT32, dims=[1] if one else [-1], reshape=reshape)
        )
        warm[given] = ids
    for answer, kind in (("items", pb.TYPE_INT32), ("scores", pb.TYPE_FP32)):
        config.output.append(pb.ModelOutput(name=answer, data_type=kind, dims=[export.top_k]))
    config.model_warmup.append(pb.ModelWarmup(name="one", batch_size=1, inputs=warm))
    return config


def text(config: Any) -> str:
    """As config.pbtxt has it."""
    return text_format.MessageToString(config)


def read(path: Path) -> Any:
    """Parse a config.pbtxt.

    Raises:
        ValueError: it is none of Triton's.
    """
    try:
        return text_format.Parse(path.read_text(), pb.ModelConfig())
    except text_format.ParseError as error:
        raise ValueError(f"{path} is no configuration of Triton: {error}") from None


def served_versions(config: Any) -> list[int]:
    """The versions that a configuration names."""
    return list(config.version_policy.specific.versions)
