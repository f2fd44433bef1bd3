"""Help of the commands: `--help` shows usage, common options and an example; `--help-all` adds the rare options."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

EXPORT_HELP = "folder of a run that passed its gate, or the export in it"
MODELS_HELP = "folder of converted models (default: converted/ beside the export)"


class _ShowAll(argparse.Action):
    """Prints the help with the rare options, and ends the program."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        assert isinstance(parser, CommandParser)
        with parser.rare_options_shown():
            parser.print_help()
        parser.exit()


class CommandParser(argparse.ArgumentParser):
    """A parser whose rare options are accepted always and listed only by `--help-all`."""

    def __init__(self, *args: Any, **options: Any) -> None:
        options.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **options)
        self._help_all = self.add_argument("--help-all", action=_ShowAll, nargs=0, help=argparse.SUPPRESS)
        self._rare: list[argparse.Action] = []
        self._show_rare = False
        self._rare_group: argparse._ArgumentGroup | None = None

    def explain(self, text: str) -> None:
        """Set the description (the lines of a docstring) and the examples (its lines `python -m ...`)."""
        lines = text.strip().splitlines()
        examples = [line.strip() for line in lines if line.strip().startswith("python -m")]
        rest = [line for line in lines if line.strip() not in examples]
        heading = "example:" if len(examples) == 1 else "examples:"
        self.description = "\n".join(rest).strip()
        self.epilog = "\n  ".join([heading, *examples]) if examples else None

    def add_rare(self, *names: str, **options: Any) -> None:
        """`add_argument` for an option that most users never need."""
        if self._rare_group is None:
            self._help_all.help = "show the rare options too, and exit"
            self._rare_group = self.add_argument_group("rare options")
        self._rare.append(self._rare_group.add_argument(*names, **options))

    @contextmanager
    def rare_options_shown(self) -> Iterator[None]:
        """The help of the block lists the rare options."""
        self._show_rare = True
        try:
            yield
        finally:
            self._show_rare = False

    def format_help(self) -> str:
        with _suppressed([] if self._show_rare else self._rare):
            return super().format_help()

    def format_usage(self) -> str:
        with _suppressed(self._rare):
            return super().format_usage()


@contextmanager
def _suppressed(actions: Sequence[argparse.Action]) -> Iterator[None]:
    """Leave options out of the help and the usage that the block formats."""
    texts = [action.help for action in actions]
    try:
        for action in actions:
            action.help = argparse.SUPPRESS
        yield
    finally:
        for action, text in zip(actions, texts, strict=True):
            action.help = text
