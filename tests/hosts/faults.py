"""Faults during real trainings on two hosts: python -m tests.hosts.faults --out FOLDER [--times 10].

Each try starts a small training on two hosts (hosts.sh), one rank each, does one fault at a moment of the training that
is drawn, waits until no process of the job is left on any host, resumes the run on other ranks, and compares it with
one that was never stopped. Every try is a line of FOLDER/tries.jsonl as soon as it has ended. The same command does
those that are missing: all faults once, then all again. At the end it prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_prep.__main__ import main as prepare
from recsys_core.measuring.records import record
from tests.conftest import ROOT
from tests.hosts import fault_records as records
from tests.hosts import programs
from tests.hosts.fault_list import FAULTS, FINISHED, GLOO, LAUNCHERS, SILENCE_S, Target, kill
from tests.hosts.fault_records import Try
from tests.hosts.hosts import Hosts, hosts, wait_for, why_not

FAMILIES = {
    "vaecf": "--hidden 64 --latent 16 --batch-size 128 --epochs 75 --evaluate-every 5 --gate ndcg@100:0.99",
    "ncf_tf": "--kind gmf --batch-size 4000 --epochs 8 --evaluate-every 1 --gate hr@10:0.99 --final-metrics ndcg@10",
}
"""Family -> flags of a training of 300 and of 288 steps."""
ALL = "--preset quick --steps-per-call 1 --baselines"
TOTAL_STEPS = {"vaecf": 300, "ncf_tf": 288}
CHECKPOINT_EVERY = {"vaecf": 20, "ncf_tf": 36}
"""Steps."""
PREPARED = {"vaecf": (), "ncf_tf": ("--protocol", "leave-one-out")}
PLACES = ("1 rank", "2 ranks of 1 host", "2 hosts, other launcher")
LOSS_MAY_DIFFER, METRIC_MAY_DIFFER = 1e-4, 1e-3
"""As in tests/end_to_end/test_train.py."""
TRIES = "tries.jsonl"
LONGEST_S = 120.0
"""After this a job that a fault should have ended counts as hanging."""


class Laboratory:
    """Two hosts with the data sets, and the runs that were never stopped."""

    def __init__(self, there: Hosts, out: Path) -> None:
        self.there, self.out = there, out
        self._before = {host: set(there.pids(host, "")) for host in there.names}
        for family, flags in PREPARED.items():
            if not (out / "data" / family).is_dir():
                prepare(["synthetic", "--like", "tiny", "--out", str(out / "data" / family), *flags])
            for host in there.names:
                shutil.copytree(out / "data" / family, there.disk(host) / "data" / family)

    def left(self) -> list[int]:
        """Processes that a job started and that have not ended, on all hosts."""
        found = [pid for host in self.there.names for pid in set(self.there.pids(host, "")) - self._before[host]]
        return [pid for pid in found if _is_of_a_job(pid)]

    def start(self, words: Sequence[str], log: str) -> subprocess.Popen[str]:
        """Start a command on h1; what it prints is in a file that `said` reads."""
        line = f'exec "$@" >{self.there.shared / log} 2>&1'
        env = programs.environment(RECSYS_SILENCE_SECONDS=str(SILENCE_S), OMP_NUM_THREADS="1")
        return self.there.start("h1", ["bash", "-c", line, "bash", *words], env)

    def said(self, log: str) -> list[str]:
        return (self.there.shared / log).read_text(errors="replace").splitlines()

    def train(self, family: str, run: str) -> list[str]:
        """The module of a family and its flags."""
        own = self.there.own_disk
        places = ["--data", str(own / "data" / family), "--run-dir", str(own / run)]
        return [f"{family}.train", "--", *places, *ALL.split(), *FAMILIES[family].split()]

    def run_folder(self, run: str) -> Path:
        """Where this process sees a run."""
        return self.there.disk("h1") / run

    def reference(self, family: str) -> Path:
        """A run on two hosts that is never stopped, made once."""
        kept = self.out / "never-stopped" / family
        if not kept.is_dir():
            name = f"never-{family}"
            job = self.start(programs.launch("-H", "h1:1,h2:1", *self.train(family, name)), "never.log")
            assert job.wait(timeout=300) == FINISHED, "\n".join(self.said("never.log"))
            shutil.copytree(self.run_folder(name), kept)
        return kept

    def repair(self) -> None:
        """Connect the hosts, start those that have ended, and end what is left."""
        kill(self.left())
        self.there.link("h2", up=True)
        if not self.there.pids("h2", "sleep infinity"):
            self.there.restart("h2")
            self._before["h2"] = set(self.there.pids("h2", ""))
        wait_for(lambda: not self.left(), "the end of what was left")


def _is_of_a_job(pid: int) -> bool:
    """Whether a process is more than the server's side of a connection, which waits for the network."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return bool(words) and not words.startswith((b"sshd", b"/bin/sh -c sshd")) and b"/sshd\0" not in words[:200]


