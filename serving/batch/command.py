"""Write recommendations for all users, or for the users of a file, as Parquet, CSV or JSON lines.

The columns are user, rank, item, score, and title where the data set has titles; ids have their own type. Parts are
written whole: after a kill or a full disk the same command goes on after the last whole part. --out names a folder of
parts, or a single file if the name ends in .parquet, .csv or .jsonl. Users for whom the model has no answer are listed
in unknown_users.csv.

python -m serving batch --export runs/first --out recommendations
python -m serving batch --export runs/first --out best20.csv -k 20 --users active.csv
"""

from __future__ import annotations

import hashlib
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from serving.command_help import EXPORT_HELP, MODELS_HELP, CommandParser
from serving.engines import providers
from serving.export_folder import ExportFolder, open_export
from serving.progress import step

if TYPE_CHECKING:  # they import numpy and pyarrow, which --help does not need
    import numpy as np
    import numpy.typing as npt

    from serving.batch.models import ModelChoice
    from serving.batch.parts import Plan
    from serving.batch.shards import Shard
    from serving.batch.users import UserSource
    from serving.batch.work import Job

    Mask = npt.NDArray[np.bool_] | None

PART_ROWS = 1 << 20
FORMATS = ("parquet", "csv", "jsonl")


def add_arguments(parser: CommandParser) -> None:
    add, add_rare = parser.add_argument, parser.add_rare
    add("--export", metavar="RUN", type=Path, required=True, help=EXPORT_HELP)
    add("--out", metavar="PATH", type=Path, required=True, help="folder of parts, or one file (.parquet, .csv, .jsonl)")
    add("-k", type=int, default=None, help="items for each user (default: as many as the model gives, usually 100)")
    add("--users", metavar="FILE", type=Path, help="only these: Parquet or CSV with a column user, or one id a line")
    add(
        "--histories",
        metavar="FILE",
        type=Path,
        help='users with their items: Parquet or CSV with user and item, or lines {"user": 1, "items": [2, 3]}',
    )
    add("--data", metavar="D", type=Path, help="prepared data set with the users (default: those in the export)")
    add(
        "--store",
        metavar="ADDRESS",
        help="store of histories: sqlite:///FILE, postgresql://..., redis://..., a data set",
    )
    add("--format", choices=FORMATS, help="of the parts (default: parquet)")
    add("--model", help="verified converted model (default: onnx-fp32 if there is one, else the exported model)")
    add("--processes", type=int, default=1, help="processes on this machine (default: %(default)s)")
    add("--allow", metavar="FILE", type=Path, help="recommend only these items: a column item, or one id a line")
    add("--deny", metavar="FILE", type=Path, help="never recommend these items")
    add("--where", metavar="TEXT", help="only items that fit, as \"genre = 'Drama' and year > 1990\"")
    add("--popular", action="store_true", help="the most popular items for users without history; adds column source")
    add_rare("--shard", metavar="I/N", help="write share I of N; started by mpirun or srun, each rank writes its own")
    add_rare(
        "--items-table", metavar="FILE", type=Path, help="CSV or Parquet with item_id and further columns for --where"
    )
    add_rare("--models", type=Path, help=MODELS_HELP)
    add_rare("--provider", choices=providers.CHOICES, default=providers.AUTO, help=providers.HELP)
    add_rare("--part-rows", type=int, default=PART_ROWS, help="rows of a part, about (default: %(default)s)")
    add_rare("--threads", type=int, default=0, help="of each process (default: cores divided by processes)")


def _check(args: Namespace, export: ExportFolder) -> int:
    """K.

    Raises:
        ValueError: a number is out of range, or flags exclude each other.
    """
    for name, smallest in (("processes", 1), ("threads", 0), ("part_rows", 1)):
        if getattr(args, name) < smallest:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(args, name)}, expected {smallest} or more")
    if args.users is not None and args.histories is not None:
        raise ValueError("--users and --histories were both given; a file of histories names its users itself")
    if args.store is not None and args.data is not None:
        raise ValueError("--store and --data were both given; name the place of the histories once")
    k = export.top_k if args.k is None else args.k
    if not 1 <= k <= export.n_items:
        raise ValueError(f"-k is {k}, expected 1 to {export.n_items}, the number of items of the model")
    return k


