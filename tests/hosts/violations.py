"""What a training says where two hosts differ: python -m tests.hosts.violations. Prints a table in Markdown.

Each row breaks the contract of docs/several-machines.md on the second host, starts the command on the first one, by MPI
and by Gloo, and shows the exit status, the last line, and the seconds until the end.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from data_prep.__main__ import main as prepare
from tests.end_to_end.test_faults import _rewrite_manifest
from tests.hosts import programs
from tests.hosts.hosts import Hosts, hosts

TRAIN = ("--preset", "quick", "--epochs", "2", "--gate", "ndcg@100:0.99")


def keep(data: Path) -> None:
    """Nothing differs."""


def fewer(users: int) -> Callable[[Path], None]:
    """The data set of this host lacks its last training users, and its manifest says so."""

    def change(data: Path) -> None:
        splits = np.load(data / "train.indptr.npy")
        np.save(data / "train.indices.npy", np.load(data / "train.indices.npy")[: splits[-1 - users]])
        np.save(data / "train.indptr.npy", splits[:-users])
        for name in ("train.indptr.npy", "train.indices.npy"):
            _rewrite_manifest(data, name)

    return change


def damaged(data: Path) -> None:
    with (data / "train.indices.npy").open("r+b") as file:
        file.seek(200)
        file.write(b"\xff")


CASES: dict[str, tuple[str, Callable[[Path], None], tuple[str, ...]]] = {
    "nothing (the gate is missed)": ("vaecf.train", keep, TRAIN),
    "one training user fewer": ("vaecf.train", fewer(1), TRAIN),
    "58 training users fewer": ("vaecf.train", fewer(58), TRAIN),
    "a file damaged": ("vaecf.train", damaged, TRAIN),
    "no data set": ("vaecf.train", shutil.rmtree, TRAIN),
    "another `--config` with another learning rate": ("vaecf.train", keep, (*TRAIN, "--config", "CONFIG")),
    "no run folder, `vaecf.evaluate`": ("vaecf.evaluate", keep, ()),
}


def words_of(there: Hosts, case: str, name: str) -> list[str]:
    """The flags of a case; files of each host are made."""
    module, change, flags = CASES[case]
    own, folder = there.own_disk, name.replace("--", "mpi")
    for k, host in enumerate(there.names):
        disk = there.disk(host)
        shutil.rmtree(disk / "data", ignore_errors=True)
        shutil.copytree(there.shared / "data", disk / "data")
        (disk / "c.yaml").write_text(f"training: {{learning_rate: {0.002 * 10**k}}}\n")
        if k:
            change(disk / "data")
    if module == "vaecf.evaluate":
        return [module, "--", "--run-dir", str(own / f"run-0-{folder}")]
    run = own / f"run-{list(CASES).index(case)}-{folder}"
    given = [str(own / "c.yaml") if word == "CONFIG" else word for word in flags]
    return [module, "--", "--data", str(own / "data"), "--run-dir", str(run), *given]


def main() -> int:
    argparse.ArgumentParser(description=__doc__.partition("\n\n")[0]).parse_args()
    print("| what differs on the second host | by | status | last line | s |\n|---|---|---|---|---|")
    with hosts(prefix="differ") as there, tempfile.TemporaryDirectory() as made:
        prepare(["synthetic", "--like", "tiny", "--out", f"{made}/data"])
        shutil.copytree(f"{made}/data", there.shared / "data")
        for case in CASES:
            for name, options in (("MPI", ()), ("Gloo", ("--gloo",))):
                line = programs.launch("-H", "h1:1,h2:1", *options, *words_of(there, case, name))
                began = time.monotonic()
                done = there.run("h1", line, programs.environment(), timeout=300)
                seconds = time.monotonic() - began
                said = [text for text in (done.stdout + done.stderr).splitlines() if text.startswith("error")]
                last = said[-1] if said else (done.stdout.strip().splitlines() or [""])[-1]
                shown = last.replace(str(there.own_disk), "DISK").replace("|", "/")
                print(
                    f"| {case} | {name} | {done.returncode} | {json.dumps(shown)[1:-1]} | {seconds:.0f} |", flush=True
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
