"""`CommandParser`: an argparse parser with a short usage, errors of one line, and rare options under `--help-all`."""

from __future__ import annotations

import argparse
import difflib
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from typing import Any, NoReturn

EXPECTED = {"int": "a whole number", "float": "a number"}
"""Name of a type in argparse's messages -> its name in ours."""


class _Formatter(argparse.HelpFormatter):
    """Wraps paragraphs, and keeps lines that are indented, as examples."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=26, width=max(60, min(shutil.get_terminal_size().columns, 100)))

    def add_argument(self, action: argparse.Action) -> None:
        """Make room for the longest action of a command; argparse does not count their indentation."""
        super().add_argument(action)
        if isinstance(action, argparse._SubParsersAction):
            longest = max(map(len, action.choices), default=0)
            self._action_max_length = max(self._action_max_length, longest + 2 * self._indent_increment)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs = [
            part if part.startswith(" ") or "\n  " in part else textwrap.fill(" ".join(part.split()), width)
            for part in text.strip("\n").split("\n\n")
        ]
        return textwrap.indent("\n\n".join(paragraphs), indent)


class _HelpAll(argparse.Action):
    """Prints the help with the rare options, and ends."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser: Any, *_: object) -> NoReturn:
        parser.print_whole_help()
        raise SystemExit(0)


class CommandParser(argparse.ArgumentParser):
    """A parser whose messages say in one line what was given, what was expected and what to do."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"formatter_class": _Formatter} | options)
        self._common: tuple[str, ...] | None = None

    def show_only(self, common: Sequence[str]) -> None:
        """Leave the other options to `--help-all`. Call it when all options are there."""
        self.add_argument("--help-all", action=_HelpAll, help="show every option")
        self._common = ("--help", "--help-all", *common)

    def print_whole_help(self) -> None:
        """Print the help with every option."""
        common, self._common = self._common, None
        self.print_help()
        self._common = common

    def format_help(self) -> str:
        rare = [a for a in self._actions if self._common is not None and not {*a.option_strings} & {*self._common}]
        texts = [action.help for action in rare]
        for action in rare:
            if action.option_strings:
                action.help = argparse.SUPPRESS
        given, self.usage = self.usage, self.usage or self.short_usage().replace("%", "%%")
        try:
            return super().format_help()
        finally:
            self.usage = given
            for action, text in zip(rare, texts, strict=True):
                action.help = text

    def format_usage(self) -> str:
        return f"usage: {self.short_usage()}\n"

    def short_usage(self) -> str:
        """The command with what it needs; `[options]` stands for the rest."""
        needed = [action for action in self._actions if action.required and action.option_strings]
        words = [f"{a.option_strings[0]} {a.metavar or a.dest.upper()}" for a in needed]
        places = [str(a.metavar or a.dest.upper()) for a in self._actions if not a.option_strings]
        return " ".join([self.prog, *places, *words, "[options]"])

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        words = list(sys.argv[1:] if args is None else args)
        found, unknown = self.parse_known_args(words, namespace)
        if unknown:
            self._refuse(unknown[0], words)
        return found

    def _refuse(self, word: str, words: Sequence[str]) -> NoReturn:
        """End with the nearest flag to one that is unknown."""
        chosen = self._chosen(words)
        if not word.startswith("-"):
            chosen.error(f"{word!r} stands without a flag")
        near = difflib.get_close_matches(word.split("=")[0], chosen._option_string_actions, n=1)
        chosen.error(f"unknown flag {word.split('=')[0]}" + (f"; did you mean {near[0]}?" if near else ""))

    def _chosen(self, words: Sequence[str]) -> CommandParser:
        """The parser of the action among these words, or this one."""
        for group in self._subparsers._group_actions if self._subparsers else ():
            for word in words:
                if word in (group.choices or ()):
                    return group.choices[word]  # type: ignore[index,call-overload,no-any-return]
        return self

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {one_line(message, self.short_usage())}; see {self.prog} --help\n")


def one_line(message: str, usage: str) -> str:
    """A message of argparse in the form of ours."""
    if match := re.fullmatch(r"argument (\S+): invalid (?P<kind>\w+) value: (?P<value>.*)", message):
        kind = match["kind"]
        return f"{match[1]} is {match['value']}, expected {EXPECTED.get(kind, f'a value of type {kind}')}"
    if match := re.fullmatch(r"argument (\S+): invalid choice: (?P<value>.*) \(choose from (?P<known>.*)\)", message):
        known = match["known"].replace("'", "").split(", ")
        near = difflib.get_close_matches(match["value"].strip("'"), known, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        return f"{match[1]} is {match['value']}, expected one of: {', '.join(known)}{hint}"
    if match := re.fullmatch(r"the following arguments are required: (.*)", message):
        names = match[1].split(", ")
        return f"{' and '.join(names)} {'is' if len(names) == 1 else 'are'} missing; type: {usage}"
    if match := re.fullmatch(r"argument (\S+): expected (one|at least one) argument", message):
        return f"{match[1]} has no value"
    return message
