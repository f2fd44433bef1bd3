"""The commands of every family: flags to configuration to `Trainer` or `offline.evaluate`. Errors become one line.

TensorFlow is imported only when the flags have been read, so that `--help` and bad flags are answered at once.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys_core.baselines import KNOWN, check_names
from recsys_core.config import FINAL_FIT, ModelSpec
from recsys_core.errors import SharedExit, Stopped, UserError, place
from recsys_core.evaluation.metric_names import METRIC_NAMES, parse_metric
from recsys_core.parser import CommandParser
from recsys_core.training.durations import Durations
from recsys_core.training.stop_signal import StopSignal
from recsys_core.world import World, launched_by_gloo, launched_by_mpi, rank_hint, session

if TYPE_CHECKING:
    from recsys_core.flags import TrainRequest

INTERRUPTED = 130
"""The shell's status for Ctrl-C."""


@dataclass
class Status:
    """The exit status of a command."""

    code: int = 0
    run_dir: Path | None = None
    """The run that can be resumed after Ctrl-C, once it is known."""


def _say(error: Exception) -> None:
    """Say an error that all ranks have once, and one that this rank found alone, before it joined, with its name."""
    rank = rank_hint()
    if rank == 0:
        print(f"error: {error}", file=sys.stderr, flush=True)
    elif not isinstance(error, SharedExit):
        print(f"error: {place(rank, socket.gethostname())}: {error}", file=sys.stderr, flush=True)


@contextmanager
def command() -> Iterator[Status]:
    """Turn errors of a block into one line and an exit status; a defect keeps its traceback.

    The status is 2 for bad input or a full disk, that of a `SharedExit`, 130 after Ctrl-C, else what the block sets.
    """
    status = Status()
    try:
        yield status
    except Stopped as stopped:
        if rank_hint() == 0:
            print(stopped, flush=True)
        status.code = stopped.exit_status
    except (UserError, SharedExit) as error:
        _say(error)
        status.code = error.exit_status
    except KeyboardInterrupt:
        if rank_hint() == 0:
            started = status.run_dir is not None and (status.run_dir / "checkpoints").is_dir()
            hint = f"; go on from the last checkpoint with --resume {status.run_dir}" if started else ""
            print(f"\ninterrupted{hint}", file=sys.stderr)
        status.code = INTERRUPTED


@contextmanager
def user_errors() -> Iterator[None]:
    """Every ValueError of a block that reads arguments is the user's."""
    try:
        yield
    except ValueError as error:
        raise UserError(str(error)) from None


def train(spec: ModelSpec, argv: Sequence[str] | None, stop: StopSignal | None = None) -> int:
    """Train a model of a family as the command line asks.

    Rank 0 alone reads the flags and the files that they name; the other ranks get the configuration from it.

    Args:
        stop: signals that the caller listens to (default: they are listened to here).

    Returns:
        The exit status: 0 done, or stopped by a signal and resumable; 2 bad input, 3 gate missed, 4 training diverged,
        5 not converted as asked, 6 a rank was silent or lost (`watchdog`), 130 Ctrl-C, 143 SIGTERM and 138 SIGUSR1
        where there was nothing to save yet.
    """
    if stop is None:
        with StopSignal().listening() as own_stop:
            return train(spec, argv, own_stop)
    if _is_help_on_other_rank(argv):
        return 0
    durations = Durations()
    with command() as status:
        if not (launched_by_mpi() or launched_by_gloo()):
            stop.raise_interrupts()
        own = _read_flags(spec, argv) if rank_hint() == 0 else None
        if own is not None and (ended := _ended(spec, own)) is not None:
            return ended
        if own is not None:
            _say_start(spec, own)
            status.run_dir = own.config.run_dir
        with contextlib.ExitStack() as opened:
            with durations.of("start of TensorFlow"):
                world = opened.enter_context(session())
                from recsys_core import devices
                from recsys_core.training.final_fit import FinalFit
                from recsys_core.training.trainer import Trainer

                devices.configure(world)  # before the first exchange, which starts TensorFlow
                request: TrainRequest = world.broadcast(own)  # type: ignore[assignment]
            config = request.config
            world.name_run(config.run_dir)
            _end_if_stopped(stop, request, world)
            with durations.of("preparation"):
                data, model = _prepared(spec, config, _data_folder(argv, config.data), world)
            _end_if_stopped(stop, request, world)
            judged_run = getattr(config, "final_fit", "")
            make = partial(FinalFit, judged_run=judged_run) if judged_run else Trainer
            trainer = make(
                config.run_dir,
                top_k=config.top_k,
                export_users=config.export_users,
                convert=config.convert,
                warm_start=config.warm_start or None,
                callbacks=_trackers(config, world),
                verbose=True,
                world=world,
                stop=stop,
                parts=True,
                durations=durations,
                training=config.training,
                evaluation=config.evaluation,
                hardware=config.hardware,
            )
            result = trainer.fit(model, data, resume=request.resume)
            status.code = INTERRUPTED if stop.is_interrupt else result.exit_status
            if stop.received and result.complete:
                trainer.say(f"{stop.name} came after the training; the run in {config.run_dir} is finished")
    return status.code


def _ended(spec: ModelSpec, request: TrainRequest) -> int | None:
    """Say how a finished run ended that is resumed as it is: a world of one need not start TensorFlow for that.

    Returns:
        The exit status; None where there is something to do, or other ranks wait for this one.
    """
    from recsys_core import run_manifest, run_state, runs

    if not request.resume or request.is_changed or launched_by_mpi() or launched_by_gloo():
        return None
    folder = request.config.run_dir
    state = runs.nothing_left(folder, run_manifest.read(folder, "--resume", spec.family, spec.renamed))
    if state is None:
        return None
    print(run_state.ending(folder, state))
    return 0 if state.verdict == "passed" else run_state.GATE_MISSED


