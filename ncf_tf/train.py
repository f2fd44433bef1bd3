"""Train NCF: ``horovodrun -np 4 python -m ncf_tf.train --data DIR --run-dir DIR``, or without horovodrun."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from ncf_tf.config import SPEC
from recsys_core import cli


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input, 3 gate missed, 4 training diverged, 5 not converted as asked."""
    return cli.train(SPEC, argv)


if __name__ == "__main__":
    sys.exit(main())
