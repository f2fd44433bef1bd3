"""The command line of a package of measurements: one module an action, imported only when the action is chosen."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from recsys_core.measuring import conditions, records
from recsys_core.parser import CommandParser

FAILED = 1
MOVED = 2
EXIT_STATUS = (
    "exit status: 0 done, 1 could not be measured, 2 unknown option or value, 4 measured while other programs used the "
    "machine"
)


@dataclass(frozen=True, kw_only=True)
class CommandLine:
    """`python -m PACKAGE ACTION`. The module PACKAGE.ACTION has `add_arguments(parser)` and `main(args) -> status`, and
    `COMMON`, the options that its --help shows, where it has more than about 15."""

    package: str
    description: str
    actions: Mapping[str, str]
    """Action -> its line in --help."""
    examples: Sequence[str] = ()
    """What may follow `python -m PACKAGE`, for --help; an action shows its own."""
    moved: Mapping[str, str] = field(default_factory=dict)
    """Former action -> the text that names the command of today."""

    def parser(self, chosen: str | None = None) -> CommandParser:
        """
        Args:
            chosen: the only action whose module is imported (some are slow to import); None for all.
        """
        command = f"python -m {self.package}"
        lines = "".join(f"\n  {command} {words}" for words in self.examples)
        parser = CommandParser(
            prog=command,
            description=self.description,
            epilog=f"options of an action: {command} ACTION --help\n\nexamples:{lines}\n\n{EXIT_STATUS}",
        )
        subparsers = parser.add_subparsers(dest="action", required=True, title="actions", metavar="ACTION")
        for name, text in self.actions.items():
            if chosen is not None and name != chosen:
                subparsers.add_parser(name, help=text)
                continue
            module = import_module(f"{self.package}.{name}")
            examples = [words for words in self.examples if words.split()[0] == name]
            lines = "".join(f"\n  {command} {words}" for words in examples)
            epilog = f"examples:{lines}\n\n{EXIT_STATUS}" if examples else EXIT_STATUS
            action = subparsers.add_parser(name, help=text, description=module.__doc__, epilog=epilog)
            module.add_arguments(action)
            action.add_argument("--results", type=Path, default=Path("runs/results.jsonl"),
                                help="results file (default: %(default)s)")  # fmt: skip
            action.add_argument("--busy", action="store_true",
                                help="take figures of a busy machine too, which are left out otherwise")  # fmt: skip
            action.set_defaults(run=module.main)
            if hasattr(module, "COMMON"):
                action.show_only(module.COMMON)
        return parser

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run the chosen action. Status: its own, 1 after an error that one line describes, 2 for a moved action."""
        words = list(sys.argv[1:] if argv is None else argv)
        first = words[0] if words else ""
        if first in self.moved:
            print(f"error: `{self.package} {first}` {self.moved[first]}", file=sys.stderr)
            return MOVED
        args = self.parser(first).parse_args(words)
        if args.busy:
            os.environ[conditions.WANTED_ALL_THE_SAME] = "1"  # the processes that measure inherit it
        records.invalid_records.clear()
        try:
            return args.run(args) or quiet_status()
        except (RuntimeError, ValueError) as error:
            print(f"error: {error}", file=sys.stderr)
            return FAILED


def quiet_status() -> int:
    """0, or BUSY with a line where figures were measured on a busy machine and not wanted all the same."""
    if not records.invalid_records or conditions.is_wanted_all_the_same():
        return 0
    count = len(records.invalid_records)
    print(
        f"not valid: {count} record{'s' if count > 1 else ''} ({records.invalid_records[0]}); measure again when the "
        "machine is quiet, or keep them with --busy",
        file=sys.stderr,
    )
    return conditions.BUSY
