"""Train NCF: ``horovodrun -np 4 python -m ncf_tf.train --data DIR --run-dir DIR``, or without horovodrun."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from recsys_core.training.stop_signal import StopSignal


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: see `recsys_core.cli.train`."""
    with StopSignal().listening() as stop:  # before the imports, which take a second
        from ncf_tf.config import SPEC
        from recsys_core import cli

        return cli.train(SPEC, argv, stop)


if __name__ == "__main__":
    sys.exit(main())
