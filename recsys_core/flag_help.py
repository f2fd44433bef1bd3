"""The help of the training commands: `--help` shows the common flags, `--help-all` every flag and preset in full."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Sequence
from typing import Any

from recsys_core.config import ModelSpec
from recsys_core.flag_list import Flag, flags_of

COLUMN = 26
"""Width of the column with the names of flags."""
WIDEST = 100
EXIT_STATUS = (
    "0 done, 2 bad input, 3 gate missed, 4 training diverged, 5 not converted as asked, 6 rank lost, 130 Ctrl-C"
)
BEFORE = (
    ("--config FILE", "Read any of the settings from a YAML file; flags win over it. A run's config.yaml is one."),
    ("--resume RUN", "Go on with a stopped run; needs no other flag."),
)
"""Flags that choose what the others change; they are no settings."""
AFTER = (("--help-all", "Show every flag, and what to expect of each preset."),)


def command_of(spec: ModelSpec) -> str:
    """What the user types before the flags."""
    return f"python -m {spec.family}.train"


def short_help(spec: ModelSpec, config: Any) -> str:
    """Usage, presets in a line each, the common flags, examples and exit statuses.

    Args:
        config: its values are the defaults.
    """
    known = {flag.path: flag for flag in flags_of(config)}
    rows = [(known[path].shown, known[path].explained) for path in config.COMMON]
    presets = [(name, preset.summary) for name, preset in spec.presets.items()]
    return "\n".join(
        [
            *_head(spec),
            f"\npresets (default: {next(iter(spec.presets))}):",
            *_table(presets, column=10),
            "\noptions:",
            *_table([*rows, *BEFORE, *AFTER]),
            *_tail(spec),
        ]
    )


def full_help(spec: ModelSpec, config: Any) -> str:
    """Every flag by component, and the whole text of each preset."""
    flags = flags_of(config)
    groups: dict[str, list[Flag]] = {}
    for flag in flags:
        groups.setdefault(flag.path.rpartition(".")[0], []).append(flag)
    lines = [*_head(spec), "\npresets:", *_table([(n, p.about) for n, p in spec.presets.items()], column=10)]
    for group, members in groups.items():
        title = _first_line(getattr(config, group)) if group else "Files, and what is made of them."
        others = (*BEFORE, *AFTER) if not group else ()
        lines += [f"\n{group or 'run'}: {title}", *_table([*((f.shown, f.explained) for f in members), *others])]
    return "\n".join([*lines, *_tail(spec)])


def _first_line(component: Any) -> str:
    return (type(component).__doc__ or "").strip().splitlines()[0]


def _head(spec: ModelSpec) -> list[str]:
    command = command_of(spec)
    usage = [f"usage: {command} --data PATH --run-dir PATH [--preset NAME] [options]", f"       {command} --resume RUN"]
    return [*usage, "", *_wrapped(spec.description)]


def _tail(spec: ModelSpec) -> list[str]:
    command, second = command_of(spec), list(spec.presets)[min(1, len(spec.presets) - 1)]
    ranks = f"python -m horovod_launch run -np 4 {spec.family}.train --"
    return [
        "\nexamples:",
        f"  {command} --data data/mine --run-dir runs/a",
        f"  {ranks} \\",
        f"      --data data/mine --run-dir runs/b --preset {second}",
        "",
        *_wrapped(f"exit status: {EXIT_STATUS}"),
    ]


def _width() -> int:
    return max(60, min(shutil.get_terminal_size().columns, WIDEST))


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, _width(), break_long_words=False, break_on_hyphens=False)


def _table(rows: Sequence[tuple[str, str]], column: int = COLUMN) -> list[str]:
    """Two columns, the second wrapped."""
    lines = []
    for name, text in rows:
        first = f"  {name}".ljust(column)
        if len(first) > column or not first.endswith(" "):
            lines.append(first.rstrip())
            first = " " * column
        lines += textwrap.wrap(
            text,
            _width(),
            initial_indent=first,
            subsequent_indent=" " * column,
            break_long_words=False,
            break_on_hyphens=False,
        ) or [first.rstrip()]
    return lines
