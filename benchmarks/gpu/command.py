"""Arguments and course of `python -m benchmarks gpu`."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from benchmarks.gpu import card, parts, running
from benchmarks.gpu.parts import Part
from benchmarks.gpu.recorder import Recorder
from benchmarks.gpu.running import Outcome
from benchmarks.gpu.sizes import ON_CPU, ON_GPU
from benchmarks.gpu.tables import as_markdown

ROOT = Path(__file__).resolve().parents[2]
REFUSED, INTERRUPTED = 2, 130
TORCH_CHECK = "import torch; print(torch.__version__, torch.cuda.is_available())"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--minutes", type=float, default=parts.USUAL_MINUTES, help="time for all parts (default: %(default)s)")
    add("--cpu", action="store_true", help="try every part at small sizes on the CPU")
    add("--data", type=Path, help="prepared data set (default: synthetic ratings of the shape of ML-20M are made)")
    add("--only", nargs="+", metavar="PART", help="parts to run, as: tests profile (default: all)")
    add("--torch-python", default=sys.executable, metavar="PATH",
        help="a Python that has PyTorch (default: this one)")  # fmt: skip
    add("--work", type=Path, default=Path("runs/gpu"), help="folder for data and logs (default: %(default)s)")
    add("--markdown", type=Path, help="file for the tables (default: tables.md in that folder)")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def without_torch(python: str, env: Mapping[str, str], on_cpu: bool) -> str:
    """Why PyTorch cannot be measured, in one line; "" where it can."""
    try:
        done = subprocess.run(
            [python, "-c", TORCH_CHECK], capture_output=True, text=True, env=dict(env), timeout=60, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return f"--torch-python {python}: {error}"
    words = done.stdout.split()
    if done.returncode or len(words) != 2:
        return f"no PyTorch for {python}: pip install -e '.[peers]', or give the path of another with --torch-python"
    if words[1] != "True" and not on_cpu:
        return f"PyTorch {words[0]} of {python} finds no GPU"
    return ""


def chosen(known: Sequence[Part], only: Sequence[str] | None) -> tuple[list[Part], str]:
    """The parts to run with those that they need, and why not, in one line ("" where they can be run).

    Args:
        only: beginnings of names; None for all parts.
    """
    if only is None:
        return list(known), ""
    for text in only:
        if not any(part.name.startswith(text) for part in known):
            return [], f"--only {text}: unknown part, known are: {', '.join(repr(part.name) for part in known)}"
    names = {part.name for part in known if part.name.startswith(tuple(only))}
    for part in reversed(known):  # a part comes after those that it needs
        if part.name in names and part.needs:
            names.add(part.needs)
    return [part for part in known if part.name in names], ""


def wrong_value(args: argparse.Namespace) -> str:
    """What is wrong with the arguments, in one line; "" if nothing is."""
    if args.minutes <= 0:
        return f"--minutes is {args.minutes}, expected more than 0"
    if args.data and not (args.data / "manifest.json").is_file():
        return f"--data {args.data}: no prepared data set there; leave it out to have one made of synthetic ratings"
    return ""


class Course:
    """Runs parts one after another until their time is over."""

    def __init__(self, recorder: Recorder, args: argparse.Namespace, started: float) -> None:
        """
        Args:
            started: `time.monotonic()` at the start; the budget counts from there.
        """
        self._recorder, self._work, self._on_cpu = recorder, args.work, args.cpu
        self._end = started + 60 * args.minutes
        self._longer = args.minutes / parts.USUAL_MINUTES
        self._torch_python = args.torch_python
        self.outcomes: dict[str, Outcome] = {}

    def run(self, part: Part) -> Outcome:
        """Run a part or leave it out, and record its outcome."""
        env = dict(os.environ) | part.env
        env = running.torch_environment(env) if part.peer else running.tensorflow_environment(env)
        reason = self._left_out(part, env)
        if reason:
            outcome = Outcome(state="left out", reason=reason)
        else:
            limit = min(part.limit_s * self._longer, self._end - time.monotonic())
            say(f"{part.name} (at most {limit:.0f} s) ...")
            log = self._work / "logs" / f"{part.name.replace(', ', '-').replace(' ', '-')}.log"
            outcome = running.run(part.command, limit_s=limit, log=log, env=env, cwd=ROOT, take=self._recorder.add)
        if part.peer:
            self._recorder.add_ratios()
        self.outcomes[part.name] = outcome
        self._recorder.add_outcome(part.name, outcome)
        reason = f" ({outcome.reason})" if outcome.reason else ""
        say(f"  {part.name}: {outcome.state}{reason}, {outcome.seconds:.1f} s")
        return outcome

    def _left_out(self, part: Part, env: Mapping[str, str]) -> str:
        left = self._end - time.monotonic()
        if part.needs and self.outcomes[part.needs].state != "done":
            return f"it needs {part.needs!r}, which was not done"
        if left < part.least_s:
            return f"{max(left, 0):.0f} s were left, it needs {part.least_s:.0f}; more with --minutes"
        return without_torch(self._torch_python, env, self._on_cpu) if part.peer else ""


def tensorflow_view(work: Path) -> dict[str, Any]:
    """What TensorFlow says of the machine, from a process of its own.

    Raises:
        RuntimeError: TensorFlow does not start.
    """
    answers: list[dict[str, Any]] = []
    command, log = [sys.executable, "-m", "benchmarks.gpu.card"], work / "logs" / "machine.log"
    env = running.tensorflow_environment(os.environ)
    outcome = running.run(command, limit_s=90, log=log, env=env, cwd=ROOT, take=answers.append)
    if not answers:
        raise RuntimeError(f"TensorFlow does not start: {outcome.reason or 'no answer'} (see {log})")
    return answers[-1]


def write_tables(recorder: Recorder, to: Path) -> None:
    """The tables of this measurement, printed and as a file."""
    text = as_markdown(recorder.records)
    to.parent.mkdir(parents=True, exist_ok=True)
    to.write_text(text)
    print(text)
    say(f"records: {recorder.path}; tables: {to}")


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End the running part on SIGTERM as on Ctrl-C: it is a process group of its own and would go on."""
    raise KeyboardInterrupt