def _moment(lab: Laboratory, tried: Try, draw: random.Random, job: subprocess.Popen[str], run: Path) -> None:
    """Wait for a moment of the training that is drawn, and note its step."""
    wanted, pause = draw.randrange(1, TOTAL_STEPS[tried.family] * 3 // 4), draw.uniform(0, 0.3)
    end = time.monotonic() + 120
    while records.last_step(run) < wanted:
        assert job.poll() is None and time.monotonic() < end, "\n".join(lab.said(f"{run.name}.log"))
        time.sleep(0.02)
    time.sleep(pause)
    tried.step = records.last_step(run)


def _end(lab: Laboratory, tried: Try, job: subprocess.Popen[str], since: float) -> None:
    """Wait until no process of the job is left."""
    end = since + LONGEST_S
    while (left := lab.left()) and time.monotonic() < end:
        time.sleep(0.1)
    tried.seconds = round(time.monotonic() - since, 2)
    if left:
        shown = [Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:160] for pid in left]
        tried.problems.append(f"left after {LONGEST_S:.0f} s: {shown}")
        kill(left)
    status = job.wait(timeout=30)
    tried.status = status if status >= 0 else 128 - status


def _go_on(lab: Laboratory, tried: Try, job: subprocess.Popen[str], since: float, run: Path) -> None:
    """Wait for the next step, then for the end of the training."""
    end = since + LONGEST_S
    while records.last_step(run) <= tried.step + 1 and job.poll() is None and time.monotonic() < end:
        time.sleep(0.05)
    tried.seconds = round(time.monotonic() - since, 2)
    seconds = tried.seconds
    _end(lab, tried, job, time.monotonic())
    tried.seconds = seconds


def _resume(lab: Laboratory, tried: Try, run: Path) -> None:
    """Go on with the run on other ranks."""
    own, module = lab.there.own_disk / run.name, f"{tried.family}.train"
    if tried.resumed_on == PLACES[0]:
        words = [sys.executable, "-m", module]
    else:
        options = ["--gloo"] if (tried.launcher == GLOO) == (tried.resumed_on == PLACES[1]) else []
        place = ["-np", "2"] if tried.resumed_on == PLACES[1] else ["-H", "h1:1,h2:1"]
        words = programs.launch(*place, *options, module, "--")
    log = f"{run.name}-resumed.log"
    job = lab.start([*words, "--resume", str(own)], log)
    tried.resume_status = job.wait(timeout=300)
    if tried.resume_status != FINISHED:
        tried.problems.append(f"resumed: status {tried.resume_status}: {lab.said(log)[-3:]}")


def _judge(lab: Laboratory, tried: Try, run: Path) -> None:
    """Note what differs from the documentation, and from the run that was never stopped."""
    fault = FAULTS[tried.fault]
    if tried.status not in fault.statuses[tried.launcher]:
        tried.problems.append(f"status {tried.status}")
    if any("Traceback" in line for line in tried.said):
        tried.problems.append("a traceback")
    if tried.lost > (0 if fault.saves else CHECKPOINT_EVERY[tried.family]):
        tried.problems.append(f"{tried.lost} steps lost")
    if tried.resume_status not in (None, FINISHED):
        return
    try:
        tried.differences = records.differences(run, lab.reference(tried.family))
    except (AssertionError, OSError) as error:
        tried.problems.append(f"not comparable: {error}")
        return
    if tried.differences["loss"] > LOSS_MAY_DIFFER or tried.differences["metric"] > METRIC_MAY_DIFFER:
        tried.problems.append(f"differs from a run that was never stopped: {tried.differences}")


