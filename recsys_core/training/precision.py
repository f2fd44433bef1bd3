"""Number formats of a run. Parameters and their gradients' sums stay float32; products run in the compute type.

fp16 needs its loss scaled up, or small gradients vanish; the scale adapts (Micikevicius et al. 2018, section 3.2).
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass

import tensorflow as tf

from recsys_core import devices, numerics
from recsys_core.world import World


@dataclass(frozen=True, kw_only=True)
class Precision:
    """How to compute."""

    name: str
    compute: tf.DType
    """Type of the operands of matrix products."""
    scaled: bool = False
    """Whether the loss is scaled dynamically."""
    tf32: bool = False
    """Whether GPUs multiply float32 operands in TF32."""

    def in_steps(self) -> AbstractContextManager[None]:
        """TensorFlow is set for training steps of this precision while the block runs, and for scores after it."""
        return numerics.tf32_products(self.tf32)


KNOWN = {
    "fp32": Precision(name="fp32", compute=tf.float32),
    "tf32": Precision(name="tf32", compute=tf.float32, tf32=True),
    "bf16": Precision(name="bf16", compute=tf.bfloat16),
    "fp16": Precision(name="fp16", compute=tf.float16, scaled=True),
}


def best(capability: tuple[int, int] | None, cpu_bf16: bool) -> str:
    """The fastest precision that is safe on this hardware.

    Args:
        capability: compute capability of the GPU, None without one.
        cpu_bf16: whether the CPU multiplies bfloat16 natively.
    """
    if capability is not None:
        return "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    return "bf16" if cpu_bf16 else "fp32"


def named(name: str) -> Precision:
    """The precision of a name.

    Raises:
        ValueError: an unknown name (the known ones are listed).
    """
    if name not in KNOWN:
        raise ValueError(f"unknown precision {name!r}, known are: {', '.join([*KNOWN, 'auto'])}")
    return KNOWN[name]


def resolve(name: str, world: World) -> Precision:
    """The precision of every rank. For "auto" the hardware of rank 0 decides."""
    if name == "auto":
        name = world.broadcast(best(devices.gpu_capability(), devices.cpu_has_bf16()))
    return named(name)


class LossScale(tf.Module):
    """The dynamic loss scale: halved after a step that overflowed, doubled after `PATIENCE` good ones."""

    START, PATIENCE, LARGEST, SMALLEST = 2.0**15, 2000, 2.0**24, 1.0

    def __init__(self, enabled: bool) -> None:
        super().__init__(name="loss_scale")
        self.enabled = enabled
        self.value = tf.Variable(self.START if enabled else 1.0, trainable=False, name="value")
        self.good_steps = tf.Variable(0, dtype=tf.int64, trainable=False, name="good_steps")

    def update(self, finite: tf.Tensor) -> None:
        """Adapt after a step; `finite` [] bool is the same on every rank, because reduced gradients were checked."""
        grown = self.good_steps >= self.PATIENCE - 1
        larger = tf.where(grown, tf.minimum(self.value * 2.0, self.LARGEST), self.value)
        self.value.assign(tf.where(finite, larger, tf.maximum(self.value / 2.0, self.SMALLEST)))
        self.good_steps.assign(tf.where(finite & ~grown, self.good_steps + 1, 0))
