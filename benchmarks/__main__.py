"""Command line: ``python -m benchmarks prep|train``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks import prep, train


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__import__("benchmarks").__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    for module, text in ((prep, "data preparation beside the pandas way"), (train, "training speed and its limit")):
        action = actions.add_parser(module.__name__.rpartition(".")[2], help=text, description=module.__doc__)
        module.add_arguments(action)
        action.add_argument(
            "--results",
            type=Path,
            default=Path("runs/benchmarks.jsonl"),
            help="file to append to (default: %(default)s)",
        )
        action.set_defaults(run=module.main)
    args = parser.parse_args(argv)
    try:
        return args.run(args)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
