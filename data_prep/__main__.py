"""Command line: ``python -m data_prep NAME --raw PATH --out DIR``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep import progress
from data_prep.arguments import build_parser
from data_prep.catalog.shapes import LIKE, Shape
from data_prep.split.rules import SplitRules

if TYPE_CHECKING:
    from data_prep.request import Request


def _shape(args: argparse.Namespace) -> Shape | None:
    sizes = (args.users, args.items, args.interactions)
    if args.name != "synthetic" or (args.like is None and None in sizes):
        return None
    if args.like is not None and args.like not in LIKE:
        raise ValueError(f"--like {args.like!r} is not known, known are: {', '.join(LIKE)}")
    base = LIKE[args.like] if args.like else Shape(users=1, items=10, interactions=1)
    users, items, interactions = (
        default if given is None else given
        for given, default in zip(sizes, (base.users, base.items, base.interactions), strict=True)
    )
    return Shape(users=users, items=items, interactions=interactions, ratings=base.ratings and not args.no_ratings)


def _request(args: argparse.Namespace) -> Request:
    from data_prep.request import Request  # late: imports much

    return Request(
        name=args.name,
        out=(args.out or Path("data") / args.name).absolute(),
        raw=args.raw,
        download=args.download,
        overwrite=args.overwrite,
        threshold=args.threshold,
        held_out=args.held_out_users,
        rules=SplitRules(
            protocol=args.protocol,
            min_user_items=args.min_user_items,
            min_item_users=args.min_item_users,
            fold_out_share=args.fold_out_share,
            seed=args.seed,
            negatives=args.negatives,
            candidates=args.candidates,
        ),
        user_column=args.user_column,
        item_column=args.item_column,
        rating_column=args.rating_column,
        time_column=args.time_column,
        delimiter=args.delimiter,
        titles=args.titles,
        shape=_shape(args),
    )


def _report(manifest: dict, out: Path, seconds: float) -> None:
    for warning in manifest["warnings"]:
        print(f"note: {warning}")
    counts = manifest["counts"]
    what = "items" if "validation_users" in counts else "users"
    print(
        f"{counts['rows_read']:,} rows -> {counts['events']:,} events of {counts['users']:,} users and "
        f"{counts['items']:,} items; training {counts['train_users']:,} x {counts['train_items']:,}, held out "
        f"{counts.get('validation_users', counts['held_out_users']):,} + {counts['held_out_users']:,} {what}"
    )
    print(f"{out} ({seconds:.1f} s)")


def _first_line(args: argparse.Namespace, out: Path) -> str:
    """What is read and from where, known before anything that takes long is imported."""
    if args.write_csv is not None:
        return f"generating ratings in {args.write_csv}"
    source = "by download" if args.raw is None and args.download else f"from {args.raw}" if args.raw else "from a seed"
    return f"preparing {args.name} {source} in {out}"


def _write_csv(args: argparse.Namespace) -> None:
    from data_prep.catalog import synthetic  # late: imports much

    shape = _shape(args)
    if shape is None:
        raise ValueError("--write-csv goes with: synthetic --like NAME, or --users, --items and --interactions")
    print(f"{synthetic.write_csv(shape, args.seed, args.write_csv):,} rows in {args.write_csv}")


def _run(args: argparse.Namespace) -> None:
    start = time.perf_counter()
    with progress.shown():
        progress.step(_first_line(args, args.out or Path("data") / args.name))
        if args.write_csv is not None:
            _write_csv(args)
            return
        from data_prep.prepare import prepare  # late: imports much

        request = _request(args)
        manifest = prepare(request)
    if manifest is not None:
        _report(dict(manifest), request.out, time.perf_counter() - start)


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        _run(args)
    except (ValueError, OSError) as error:
        if os.environ.get("OMPI_COMM_WORLD_RANK", "0") == "0":
            text = (
                f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
            )
            print(f"error: {text}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
