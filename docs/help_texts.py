"""The help of every command, as the command itself prints it.

Read by the page of flags (docs/build.py) and by the test that compares the flags in the documentation with it.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WIDTH = "100"
"""Columns of a help text."""
COMMANDS: dict[str, tuple[str, ...]] = {
    "data_prep": ("", "describe"),
    "vaecf.train": ("",),
    "vaecf.evaluate": ("",),
    "vaecf.tune": ("",),
    "ncf_tf.train": ("",),
    "ncf_tf.evaluate": ("",),
    "recsys_core.compare": ("",),
    "recsys_core.model_card": ("",),
    "recsys_core.baselines": ("",),
    "ncf_tf.tune": ("",),
    "serving": (
        "convert",
        "verify",
        "check",
        "histories load",
        "histories add",
        "histories show",
        "histories forget",
        "recommend",
        "similar",
        "demo",
        "batch",
        "infer",
        "triton build",
        "triton template",
        "triton serve",
        "client",
        "publish",
    ),
    "horovod_launch": ("install", "run", "doctor", "slurm", "k8s"),
    "benchmarks": (
        "prep",
        "train",
        "ncf",
        "speedup",
        "scaling",
        "embeddings",
        "peers",
        "trainings",
        "evaluate",
        "serve",
        "release",
        "batch",
        "check",
        "suite",
        "gpu",
        "report",
        "record",
        "compare",
    ),
    "benchmarks.gpu.pack": ("",),
    "load_study": ("load", "schedule", "operators", "platforms", "loadgen", "study", "report"),
}
"""Module -> its subcommands ("" for a module without any)."""


def names() -> list[str]:
    """Every command, as "serving triton build"."""
    return [f"{module} {sub}".strip() for module, subs in COMMANDS.items() for sub in subs]


def _ask(module: str, words: Sequence[str]) -> tuple[int, str]:
    """Exit status and output of `python -m module words`, run in this process."""
    printed = io.StringIO()
    sys.argv = [module, *words]
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        except SystemExit as end:
            return int(end.code or 0), printed.getvalue()
    return 0, printed.getvalue()


def help_of(command: str) -> str:
    """The complete help of a command: `--help-all` where it has that, else `--help`.

    Raises:
        RuntimeError: the command prints no help.
    """
    module, *sub = command.split()
    status, text = _ask(module, [*sub, "--help-all"])
    if status or not text:
        status, text = _ask(module, [*sub, "--help"])
    if status or not text:
        raise RuntimeError(f"python -m {command} --help ended with status {status}")
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def _in_own_process(commands: Sequence[str]) -> dict[str, str]:
    env = os.environ | {"COLUMNS": WIDTH, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    line = [sys.executable, "-m", "docs.help_texts", *commands]
    done = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"no help of {', '.join(commands)}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def all_texts(modules: Iterable[str] = tuple(COMMANDS)) -> dict[str, str]:
    """Command -> its help, for every command of some modules; one process for each module."""
    groups = [[f"{module} {sub}".strip() for sub in COMMANDS[module]] for module in modules]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {name: text for found in pool.map(_in_own_process, groups) for name, text in found.items()}


if __name__ == "__main__":
    json.dump({command: help_of(command) for command in sys.argv[1:]}, sys.stdout)
