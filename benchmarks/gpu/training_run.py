"""Seconds of a whole run of `vaecf.train`: ``python -m benchmarks.gpu.training_run --data D --work W --preset nvidia``.

Arguments that are not its own go to `vaecf.train`, which runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from recsys_core.measuring.processes import print_result

GATE_MISSED = 3
"""Exit status of `vaecf.train` whose model is not better than popularity: its time counts all the same."""


def epochs_of(run: Path) -> int:
    """Epochs of a run, from its `config.yaml`."""
    import yaml

    return int(yaml.safe_load((run / "config.yaml").read_text())["training"]["epochs"])


def figures(run: Path, arguments: list[str], wall_s: float) -> dict[str, Any]:
    """The record of a finished run."""
    result = json.loads((run / "result.json").read_text())
    epochs = epochs_of(run)
    return {
        "kind": "gpu-run",
        "arguments": shlex.join(arguments),
        "epochs": epochs,
        "trained_s": result["trained_seconds"],
        "run_s": result["seconds"],
        "wall_s": wall_s,
        "epoch_ms": 1e3 * result["trained_seconds"] / epochs,
        "ndcg": result["validation"]["metrics"]["ndcg@100"]["mean"],
        "best_step": float(result["best_step"] or 0),
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.training_run", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    args, arguments = parser.parse_known_args()
    args.work.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=args.work, prefix="run-"))
    try:
        run = folder / "run"
        words = ["-m", "vaecf.train", "--data", str(args.data), "--run-dir", str(run), *arguments]
        start = time.perf_counter()
        status = subprocess.run([sys.executable, *words], check=False).returncode
        wall_s = time.perf_counter() - start
        if status not in (0, GATE_MISSED):
            print(f"vaecf.train ended with status {status} (see above)", flush=True)
            return 1
        print_result(figures(run, arguments, wall_s))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
