"""Train VAE-CF: ``horovodrun -np 4 python -m vaecf.train --data DIR --run-dir DIR``, or without horovodrun."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from recsys_core.training.stop_signal import StopSignal


def main(argv: Sequence[str] | None = None) -> int:
    """Exit status: see `recsys_core.cli.train`."""
    with StopSignal().listening() as stop:  # before the imports, which take a second
        from recsys_core import cli
        from vaecf.config import SPEC

        return cli.train(SPEC, argv, stop)


if __name__ == "__main__":
    sys.exit(main())
