"""`python -m FAMILY.tune`: the search from its flags to its answer. Only the workers import TensorFlow."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import signal
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from recsys_core.cli import INTERRUPTED, command, user_errors
from recsys_core.config import ModelSpec
from recsys_core.errors import UserError
from recsys_core.tuning import request as requests
from recsys_core.tuning.processes import WORKER
from recsys_core.world import launched_by_gloo, launched_by_mpi

if TYPE_CHECKING:
    from recsys_core.tuning.request import SearchRequest
    from recsys_core.tuning.search import Search
    from recsys_core.tuning.study import Study

PICTURE, LOCK = "search.png", "lock"
OWN = ("study.db", "study.db-wal", "study.db-shm", "best.yaml", "trials", "logs", PICTURE, LOCK)


def tune(spec: ModelSpec, argv: Sequence[str] | None) -> int:
    """Search for settings as the command line asks.

    Returns:
        The exit status: 0 done, 2 bad input, 130 after Ctrl-C.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    if words[:1] == [WORKER]:
        from recsys_core.tuning import worker

        return worker.main(spec)
    with command() as status:
        if launched_by_mpi() or launched_by_gloo():
            raise UserError("start tune without a launcher; --ranks N gives each trial N processes")
        with user_errors():
            request = requests.parse(spec, words)
        fingerprint = _fingerprint(request.data)
        with _folder(request.out):
            status.code = _search(request, fingerprint)
    return status.code


def _fingerprint(data: Path) -> str:
    """The fingerprint of a data set that is whole and split.

    Raises:
        UserError: it is damaged, or holds no users out.
    """
    from recsys_core.dataset import Dataset, verify_integrity

    verify_integrity(data)
    found = Dataset.open(data)
    found.held_out("valid")
    return found.fingerprint


@contextlib.contextmanager
def _folder(out: Path) -> Iterator[None]:
    """The folder of the search, for this process alone while the block runs; without leftovers of a killed one.

    Raises:
        UserError: it holds something else, cannot be written, or another process searches there.
    """
    if out.exists() and not (out.is_dir() and all(p.name in OWN or p.name[0] == "." for p in out.iterdir())):
        raise UserError(f"--out {out} exists and is no folder of a search; choose another")
    try:
        (out / "logs").mkdir(parents=True, exist_ok=True)
        lock = (out / LOCK).open("w")
    except OSError as error:
        raise UserError(f"--out {out} cannot be made: {error.strerror}") from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"another process searches in {out}; wait for it, or choose another --out") from None
        shutil.rmtree(out / "trials", ignore_errors=True)
        yield


def _search(request: SearchRequest, fingerprint: str) -> int:
    """Go on with the study until its budget is used up, and write the answer."""
    from recsys_core.tuning.report import Report
    from recsys_core.tuning.search import Search
    from recsys_core.tuning.study import Study

    study = Study(request, fingerprint)
    earlier = study.finished
    search = Search(request, study, Report(request, earlier))
    _say_start(request, len(earlier), search)
    interrupted = False
    try:
        with _ended_by_sigterm():
            search.run()
    except KeyboardInterrupt:
        interrupted = True
    if not interrupted or any(outcome.state == "complete" for outcome in study.finished):
        _write_answer(request, study)
    if interrupted:
        print("stopped; the same command goes on with the search", file=sys.stderr)
    return INTERRUPTED if interrupted else 0


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """SIGTERM ends the block as Ctrl-C does, so that the workers are ended too."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _say_start(request: SearchRequest, done: int, search: Search) -> None:
    from recsys_core.tuning.report import clock

    searched = ", ".join(f"{name} {parameter}" for name, parameter in request.space.items())
    limits = [] if request.budget is None else [f"{clock(request.budget)} in all"]
    limits += [] if request.trials is None else [f"{request.trials} trials"]
    workers = f"{request.workers} worker{'s'[: request.workers > 1]}"
    workers += f" of {request.ranks} ranks" if request.ranks > 1 else ""
    print(
        f"{request.spec.family}: preset {request.preset_name}, data {request.data}\n"
        f"searching {searched}\n"
        f"validation {request.metric}; {', '.join(limits)}; {workers}",
        file=sys.stderr,
    )
    if done:
        print(f"going on with {done} trial{'s'[: done > 1]}, which took {clock(search.seconds)}", file=sys.stderr)
    print("nothing is left of it" if search.is_done else "starting TensorFlow ...", file=sys.stderr, flush=True)


def _write_answer(request: SearchRequest, study: Study) -> None:
    """Write preset file and picture, and print the table.

    Raises:
        UserError: no trial was trained to its end.
    """
    from recsys_core.tuning.answer import BEST, write_preset_file
    from recsys_core.tuning.picture import draw_search
    from recsys_core.tuning.report import best_of, table

    done = study.finished
    best = best_of(done)
    if best is None:
        reason = next((f", the last one failed: {o.reason}" for o in reversed(done) if o.reason), "")
        raise UserError(f"no trial was trained to its end{reason}; give a larger --budget or more --trials")
    write_preset_file(request, best, done)
    title = f"{request.spec.family}, preset {request.preset_name}, data set {request.data.name}: {len(done)} trials"
    draw_search(request.out / PICTURE, title, request.metric, request.space, done)
    counts = ", ".join(
        f"{n} {state}" for state in ("complete", "pruned", "failed") if (n := sum(o.state == state for o in done))
    )
    print(f"\n{len(done)} trials ({counts}), the best:\n{table(request, done, study.importances)}\n")
    print(f"{request.out} holds {BEST}, {PICTURE}, study.db, logs; train with it:")
    print(f"python -m {request.spec.family}.train --data {request.data} --run-dir RUN --preset {request.out / BEST}")
    sys.stdout.flush()
