"""Command line: ``python -m serving convert|check|verify|recommend|infer|triton|client|publish``."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

MODULES = {
    "convert": "convert.conversion",
    "verify": "convert.verify",
    "check": "convert.check",
    "recommend": "recommend.command",
    "infer": "infer.processes",
    "triton": "triton.commands",
    "client": "triton.client",
    "publish": "release",
}
ACTIONS = {
    "convert": "to ONNX, TensorRT, TF-TRT or SavedModel, each verified",
    "verify": "a converted model against the exported one",
    "check": "what TF-TRT and TensorRT take of the graph, operator by operator",
    "recommend": "for a user, a few items or titles, or nobody known",
    "infer": "many processes on one device, as NVIDIA's sampleMovieLensMPS",
    "triton": "build a model repository, serve it",
    "client": "ask a Triton server over HTTP or gRPC",
    "publish": "a new version into a repository, or back to an older one",
}
BAD_INPUT = 2
INTERRUPTED = 130


def build_parser(chosen: str | None = None) -> argparse.ArgumentParser:
    """
    Args:
        chosen: the only action whose module is imported (they are slow to import); None for all.
    """
    parser = argparse.ArgumentParser(
        prog="python -m serving",
        description="From an export folder to verified TopK inference.",
        epilog="example: python -m serving convert --export runs/first/export --to onnx --precision fp32,fp16,int8",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name, text in ACTIONS.items():
        if chosen in ACTIONS and name != chosen:
            actions.add_parser(name, help=text)
            continue
        module = import_module(f"serving.{MODULES[name]}")
        action = actions.add_parser(name, help=text, description=module.__doc__,
                                    formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
        module.add_arguments(action)
        action.set_defaults(run=module.main)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 found wanting or failed, 2 bad input, 3 nothing could be made here."""
    words = sys.argv[1:] if argv is None else argv
    args = build_parser(words[0] if words else None).parse_args(words)
    try:
        return args.run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
