"""A short check that nothing became slower: training steps, evaluation, serving and preparation, beside this machine.

Each part is measured as a ratio to what limits it on this machine, in the same windows, so that a slower machine is no
slower program. The runs are compared with the recorded ones of the same processor (--record writes them);
`benchmarks.check_rule` has the rule. Status: 0 nothing is slower, 1 a part is, 4 a part could not be judged, because
the machine was busy or nothing is recorded for it. --prove shows that a step which takes 25 % longer is found, and that
three unchanged sets pass.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import check_rule
from benchmarks.check_inputs import Inputs
from benchmarks.check_parts import PARTS, SLOW
from benchmarks.check_rule import LEAST_RUNS, SLOWER, Judged
from benchmarks.pages.collect import generic
from benchmarks.tables import TABLES
from recsys_core.measuring import records
from recsys_core.measuring.conditions import BUSY, quiet_ones
from recsys_core.measuring.machine import machine
from recsys_core.measuring.processes import result_of, show_progress
from recsys_core.measuring.records import record

RECORDED = Path("results/bench-check.jsonl")
RECORDED_RUNS = 8
NOT_JUDGED = "not judged"
PROVED_SLOWER = 0.25
UNCHANGED_SETS = 3
SPARE_RUNS = 2
"""Runs of a set in place of those that other programs made invalid."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--recorded", type=Path, default=RECORDED, help="runs to compare with (default: %(default)s)")
    add("--record", type=int, nargs="?", const=RECORDED_RUNS, metavar="RUNS", help="append so many runs (8) there")
    add("--prove", action="store_true", help="three unchanged sets and a slowed one (15 minutes on two quiet cores)")
    add("--runs", type=int, default=LEAST_RUNS, help="processes of a set (default: %(default)s)")
    add("--windows", type=int, default=5, help="of each part in a run (default: %(default)s)")
    add("--seconds", type=float, default=0.5, help="of a part in a window (default: %(default)s)")
    add("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), metavar="PART", help=f"of: {', '.join(PARTS)}")
    add("--folder", type=Path, help="of the inputs, which are made where they are missing (default: a temporary one)")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of a part."""

    part: str
    judged: Judged | None = None
    why_not: str | None = None
    recorded: Sequence[float] = field(default_factory=tuple)
    """Ratios of the runs."""
    new: Sequence[float] = field(default_factory=tuple)
    is_too_noisy: bool = False
    """Whether there are runs enough, but they differ too much."""

    @property
    def text(self) -> str:
        return NOT_JUDGED if self.judged is None else self.judged.verdict


class Check:
    """Runs in processes of their own."""

    def __init__(self, args: argparse.Namespace, folder: Path) -> None:
        self.args, self.inputs = args, Inputs(folder)
        if not self.inputs.done.exists():
            show_progress("making the inputs")
            _make(self.inputs)

    def run(self, parts: Sequence[str], slow: float, about: str) -> dict[str, dict[str, Any]]:
        """Part -> its fields in one run."""
        show_progress(about)
        words = ["-m", "benchmarks.check_parts", "--folder", str(self.inputs.folder), "--parts", *parts]
        words += ["--windows", str(self.args.windows), "--seconds", str(self.args.seconds)]
        return result_of(words, env={SLOW: str(slow)} if slow else None)

    def runs(self, parts: Sequence[str], slow: float, about: str, to: Path) -> dict[str, list[dict[str, Any]]]:
        """Part -> its valid runs, as many as a set has; all runs are recorded in a file.

        A part whose run was not valid, because other programs used the machine, is run again: `SPARE_RUNS` times at
        most.
        """
        found: dict[str, list[dict[str, Any]]] = {part: [] for part in parts}
        for k in range(self.args.runs + SPARE_RUNS):
            missing = [part for part in parts if len(found[part]) < self.args.runs]
            if not missing:
                break
            for part, values in self.run(
                missing, slow, f"{about}, run {k + 1} of {max(k + 1, self.args.runs)}"
            ).items():
                record(to, "check", {"part": part, "slowed": f"{slow:g}", **values, **self._command(to)})
                if not values["invalid"]:
                    found[part].append(values)
        return found

    def _command(self, to: Path) -> dict[str, str]:
        """The command without the paths of this machine, for the file that is committed."""
        return {"command": generic(records.running_command())} if to == self.args.recorded else {}

    def set(self, recorded: Mapping[str, Sequence[float]], slow: float = 0.0, about: str = "check") -> list[Verdict]:
        """Judge every part; by twice as many runs where they differ too much, and again where it seems slower."""
        parts, to = self.args.parts, self.args.results
        first = self.runs(parts, slow, about, to)
        verdicts = {part: verdict(part, recorded[part], runs, len(parts)) for part, runs in first.items()}
        noisy = [part for part, found in verdicts.items() if found.is_too_noisy]
        for part, runs in (self.runs(noisy, slow, f"{about}, more", to) if noisy else {}).items():
            verdicts[part] = verdict(part, recorded[part], [*first[part], *runs], len(parts))
        suspected = [part for part, found in verdicts.items() if found.text == SLOWER]
        again = self.runs(suspected, slow, f"{about}, again", to) if suspected else {}
        for part, runs in again.items():
            second = verdict(part, recorded[part], runs, len(parts))
            verdicts[part] = second if second.text != SLOWER else verdicts[part]
        return list(verdicts.values())


def verdict(part: str, recorded: Sequence[float], runs: Sequence[Mapping[str, Any]], parts: int) -> Verdict:
    """Judge the valid runs of a part."""
    new = [statistics.median(values["ratio"]) for values in runs]
    about: dict[str, Any] = {"part": part, "recorded": recorded, "new": new}
    if len(recorded) < LEAST_RUNS:
        return Verdict(why_not=f"{len(recorded)} valid runs are recorded for this processor", **about)
    if len(new) < LEAST_RUNS:
        return Verdict(why_not=f"{len(new)} valid runs, {LEAST_RUNS} are needed", **about)
    logs = [[math.log(ratio) for ratio in side] for side in (recorded, new)]
    judged = check_rule.judge(logs[0], logs[1], parts)
    if judged.is_too_noisy:
        why = f"runs differ by {judged.noise:.0%}, so that a slowdown of up to {judged.bound:.0%} would not be found"
        return Verdict(why_not=why, is_too_noisy=True, **about)
    return Verdict(judged=judged, **about)


def _make(inputs: Inputs) -> None:
    from recsys_core.measuring.processes import cost_of

    cost_of([sys.executable, "-m", "benchmarks.check_inputs", str(inputs.folder)])


def recorded_ratios(path: Path, parts: Sequence[str]) -> dict[str, list[float]]:
    """Part -> the ratio of every valid recorded run of a machine with this processor and as many cores."""
    found: dict[str, list[float]] = {part: [] for part in parts}
    here = machine()
    for values in quiet_ones(records.read(path))[0] if path.exists() else ():
        is_alike = all(values.get("machine", {}).get(name) == here[name] for name in ("cpu", "cores"))
        if values["kind"] == "check" and values["part"] in found and values["slowed"] == "0" and is_alike:
            found[values["part"]].append(statistics.median(values["ratio"]))
    return found


def rows_of(verdicts: Sequence[Verdict], **about: Any) -> list[dict[str, Any]]:
    """Rows of the table "check-verdict"."""
    return [
        {**about, "part": v.part, "recorded_ratio": list(v.recorded), "ratio": list(v.new), "verdict": v.text}
        | ({"why": v.why_not} if v.judged is None else {**vars(v.judged), "verdict": v.text})
        for v in verdicts
    ]


def status_of(verdicts: Sequence[Verdict]) -> int:
    """1 if a part is slower, `BUSY` if one could not be judged, else 0."""
    texts = {v.text for v in verdicts}
    return 1 if SLOWER in texts else BUSY if NOT_JUDGED in texts else 0


def _show(rows: Sequence[Mapping[str, Any]]) -> None:
    show_progress("")
    print(TABLES["check-verdict"].as_text(list(rows)))


def prove(check: Check, recorded: Mapping[str, Sequence[float]]) -> int:
    """Three unchanged sets and one that is slowed; 0 if none and every part of them was called slower."""
    sets = [("unchanged", 0.0)] * UNCHANGED_SETS + [(f"slowed by {PROVED_SLOWER:.0%}", PROVED_SLOWER)]
    rows, as_expected, all_judged = [], True, True
    for k, (name, slow) in enumerate(sets, 1):
        verdicts = check.set(recorded, slow, f"set {k} of {len(sets)}")
        rows += rows_of(verdicts, set=f"{k} {name}")
        judged = [v for v in verdicts if v.judged is not None]
        all_judged = all_judged and len(judged) == len(verdicts)
        as_expected = as_expected and all((v.text == SLOWER) == bool(slow) for v in judged)
    _show(rows)
    for row in rows:
        record(check.args.results, "check-verdict", {**row, "invalid": [row["why"]] if "why" in row else []})
    if not as_expected:
        print("not shown: a set was judged otherwise than it was made", file=sys.stderr)
    return 1 if not as_expected else 0 if all_judged else BUSY


def main(args: argparse.Namespace) -> int:
    with ExitStack() as stack:
        folder = args.folder or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="check-")))
        check = Check(args, folder)
        recorded = recorded_ratios(args.recorded, args.parts)
        few = min(map(len, recorded.values())) < LEAST_RUNS
        if args.record or (args.prove and few):
            wanted, args.runs = args.runs, args.record or RECORDED_RUNS
            check.runs(args.parts, 0.0, "recording", args.recorded)
            args.runs, recorded = wanted, recorded_ratios(args.recorded, args.parts)
            if not args.prove:
                show_progress("")
                return 0
        records.invalid_records.clear()  # a run that does not count is no failure: the verdicts say what is missing
        if args.prove:
            status = prove(check, recorded)
        else:
            verdicts = check.set(recorded)
            _show(rows_of(verdicts))
            status = status_of(verdicts)
        records.invalid_records.clear()
    if status == BUSY:
        print("not valid: a part could not be judged (see `why`)", file=sys.stderr)
    return status
