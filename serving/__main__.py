"""Command line: ``python -m serving convert|check|verify|histories|recommend|batch|infer|triton|client|publish``."""

from __future__ import annotations

import sys
from importlib import import_module

from serving.command_help import CommandParser

ACTIONS = {
    "convert": ("serving.convert.command", "convert to ONNX, TensorRT, TF-TRT or SavedModel, and verify each result"),
    "verify": ("serving.convert.verify", "compare a converted model with the exported one"),
    "check": ("serving.convert.check", "list the operators that TF-TRT and TensorRT do not support"),
    "histories": ("serving.histories.command", "fill, change and read a store of the items that users have"),
    "recommend": ("serving.recommend.command", "recommend items for a user, for items or for titles"),
    "similar": ("serving.similar.command", "list the items that are most similar to one"),
    "demo": ("serving.demo.command", "serve a page that shows recommendations with reasons, of one model or of two"),
    "batch": ("serving.batch.command", "recommend for all users, into Parquet, CSV or JSON lines"),
    "infer": ("serving.infer.command", "run several processes on one device, as NVIDIA's sampleMovieLensMPS"),
    "triton": ("serving.triton.commands", "build a model repository, or serve it"),
    "client": ("serving.triton.client", "send a request to a Triton server over HTTP or gRPC"),
    "publish": ("serving.release.command", "publish a new version into a repository, or roll back to an earlier one"),
}
"""Action -> its module, which has `add_arguments` and `main`, and its line in the help."""
BAD_INPUT = 2
INTERRUPTED = 130


def build_parser(chosen: str | None = None) -> CommandParser:
    """
    Args:
        chosen: the only action whose module is imported; None for all.
    """
    parser = CommandParser(
        prog="python -m serving",
        description="Convert, verify and serve an exported model.",
        epilog="`python -m serving ACTION --help` explains an action.\n\n"
        "example:\n  python -m serving recommend --export runs/first --titles 'Toy Story,Heat'",
    )
    actions = parser.add_subparsers(dest="action", required=True)
    for name, (module_name, text) in ACTIONS.items():
        if chosen in ACTIONS and name != chosen:
            actions.add_parser(name, help=text)
            continue
        module = import_module(module_name)
        action = actions.add_parser(name, help=text)
        action.explain(module.__doc__ or "")
        module.add_arguments(action)
        action.set_defaults(run=module.main)
    return parser


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed or rejected, 2 bad input, 3 this machine can convert nothing of the request."""
    words = sys.argv[1:] if argv is None else argv
    try:  # Ctrl-C may come during the imports too
        args = build_parser(words[0] if words else None).parse_args(words)
        return args.run(args)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
