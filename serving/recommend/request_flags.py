"""Flags of a request, for the commands that recommend in this process and those that ask a server."""

from __future__ import annotations

from typing import Any

from serving.command_help import CommandParser


def add_request_flags(parser: CommandParser, titles: str) -> None:
    """Add --user, --items, --titles, -k, --json, --deny and --allow.

    Args:
        titles: how titles are separated, for the help.
    """
    add, several = parser.add_argument, dict[str, Any](nargs="+", action="extend", default=[])
    add("--user", metavar="ID", help="a user of the data set")
    add("--items", metavar="ID", help="items that the user has, separated by spaces or commas", **several)
    add("--titles", metavar="TITLE", help=f"items by title, {titles}", **several)
    add("-k", type=int, default=10, help="number of recommendations (default: %(default)s)")
    add("--json", action="store_true", help="print one line of JSON instead of a table")
    parser.add_rare("--deny", metavar="ID,...", default="", help="never recommend these")
    parser.add_rare("--allow", metavar="ID,...", default="", help="recommend nothing else")
