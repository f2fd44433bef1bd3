"""The memory of a zoo model's tables: `--table-mib`, a number or "auto"."""

from __future__ import annotations

import argparse
import sys

from load_study.engines.cores import default_engines, usable_cores

AUTO = "auto"
FREE_SHARE = 0.5
"""Share of the free memory that all copies of the tables may take."""
COPIES_TO_PREPARE = 7
"""Memory that writing the ONNX file takes once, in sizes of the tables."""


def table_mib_of(text: str) -> int | None:
    """The value of --table-mib: MiB, or None for "auto".

    Raises:
        argparse.ArgumentError: it is neither.
    """
    if text == AUTO:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentError(None, f"--table-mib is {text!r}, expected a whole number from 1 (MiB), or {AUTO}")
    return int(text)


def fitting_mib(free_bytes: int, engines: int) -> int:
    """The largest power of two, in MiB, of which the copies that are needed at a time take `FREE_SHARE` of the memory.

    Each engine holds a copy. A power of two, so that the files of one run are found by the next.
    """
    most = int(FREE_SHARE * free_bytes) // max(COPIES_TO_PREPARE, engines) >> 20
    return 1 << max(most.bit_length() - 1, 0)


def choose_table_mib(args: argparse.Namespace) -> int:
    """MiB of the tables that the flags ask for; what "auto" means is printed."""
    if args.table_mib is not None:
        return int(args.table_mib)
    import psutil

    free = psutil.virtual_memory().available
    cores = getattr(args, "cores", 1)
    engines = getattr(args, "engines", 0) or default_engines(len(usable_cores()), cores)
    args.table_mib = fitting_mib(free, engines)
    print(
        f"--table-mib {AUTO}: {args.table_mib:,} MiB ({engines} engines; {FREE_SHARE:.0%} of {free / 2**30:.1f} GiB of "
        f"free memory for {max(COPIES_TO_PREPARE, engines)} copies)",
        file=sys.stderr,
    )
    return int(args.table_mib)
