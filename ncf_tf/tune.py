"""Search for settings of NCF: ``python -m ncf_tf.tune --data DIR --out DIR``."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ncf_tf.config import SPEC
from recsys_core.tuning.command import tune


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input, 130 Ctrl-C."""
    return tune(SPEC, argv)


if __name__ == "__main__":
    sys.exit(main())
