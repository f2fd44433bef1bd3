"""Flags of a request, for the commands that recommend in this process and those that ask a server."""

from __future__ import annotations

import argparse
from typing import Any

from serving.command_help import CommandParser

FORMATS = ("table", "json", "csv")


def format_of(args: argparse.Namespace) -> str:
    """The format that --format or --json names."""
    if args.json and args.format not in (None, "json"):
        raise ValueError(f"--json and --format {args.format} differ; give one of them")
    return "json" if args.json else args.format or "table"


def add_request_flags(parser: CommandParser, titles: str, lists: str = "ID,...") -> None:
    """Add --user, --items, --titles, -k, --where, --format, --json, --deny and --allow.

    Args:
        titles: how titles are separated, for the help.
        lists: what --deny and --allow take, for the help.
    """
    add, several = parser.add_argument, dict[str, Any](nargs="+", action="extend", default=[])
    add("--user", metavar="ID", help="a user of the data set")
    add("--items", metavar="ID", help="items that the user has, separated by spaces or commas", **several)
    add("--titles", metavar="TITLE", help=f"items by title, {titles}", **several)
    add("-k", type=int, default=10, help="number of recommendations (default: %(default)s)")
    add("--where", metavar="FILTER", default="", help="only items that fit, as \"genre = 'Drama' and year > 1990\"")
    add("--format", choices=FORMATS, default=None, help="how to print the answer (default: table)")
    add("--json", action="store_true", help="the same as --format json: one line")
    parser.add_rare("--deny", metavar=lists, default="", help="never recommend these")
    parser.add_rare("--allow", metavar=lists, default=None, help="recommend nothing else")


def check_allow(text: str | None) -> None:
    """Raise ValueError for an --allow that holds nothing, as of a variable of the shell that is not set."""
    if text is not None and not text.strip(" ,"):
        raise ValueError(f"--allow is {text!r}: nothing could be recommended; leave it out for all items")