def attempt(lab: Laboratory, tried: Try) -> None:
    """Do one fault, resume, and note what came of it."""
    draw = random.Random(f"{tried.fault} {tried.launcher} {tried.number}")
    fault, run = FAULTS[tried.fault], lab.run_folder("tried")
    shutil.rmtree(run, ignore_errors=True)
    options = ["--gloo"] if tried.launcher == GLOO else []
    words = programs.launch("-H", "h1:1,h2:1", *options, *lab.train(tried.family, run.name))
    job = lab.start(words, "tried.log")
    try:
        _moment(lab, tried, draw, job, run)
        before = len(lab.said("tried.log"))
        since = time.monotonic()
        tried.detail = fault.do(Target(lab.there, job, f"{tried.family}.train", draw))
        if fault.goes_on:
            tried.step = records.last_step(run)
            _go_on(lab, tried, job, time.monotonic(), run)
        else:
            _end(lab, tried, job, since)
        tried.said = [line for line in lab.said("tried.log")[before:] if line.strip() and "validation" not in line][:40]
    finally:
        lab.repair()
    tried.last_step, tried.saved_step = records.last_step(run), records.saved_step(run)
    if not fault.goes_on:
        _resume(lab, tried, run)
    _judge(lab, tried, run)
    lab.repair()


def planned(times: int, faults: Sequence[str], launchers: Sequence[str]) -> Iterator[Try]:
    """All tries in order: each fault by each launcher once, then all again."""
    families = list(FAMILIES)
    for number in range(times):
        for place, fault in enumerate(FAULTS):
            for launcher in LAUNCHERS:
                if fault in faults and launcher in launchers and launcher in FAULTS[fault].statuses:
                    tried = Try(fault=fault, launcher=launcher, number=number, family=families[number % 2])
                    if not FAULTS[fault].goes_on:
                        tried.resumed_on = PLACES[(number + place) % len(PLACES)]
                    yield tried


def _commit() -> str:
    line = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def _try_all(todo: Sequence[Try], out: Path) -> None:
    with hosts(prefix="faults") as there:
        lab = Laboratory(there, out)
        for tried in todo:
            began = time.monotonic()
            tried.commit = _commit()
            try:
                attempt(lab, tried)
            except (AssertionError, OSError, ValueError, subprocess.TimeoutExpired) as error:
                tried.problems.append(f"the try failed: {error}"[:500])
                lab.repair()
            records.append(out / TRIES, tried)
            what = "; ".join(tried.problems) or "as documented"
            took = f"{what} ({time.monotonic() - began:.0f} s)"
            print(f"{tried.key} {tried.family}: status {tried.status}, {tried.seconds} s, {took}", file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    add = parser.add_argument
    add("--out", type=Path, required=True, help="folder of the tries; those that are there are not done again")
    add("--times", type=int, default=10, help="tries of each fault by each launcher (default: %(default)s)")
    add("--only", nargs="+", default=list(FAULTS), choices=list(FAULTS), metavar="FAULT", help="only these")
    add("--by", nargs="+", default=list(LAUNCHERS), choices=LAUNCHERS, help="only these launchers")
    add("--table", action="store_true", help="print the table of what is there, and try nothing")
    add("--results", type=Path, help="add a record of each fault and launcher to this results file")
    args = parser.parse_args(argv)
    if not args.table:
        if reason := why_not():
            print(f"error: {reason}", file=sys.stderr)
            return 2
        args.out.mkdir(parents=True, exist_ok=True)
        done = {tried.key for tried in records.read(args.out / TRIES)}
        _try_all([t for t in planned(args.times, args.only, args.by) if t.key not in done], args.out)
    found = records.read(args.out / TRIES)
    print(records.table(found))
    for row in records.results(found) if args.results else ():
        command = f"python -m tests.hosts.faults --out O --times {args.times}"
        record(args.results, "faults", {"command": command, **row})
    return 0


if __name__ == "__main__":
    sys.exit(main())
