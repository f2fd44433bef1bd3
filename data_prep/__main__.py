"""Command line: ``python -m data_prep NAME --raw PATH --out DIR``."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_prep import progress
from data_prep.arguments import build_parser
from data_prep.catalog import entries
from data_prep.catalog.shapes import LIKE, Shape
from data_prep.read import addresses
from data_prep.read.asked import Asked
from data_prep.split.rules import DEFAULT, HELD_OUT_SHARES, RENAMED, SplitRules

if TYPE_CHECKING:
    from data_prep.catalog.entry import Entry
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


INTERRUPTED = 130
"""The shell's status for Ctrl-C."""
NONE = "none"
"""A column that is not to be used."""


def _texts(value: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in value.split(",") if word.strip())


def _asked(args: argparse.Namespace) -> Asked:
    return Asked(
        raw=tuple(args.raw),
        format=args.format or ("parquet" if args.name == "parquet" else ""),
        delimiter=args.delimiter.replace("\\t", "\t"),
        header=_texts(args.header),
        encoding=args.encoding,
        user=args.user_column,
        item=args.item_column,
        rating=None if args.rating_column == NONE else args.rating_column,
        time=None if args.time_column == NONE else args.time_column,
        event=args.event_column,
        event_weights=args.event_weights,
        positive_events=_texts(args.positive_events),
        database=args.database,
        sql=args.sql,
    )


def _first(*values: int | None) -> int:
    """The first that is given."""
    return next(value for value in values if value is not None)


def _rules(args: argparse.Namespace, entry: Entry | None) -> SplitRules:
    asked = args.protocol or (entry.protocol if entry else DEFAULT)
    protocol = RENAMED.get(asked, asked)
    share = args.held_out_share
    return SplitRules(
        protocol=protocol,
        min_user_items=_first(args.min_user_items, entry.min_user_items if entry else None, SplitRules.min_user_items),
        min_item_users=_first(args.min_item_users, entry.min_item_users if entry else None, SplitRules.min_item_users),
        k_core=args.k_core,
        max_user_items=args.max_user_items,
        fold_out_share=args.fold_out_share,
        seed=args.seed,
        negatives=args.negatives,
        candidates=args.candidates,
        validation_from=args.validation_from,
        test_from=args.test_from,
        held_out_share=HELD_OUT_SHARES.get(protocol, SplitRules.held_out_share) if share is None else share,
        validation_share=args.validation_share,
        choice=args.choice,
    )


def _request(args: argparse.Namespace) -> Request:
    from data_prep.request import NAMES, Request  # late: imports much

    entry = None if args.name in NAMES else entries.load(args.name)
    parts = {part: tuple(getattr(args, part)) for part in ("train", "valid", "test") if getattr(args, part)}
    return Request(
        name=args.name,
        out=_out(args).absolute(),
        asked=_asked(args),
        parts=parts,
        download=args.download,
        overwrite=args.overwrite,
        threshold=args.threshold if args.threshold is not None or entry is None else entry.threshold,
        held_out=args.held_out_users,
        rules=_rules(args, entry),
        titles=args.titles,
        memory=args.memory,
        shape=_shape(args),
    )


def _out(args: argparse.Namespace) -> Path:
    """Where the data set goes: --out, or data/NAME."""
    return args.out or Path("data") / args.name.removesuffix(".yaml").removesuffix(".yml").replace("/", "-")


def _report(manifest: dict, out: Path, seconds: float) -> None:
    for warning in manifest["warnings"]:
        print(f"note: {warning}")
    counts = manifest["counts"]
    is_one_each = manifest["parameters"]["protocol"] == "leave-one-out"
    print(
        f"{counts['rows_read']:,} rows -> {counts['events']:,} events of {counts['users']:,} users and "
        f"{counts['items']:,} items; training {counts['train_users']:,} x {counts['train_items']:,}, held out "
        f"{counts.get('validation_users', counts['held_out_users']):,} + {counts['held_out_users']:,} "
        f"{'items' if is_one_each else 'users'}"
    )
    print(f"{out} ({seconds:.1f} s)")


