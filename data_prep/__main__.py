"""Command line: ``python -m data_prep NAME --raw PATH --out DIR``."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep import synthetic
from data_prep.sources import GENERIC, SOURCES
from data_prep.split import LIANG2018_SEED, PROTOCOLS, SplitRules

if TYPE_CHECKING:
    from data_prep.prepare import Request

EPILOG = (
    "data sets:\n"
    + "\n".join(f"  {name:16} {source.about}" for name, source in SOURCES.items())
    + """
  csv, parquet     your own ratings: one row an interaction, columns named with --user-column and so on
  he2017           the files published with NCF: NAME.train.rating, NAME.test.rating, NAME.test.negative
  transcode        a feature_spec.yaml and the csv, parquet or npy files that it names
  synthetic        seeded ratings with a long tail and a structure that a model can learn

examples:
  python -m data_prep ml-20m --download --out data/ml-20m
  python -m data_prep ml-20m --raw ml-20m/ --protocol liang2018 --out data/ml-20m-liang
  python -m data_prep csv --raw clicks.csv --user-column user --item-column article --out data/clicks
  python -m data_prep ml-1m --download --protocol leave-one-out --out data/ml-1m-ncf
  python -m data_prep he2017 --raw Data/ --out data/ncf-ml-1m
  python -m data_prep transcode --raw feature_spec.yaml --out data/mine
  python -m data_prep synthetic --like ml-20m --write-csv raw/ratings.csv
  mpirun -np 4 python -m data_prep netflix --raw netflix/ --out data/netflix
"""
)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep",
        description="Turn raw ratings into a sparse, memory-mapped, reproducible data set.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME", help=f"one of: {', '.join((*SOURCES, *GENERIC))}")
    parser.add_argument("--out", type=Path, metavar="DIR", help="the data set folder to write (default: data/NAME)")
    where = parser.add_argument_group("source")
    where.add_argument("--raw", type=Path, metavar="PATH", help="folder, file, zip or tar with the original files")
    where.add_argument("--download", action="store_true", help="fetch the archive beside --out (GroupLens data only)")
    where.add_argument(
        "--titles", type=Path, metavar="FILE", help="item titles: movies.csv, movies.dat, u.item or any CSV"
    )
    where.add_argument("--overwrite", action="store_true", help="replace another data set in --out")
    rules = parser.add_argument_group("rules (defaults as in Liang et al. 2018)")
    rules.add_argument(
        "--threshold", type=float, help="positive if rating > this (default: 3.5; for leave-one-out 0, every rating)"
    )
    rules.add_argument(
        "--min-user-items", type=int, default=5, help="drop users with fewer items (default: %(default)s)"
    )
    rules.add_argument(
        "--min-item-users", type=int, default=0, help="drop items with fewer users (default: %(default)s)"
    )
    rules.add_argument(
        "--held-out-users",
        type=float,
        metavar="N",
        help="users for validation and as many for test: a number, or a share below 1 "
        "(default: 10000 for ml-20m, 40000 for netflix, 0.1 elsewhere)",
    )
    rules.add_argument("--fold-out-share", type=float, default=0.2, help="items to be found (default: %(default)s)")
    rules.add_argument(
        "--protocol",
        default="default",
        help=f"{', '.join(PROTOCOLS)}: hold out users (drawn anew, or the published split bit for bit), or the latest "
        "item of every user with candidates, for NCF",
    )
    rules.add_argument(
        "--negatives", type=int, default=99, help="leave-one-out: items in a list besides (default: %(default)s)"
    )
    rules.add_argument(
        "--candidates",
        default="clean",
        help="clean (distinct items the user never had) or mlperf (as MLPerf drew them) (default: %(default)s)",
    )
    rules.add_argument("--seed", type=int, default=LIANG2018_SEED, help="root seed of the split (default: %(default)s)")
    columns = parser.add_argument_group("csv and parquet")
    columns.add_argument("--user-column", default="userId", help="(default: %(default)s)")
    columns.add_argument("--item-column", default="movieId", help="(default: %(default)s)")
    columns.add_argument("--rating-column", help="(default: rating if there is one, else every row is positive)")
    columns.add_argument(
        "--time-column", default="", help="for leave-one-out (default: timestamp if there is one, else chance decides)"
    )
    columns.add_argument("--delimiter", default=",", help="(default: %(default)s)")
    drawn = parser.add_argument_group("synthetic")
    drawn.add_argument("--like", help=f"sizes of: {', '.join(synthetic.LIKE)}")
    drawn.add_argument("--users", type=int)
    drawn.add_argument("--items", type=int)
    drawn.add_argument("--interactions", type=int)
    drawn.add_argument("--no-ratings", action="store_true", help="every row is positive")
    drawn.add_argument("--write-csv", type=Path, metavar="FILE", help="write the raw rows there and prepare nothing")
    return parser


def _shape(args: argparse.Namespace) -> synthetic.Shape | None:
    sizes = (args.users, args.items, args.interactions)
    if args.name != "synthetic" or (args.like is None and None in sizes):
        return None
    if args.like is not None and args.like not in synthetic.LIKE:
        raise ValueError(f"--like {args.like!r} is not known, known are: {', '.join(synthetic.LIKE)}")
    base = synthetic.LIKE[args.like] if args.like else synthetic.Shape(users=1, items=10, interactions=1)
    users, items, interactions = (
        default if given is None else given
        for given, default in zip(sizes, (base.users, base.items, base.interactions), strict=True)
    )
    return synthetic.Shape(
        users=users, items=items, interactions=interactions, ratings=base.ratings and not args.no_ratings
    )


def _request(args: argparse.Namespace) -> Request:
    from data_prep.prepare import Request  # late: pandas takes longer to import than the help to print

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


def main(argv: list[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    start = time.perf_counter()
    try:
        if args.write_csv is not None:
            shape = _shape(args)
            if shape is None:
                raise ValueError("--write-csv goes with: synthetic --like NAME, or --users, --items and --interactions")
            print(f"{synthetic.write_csv(shape, args.seed, args.write_csv):,} rows in {args.write_csv}")
            return 0
        from data_prep.prepare import prepare

        request = _request(args)
        manifest = prepare(request)
    except (ValueError, OSError) as error:
        if os.environ.get("OMPI_COMM_WORLD_RANK", "0") == "0":
            text = (
                f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
            )
            print(f"error: {text}", file=sys.stderr)
        return 2
    if manifest is not None:
        _report(dict(manifest), request.out, time.perf_counter() - start)
    return 0


if __name__ == "__main__":
    sys.exit(main())