def _trackers(config: Any, world: World) -> tuple[Any, ...]:
    """The callback of --track; none without it."""
    from recsys_core.config import plain
    from recsys_core.tracking.request import parse_track

    request = parse_track(config.track, export=config.track_export, register=config.track_register)
    if request is None:
        return ()
    from recsys_core.tracking.mlflow_runs import TrackMlflow

    return (TrackMlflow(request, config.run_dir, plain(config), is_rank0=world.is_rank0),)


def _end_if_stopped(stop: StopSignal, request: TrainRequest, world: World) -> None:
    """End before the training where a signal came.

    Raises:
        Stopped: on every rank; says whether the run can be gone on with.
    """
    if not stop.on_some_rank(world):
        return
    if request.resume:
        text = f"stopped by {stop.name} before the next step; go on with --resume {request.config.run_dir}"
        raise Stopped(text, INTERRUPTED if stop.is_interrupt else 0)
    text = f"stopped by {stop.name} before the training started: nothing to save; start it again by the same command"
    raise Stopped(text, 128 + stop.number)


def _say_start(spec: ModelSpec, request: TrainRequest) -> None:
    """The first lines, before TensorFlow is imported, which takes seconds."""
    config, going_on = request.config, "going on with " if request.resume else ""
    print(
        f"{spec.family}: preset {config.preset}, data {config.data}\n{going_on}run folder {config.run_dir}\n"
        "starting TensorFlow ...",
        file=sys.stderr,
        flush=True,
    )


def _read_flags(spec: ModelSpec, argv: Sequence[str] | None) -> TrainRequest:
    from recsys_core import flags

    with user_errors():
        return flags.parse(spec, argv)


def _is_help_on_other_rank(argv: Sequence[str] | None) -> bool:
    """Whether rank 0 prints the help and ends, so that this rank must not wait for it."""
    words = sys.argv[1:] if argv is None else argv
    return rank_hint() != 0 and any(word in ("-h", "--help", "--help-all") for word in words)


def _data_folder(argv: Sequence[str] | None, of_rank0: Path) -> Path:
    """Where this host has the data set: this process's own --data, else the folder of rank 0.

    Ranks may be started with different command lines; the data set may lie elsewhere on each host.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--data", type=Path)
    with contextlib.suppress(argparse.ArgumentError):
        return parser.parse_known_args(argv)[0].data or of_rank0
    return of_rank0


def _prepared(spec: ModelSpec, config: Any, folder: Path, world: World) -> tuple[Any, Any]:
    """The verified data set as the run sees it, and the model with fresh parameters.

    Args:
        folder: of the data set on this rank's host.
    """
    from recsys_core import agreement

    data = agreement.opened(folder, config.view, world)  # compared before a model of another size is made
    if config.view == FINAL_FIT:
        _say_view(config, world)
    kind = spec.model_class(config.preset)
    components = {name: getattr(config, name) for name in kind.configs}
    return data, kind(data, preset=config.preset or None, seed=config.training.seed, **components)


def _say_view(config: Any, world: World) -> None:
    if world.is_rank0:
        print("final fit: validation items are trained on; what is called validation below is the test", flush=True)
        if not config.training.keeps_last:
            print("the epoch is chosen on test items, as He et al. did: compare with such figures only", flush=True)


def _evaluate_parser(spec: ModelSpec) -> CommandParser:
    command = f"python -m {spec.family}.evaluate"
    metric = next(iter(spec.presets.values())).config.evaluation.metrics[0]
    parser = CommandParser(
        prog=command,
        description="Evaluate the best checkpoint of a run on held-out data.",
        epilog=f"examples:\n  {command} --run-dir runs/a\n  {command} --run-dir runs/a --metrics {metric} coverage@10 "
        "--baselines ease --json result.json\n\nexit status: 0 done, 2 bad input, 130 Ctrl-C",
    )
    parser.add_argument("--run-dir", type=Path, required=True, metavar="RUN", help="folder of the run (required)")
    parser.add_argument("--split", default="test", help="valid or test (default: %(default)s)")
    parser.add_argument(
        "--data", type=Path, metavar="PATH", help="another data set with the same items (default: the run's own)"
    )
    parser.add_argument(
        "--metrics",
        nargs="+",
        metavar="NAME@K",
        help=f"NAME is one of {', '.join(METRIC_NAMES)}; auc has no @K; /all after it ranks the whole catalogue, "
        "/sampled given candidates (default: those of the run)",
    )
    parser.add_argument(
        "--baselines",
        nargs="*",
        metavar="NAME",
        help=f"besides popularity: {', '.join(n for n in KNOWN if n != 'popularity')} (default: those of the run)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the result there too")
    parser.add_argument(
        "--per-user", type=Path, metavar="FILE", help="write the values of each user there, for recsys_core.compare"
    )
    return parser


def evaluate(spec: ModelSpec, argv: Sequence[str] | None) -> int:
    """Evaluate a trained run as the command line asks.

    Returns:
        The exit status: 0 done, 2 bad input.
    """
    args = _evaluate_parser(spec).parse_args(argv)
    with command() as status:
        with user_errors():
            check_names(args.baselines or ())
            for name in args.metrics or ():
                parse_metric(name)
        status.code = _evaluate(spec, args)
    return status.code


def _evaluate(spec: ModelSpec, args: Any) -> int:
    with session() as world:
        from recsys_core import devices, offline

        devices.configure(world)
        request = world.run_on_rank0(lambda: offline.request(spec, args))
        offline.evaluate_command(spec, replace(request, here=args.data), world)
    return 0
