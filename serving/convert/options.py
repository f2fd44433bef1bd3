"""Options of a conversion, and their flags."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from serving.command_help import CommandParser
from serving.engines import providers

VERIFY_HELP = (
    "verify with it too: cuda or tensorrt-rtx (ONNX), xla (SavedModel) (default: auto, which is every one of this "
    "machine)"
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of TensorRT and TF-TRT; ONNX uses `opset` and `provider` only. Its models take any batch and history."""

    max_batch: int = 1024
    optimal_batch: int = 32
    max_history: int = 512
    optimal_history: int = 128
    workspace_mib: int = 4096
    dla_core: int = -1
    """DLA core that runs the engine; -1 for the GPU."""
    opset: int = 17
    provider: str = providers.AUTO
    """With which the result is verified too; see `serving.engines.providers`."""

    def to_flags(self) -> list[str]:
        """The options as words of a command line."""
        return [word for name, value in vars(self).items() for word in (f"--{name.replace('_', '-')}", str(value))]


def add_arguments(parser: CommandParser) -> None:
    default = Options()
    add = parser.add_rare
    add(
        "--max-batch",
        type=int,
        default=default.max_batch,
        help="largest batch of a TensorRT engine (%(default)s)",
    )
    add("--optimal-batch", type=int, default=default.optimal_batch, help="batch it is tuned for (default: %(default)s)")
    add("--max-history", type=int, default=default.max_history, help="longest history (default: %(default)s)")
    add("--optimal-history", type=int, default=default.optimal_history, help="tuned for (default: %(default)s)")
    add("--workspace-mib", type=int, default=default.workspace_mib, help="for building (default: %(default)s)")
    add("--dla-core", type=int, default=default.dla_core, help="DLA core, GPU as fallback (default: none)")
    add("--provider", choices=providers.CHOICES, default=default.provider, help=VERIFY_HELP)
    add("--opset", type=int, default=default.opset, help="of ONNX (default: %(default)s)")


def from_arguments(args: argparse.Namespace) -> Options:
    """
    Raises:
        ValueError: a value is out of range.
    """
    options = Options(**{name: getattr(args, name) for name in vars(Options())})
    for smallest, name in ((1, "max_batch"), (1, "optimal_batch"), (1, "max_history"), (1, "optimal_history"),
                           (1, "workspace_mib"), (-1, "dla_core"), (13, "opset")):  # fmt: skip
        if getattr(options, name) < smallest:
            flag = name.replace("_", "-")
            raise ValueError(f"--{flag} is {getattr(options, name)}, expected a whole number from {smallest}")
    if options.optimal_batch > options.max_batch or options.optimal_history > options.max_history:
        raise ValueError("--optimal-batch and --optimal-history must not be above --max-batch and --max-history")
    return options
