"""Progress lines on stderr: each names the step that begins."""

from __future__ import annotations

import sys

END = " ..."
"""Ends every progress line; a parent process passes on the lines of its child that end so."""


def step(text: str) -> None:
    """Print that a step begins which may take seconds."""
    print(f"{text}{END}", file=sys.stderr, flush=True)
