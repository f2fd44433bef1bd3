"""Evaluate a trained run offline: ``python -m vaecf.evaluate --run-dir DIR [--split test] [--data OTHER]``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from recsys_core import cli
from vaecf.config import SPEC


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input."""
    return cli.evaluate(SPEC, argv)


if __name__ == "__main__":
    sys.exit(main())