def without_gpu(args: argparse.Namespace, fields: dict[str, str], seen: Mapping[str, Any]) -> str:
    """Why TensorFlow cannot measure a GPU here, in one line; "" where it can, or with --cpu."""
    return "" if args.cpu else card.without_tensorflow(fields, seen["gpus"], seen["tensorflow"])


def course_of(todo: Sequence[Part], course: Course) -> bool:
    """Run the parts; whether all had their turn (Ctrl-C and SIGTERM end the course)."""
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        for part in todo:
            course.run(part)
    except KeyboardInterrupt:
        say("interrupted: the parts so far are in the tables")
        return False
    finally:
        signal.signal(signal.SIGTERM, before)
    return True


def main(args: argparse.Namespace) -> int:
    """Status: 0 all parts done or left out, 1 a part failed or was stopped, 2 no GPU or a wrong value, 130 Ctrl-C."""
    started = time.monotonic()
    args.work, args.results = args.work.resolve(), args.results.resolve()
    known = parts.parts(ON_CPU if args.cpu else ON_GPU, work=args.work, data=args.data and args.data.resolve(),
                        torch_python=args.torch_python, on_cpu=args.cpu)  # fmt: skip
    todo, reason = chosen(known, args.only)
    reason = reason or wrong_value(args) or ("" if args.cpu else card.missing())
    if reason:
        say(f"error: {reason}")
        return REFUSED
    fields, seen = {} if args.cpu else card.found(), tensorflow_view(args.work)
    if reason := without_gpu(args, fields, seen):
        say(f"error: {reason}")
        return REFUSED
    recorder = Recorder(args.results, fields, seen)
    course = Course(recorder, args, started)
    complete = course_of(todo, course)
    write_tables(recorder, args.markdown or args.work / "tables.md")
    bad = [name for name, outcome in course.outcomes.items() if outcome.bad]
    if bad:
        say(f"error: not done: {', '.join(bad)} (their output is in {args.work / 'logs'})")
    return (1 if bad else 0) if complete else INTERRUPTED
