"""The command line of a package of measurements: one module an action, imported only when the action is chosen."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

FAILED = 1
MOVED = 2


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """`python -m PACKAGE ACTION`. The module PACKAGE.ACTION has `add_arguments(parser)` and `main(args) -> status`."""

    package: str
    description: str
    actions: Mapping[str, str]
    """Action -> its line in --help."""
    moved: Mapping[str, str] = field(default_factory=dict)
    """Former action -> the text that names the command of today."""

    def parser(self, chosen: str | None = None) -> argparse.ArgumentParser:
        """
        Args:
            chosen: the only action whose module is imported (some are slow to import); None for all.
        """
        parser = argparse.ArgumentParser(prog=f"python -m {self.package}", description=self.description)
        subparsers = parser.add_subparsers(dest="action", required=True)
        for name, text in self.actions.items():
            if chosen is not None and name != chosen:
                subparsers.add_parser(name, help=text)
                continue
            module = import_module(f"{self.package}.{name}")
            action = subparsers.add_parser(name, help=text, description=module.__doc__)
            module.add_arguments(action)
            action.add_argument("--results", type=Path, default=Path("runs/results.jsonl"),
                                help="results file (default: %(default)s)")  # fmt: skip
            action.set_defaults(run=module.main)
        return parser

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run the chosen action. Status: its own, 1 after an error that one line describes, 2 for a moved action."""
        words = list(sys.argv[1:] if argv is None else argv)
        first = words[0] if words else ""
        if first in self.moved:
            print(f"error: `{self.package} {first}` {self.moved[first]}", file=sys.stderr)
            return MOVED
        args = self.parser(first).parse_args(words)
        try:
            return args.run(args)
        except (RuntimeError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return FAILED
