"""Reproduce the table of the NCF paper: GMF, MLP and NeuMF with and without pre-training, over factors and seeds.

``python -m benchmarks.reproduce.ncf_table --data D``. Every cell is a run of `ncf_tf.train` in its own folder; finished
cells are not run again. The GMF and MLP rows are the towers of the pre-trained NeuMF.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from tabulate import tabulate

PUBLISHED = {
    ("MLP", 8): (0.671, 0.399),
    ("MLP", 16): (0.684, 0.410),
    ("MLP", 32): (0.692, 0.425),
    ("MLP", 64): (0.702, 0.426),
    ("NeuMF", 8): (0.688, 0.410),
    ("NeuMF", 16): (0.696, 0.420),
    ("NeuMF", 32): (0.701, 0.425),
    ("NeuMF", 64): (0.705, 0.426),
    ("NeuMF, pre-trained", 8): (0.684, 0.403),
    ("NeuMF, pre-trained", 16): (0.707, 0.426),
    ("NeuMF, pre-trained", 32): (0.726, 0.445),
    ("NeuMF, pre-trained", 64): (0.730, 0.447),
}
"""HR@10 and NDCG@10 on MovieLens-1M, He et al. 2017: table 2 (NeuMF), tables 3 and 4 (MLP with three hidden layers).
GMF is published as a curve only."""
MODELS = ("GMF", "MLP", "NeuMF", "NeuMF, pre-trained")
PRETRAINED = "--pretrain --pretrain-epochs 16 --pretrain-learning-rate 4e-3 --epochs 4 --learning-rate 5e-4".split()
"""Flags of a pre-trained NeuMF: the towers train as the preset trains a model, then a short run with small steps."""
METRICS = ("hr@10/sampled", "ndcg@10/sampled", "recall@10/all", "ndcg@10/all")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="data set prepared from the published files (he2017)")
    parser.add_argument("--runs", type=Path, default=Path("runs/ncf-table"), help="folder of the runs")
    parser.add_argument("--factors", type=int, nargs="+", default=[8, 64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("options", nargs="*", help="after --: flags for ncf_tf.train, for every run")


def _train_cell(args: argparse.Namespace, folder: Path, factors: int, seed: int, extra: Sequence[str]) -> None:
    if (folder / "result.json").is_file():
        return
    start = ["--resume"] if (folder / "config.yaml").is_file() else []
    launcher = ["horovodrun", "-np", str(args.ranks)] if args.ranks > 1 else []
    words = [sys.executable, "-m", "ncf_tf.train", "--data", str(args.data), "--run-dir", str(folder)]
    words += ["--preset", "he2017", "--factors", str(factors), "--seed", str(seed), *extra, *args.options, *start]
    with folder.with_suffix(".log").open("w") as log:
        done = subprocess.run([*launcher, *words], stdout=log, stderr=subprocess.STDOUT)
    if done.returncode not in (0, 3):  # a missed gate is a result too
        raise RuntimeError(f"{' '.join(words)} failed, see {folder.with_suffix('.log')}")


def _run_folders(runs: Path, factors: int, seed: int) -> dict[str, Path]:
    merged = runs / f"pretrained-{factors}-{seed}"
    return dict(zip(MODELS, (merged / "gmf", merged / "mlp", runs / f"neumf-{factors}-{seed}", merged), strict=True))


def _result_cells(results: list[dict], published: tuple[float, float] | None) -> list[str]:
    """Means over seeds of the metrics and of the time, and the published values."""
    cells = []
    for metric in METRICS:
        values = [r["test"]["metrics"][metric]["mean"] for r in results]
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        cells.append(f"{statistics.mean(values):.4f}{spread}")
    seconds = statistics.mean(r["trained_seconds"] for r in results)
    return [*cells, f"{seconds:.0f}", *([f"{v:.3f}" for v in published] if published else ["-", "-"])]


def _chosen_by(run: Path) -> str:
    """The items on which a run's epoch was chosen, from its configuration (a cell may come from an earlier call)."""
    on_test = yaml.safe_load((run / "config.yaml").read_text())["training"]["choose_on_test"]
    return "test items, as He et al. did" if on_test else "validation items"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.reproduce.ncf_table", description=__doc__)
    add_arguments(parser)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    args = build_parser().parse_args(argv)
    try:
        print_table(args)
    except RuntimeError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def print_table(args: argparse.Namespace) -> None:
    """Run the cells that are not there yet, and print the table.

    Raises:
        RuntimeError: a run failed.
    """
    args.runs.mkdir(parents=True, exist_ok=True)
    rows, chosen_by = [], set()
    for factors in args.factors:
        for seed in args.seeds:
            print(f"{factors} factors, seed {seed}", file=sys.stderr, flush=True)
            folders = _run_folders(args.runs, factors, seed)
            _train_cell(args, folders["NeuMF"], factors, seed, [])
            _train_cell(args, folders["NeuMF, pre-trained"], factors, seed, PRETRAINED)
        for model in MODELS:
            files = [_run_folders(args.runs, factors, seed)[model] / "result.json" for seed in args.seeds]
            results = [json.loads(file.read_text()) for file in files]
            chosen_by |= {_chosen_by(file.parent) for file in files}
            rows.append([model, factors, *_result_cells(results, PUBLISHED.get((model, factors)))])
    headers = ["model", "factors", *METRICS, "training s", "published HR@10", "NDCG@10"]
    print(tabulate(rows, headers, tablefmt="github", disable_numparse=True))
    chosen = " or ".join(sorted(chosen_by))
    print(f"\nmeans over seeds {args.seeds} ± their standard deviation; test items, epoch chosen on {chosen}")


if __name__ == "__main__":
    sys.exit(main())