def _allowed(args: Namespace, export: ExportFolder) -> Mask:
    """[I] the items that may be recommended; None for all."""
    import numpy as np

    from serving.recommend.id_files import read_items
    from serving.recommend.item_table import item_table
    from serving.recommend.where import ItemFilter

    allowed = np.ones(export.n_items, np.bool_)
    if args.allow is not None:
        allowed &= read_items(args.allow, "--allow", export)
    if args.deny is not None:
        allowed &= ~read_items(args.deny, "--deny", export)
    if args.where:
        allowed &= ItemFilter(item_table(export, args.items_table)).mask(args.where)
    if args.allow is None and args.deny is None and not args.where:
        return None
    if not allowed.any():
        raise ValueError("--allow, --deny and --where leave no item to recommend")
    return allowed


def _plan(args: Namespace, export: ExportFolder, source: UserSource, model: ModelChoice, k: int, allowed: Mask) -> Plan:
    """The parts of the batch, and what a command that goes on with it must have the same."""
    from serving.batch import parts, work

    output = parts.output_of(args.out, args.format)
    settings = {
        "export": export.identity,
        "model": f"{model.name} by {model.provider}",
        "k": k,
        "format": output.format,
        "source": source.fingerprint,
        "popular": args.popular,
        "items": "all" if allowed is None else hashlib.sha256(allowed.tobytes()).hexdigest(),
    }
    return parts.Plan(
        output=output, users=len(source), part_users=work.part_users(args.part_rows, k), settings=settings
    )


def main(args: Namespace) -> int:
    """0 when all parts of this share are written."""
    from serving.batch import parts, shards, sources, work
    from serving.batch.models import choose_model

    export = open_export(args.export)
    k = _check(args, export)
    shard = shards.parse_shard(args.shard) if args.shard else shards.shard_of_rank(os.environ)
    output = parts.output_of(args.out, args.format)
    if shard.count > 1 and output.file is not None:
        raise ValueError(f"--out {args.out} is a single file; share {shard} of a batch needs a folder")
    parts.check_folder(output.folder)
    allowed = _allowed(args, export)
    model = choose_model(export, args.model, args.provider, args.models)
    choice = sources.SourceChoice(users=args.users, histories=args.histories, store=args.store, data=args.data)
    step("reading the users")
    source = sources.open_source(choice, export, output.kept_users)
    for note in choice.notes:
        print(f"note: {note}", file=sys.stderr)
    plan = _plan(args, export, source, model, k, allowed)
    goes_on = parts.begin(plan)
    missing = plan.missing()
    if goes_on:
        there = f"going on: {len(plan) - len(missing):,} of {len(plan):,} parts are" if missing else "all parts are"
        print(f"{there} there", file=sys.stderr)
    own = [part for part in missing if part % shard.count == shard.index]
    job = work.Job(
        export=export.folder, source=choice, model=model, plan=plan, k=k, popular=args.popular, allowed=allowed
    )
    rate = _write(args, job, export, source, own, shown=shard.index == 0)
    return _report(plan, shard, rate)


def _write(
    args: Namespace, job: Job, export: ExportFolder, source: UserSource, own: Sequence[int], *, shown: bool
) -> float:
    """Write parts, and show how far it is; returns users/s.

    Args:
        shown: whether to show it.
    """
    from serving.batch import work
    from serving.batch.progress import BatchProgress

    if not own:
        return 0.0
    processes = min(args.processes, len(own))
    threads = args.threads or (work.threads_of(processes) if processes > 1 else 0)
    total = sum(stop - start for start, stop in map(job.plan.bounds, own))
    step(f"loading {job.model.name}" + (f" in {processes} processes" if processes > 1 else ""))
    progress = BatchProgress(total, shown=shown)
    try:
        if processes > 1:
            work.write_in_processes(job, own, processes, threads, progress.add)
        else:
            job.writer(export, source, threads).write(own, progress.add)
    finally:
        progress.close()
    return progress.users_per_second


def _report(plan: Plan, shard: Shard, rate: float) -> int:
    """Say what there is; the process that finds all parts written ends the batch."""
    from serving.batch import parts

    missing = len(plan.missing())
    speed = f", {rate:,.0f} users/s" if rate else ""
    if missing:
        print(f"share {shard} is written{speed}; {missing:,} of {len(plan):,} parts are those of other shares")
        return 0
    total = parts.finish(plan)
    name = plan.output.name
    print(f"{name}: {total.rows:,} recommendations for {total.users - total.unknown:,} of {total.users:,} users{speed}")
    if total.short:
        print(
            f"{total.short:,} users have fewer than {plan.settings['k']}: no more are allowed and not in their history"
        )
    if total.unknown:
        popular = "the most popular items" if plan.settings["popular"] else "nothing"
        print(f"{total.unknown:,} users got {popular} (no history, or not known): see {plan.output.unknown_users}")
    return 0