def _first_line(args: argparse.Namespace, out: Path) -> str:
    """What is read and from where, known before anything that takes long is imported."""
    if args.write_csv is not None:
        return f"generating ratings in {args.write_csv}"
    named = [*args.raw, *(args.train or ()), *(args.test or ())]
    more = f" and {len(named) - 1} more" if len(named) > 1 else ""
    others = {"by download": args.download, "from a database": args.sql, "from a seed": args.name == "synthetic"}
    source = (
        f"from {addresses.without_secrets(named[0])}{more} "
        if named
        else next((f"{how} " for how, is_so in others.items() if is_so), "")
    )
    return f"preparing {args.name} {source}in {out}"


def _write_csv(args: argparse.Namespace) -> None:
    from data_prep.catalog import synthetic  # late: imports much

    shape = _shape(args)
    if shape is None:
        raise ValueError("--write-csv goes with: synthetic --like NAME, or --users, --items and --interactions")
    print(f"{synthetic.write_csv(shape, args.seed, args.write_csv):,} rows in {args.write_csv}")


class _Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM, which cleans up in the same way."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.status = number, 128 + number


def _raise(number: int, _: Any) -> None:
    raise _Stopped(number)


@contextlib.contextmanager
def _on_signals(handler: Callable[[int, Any], None]) -> Iterator[None]:
    """Call the handler for SIGINT and SIGTERM, unless they are ignored."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    if threading.current_thread() is not threading.main_thread():
        before = {}
    for number, old in before.items():
        if old is not signal.SIG_IGN:
            signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextlib.contextmanager
def _stops_sent_again() -> Iterator[None]:
    """Send a signal again that came while Python deleted an object: it only reports what is raised at such a moment."""
    before = sys.unraisablehook

    def hook(report: Any) -> None:
        if not isinstance(report.exc_value, _Stopped):
            before(report)
            return
        again = threading.Timer(0.01, os.kill, (os.getpid(), report.exc_value.number))
        again.daemon = True
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before


def _prepare() -> Callable[[Request], Mapping[str, Any] | None]:
    """`prepare.prepare`, imported late because it imports much. Signals wait: inside of an import they are lost."""
    waiting: list[int] = []
    with _on_signals(lambda number, _: waiting.append(number)):
        from data_prep.prepare import prepare
    if waiting:
        raise _Stopped(waiting[0])
    return prepare


def _run(args: argparse.Namespace) -> None:
    start = time.perf_counter()
    with progress.shown():
        progress.step(_first_line(args, _out(args)))
        if args.write_csv is not None:
            _write_csv(args)
            return
        prepare = _prepare()
        request = _request(args)
        manifest = prepare(request)
    if manifest is not None:
        _report(dict(manifest), request.out, time.perf_counter() - start)


def _say(text: str) -> None:
    if os.environ.get("OMPI_COMM_WORLD_RANK", "0") == "0":
        print(text, file=sys.stderr)


def main(argv: list[str] | None = None) -> int:
    words = sys.argv[1:] if argv is None else argv
    if words[:1] == ["describe"]:
        from data_prep import description  # late: imports much

        return description.main(words[1:])
    args = build_parser().parse_args(words)
    try:
        with _stops_sent_again(), _on_signals(_raise):
            _run(args)
    except KeyboardInterrupt as stopped:
        _say("\ninterrupted; nothing was left behind")
        return stopped.status if isinstance(stopped, _Stopped) else INTERRUPTED
    except MemoryError:
        _say("error: the memory was not enough; bound it with --memory, as 4GiB, or stop other programs")
        return 2
    except (ValueError, OSError) as error:
        text = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) and error.filename else str(error)
        _say(f"error: {text}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
