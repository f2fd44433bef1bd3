"""The command with so little memory that small data need many buckets and blocks.

    python -m tests.data_prep.encode.small_memory BYTES WORDS...

Memory for the program itself counts as none, so that BYTES are for rows and interactions only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from data_prep import request
from data_prep.__main__ import main
from data_prep.encode import external, spool


def shrink(change: Callable[[Any, str, Any], None] = setattr) -> None:
    """Let the preparation take any memory.

    Args:
        change: how an attribute of a module is changed.
    """
    change(request, "LEAST_MEMORY", 0)
    change(external, "BASE_BYTES", 0)
    change(external, "LEAST_EVENTS", 1)
    change(spool, "HELD_BYTES", 1000)


def words(memory: int) -> list[str]:
    """--memory of so many bytes."""
    return ["--memory", f"{memory / 1024}k"]


if __name__ == "__main__":
    shrink()
    sys.exit(main([*sys.argv[2:], *words(int(sys.argv[1]))]))
