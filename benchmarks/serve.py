"""An exported model and its conversions: agreement, ranking metrics, size, and latency at batch sizes.

Requests are the histories of the export's test users. All engines are loaded at the same time and timed in turn, window
by window, so that other work on the machine slows all of them. NVIDIA's published figures are in the note.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.tables import TABLES
from recsys_core.measuring.percentiles import latency_fields
from recsys_core.measuring.records import record
from recsys_core.measuring.rounds import fields, in_rounds, warm_up

if TYPE_CHECKING:  # `serving` imports pandas, which --help does not need
    from serving.engines.engine import Engine
    from serving.export_folder import Arrays, ExportFolder, Rows
    from serving.targets import Artifact

TENSORFLOW = "tensorflow"
RECOMMEND = "recommend"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--export", metavar="RUN", type=Path, required=True, help="folder of a run, or its export")
    parser.add_argument("--data", metavar="D", type=Path, help="the data set of the run, if it was moved")
    parser.add_argument("--models", type=Path, help="folder of the conversions (default: converted/ beside the export)")
    parser.add_argument(
        "--variants", nargs="+", metavar="TARGET", help="as onnx-fp16 (default: all that are converted and verified)"
    )
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32, 256, 1024])
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a window (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0, help="of each engine (default: all cores)")


def _size_mib(path: Path) -> float:
    """Size of a file or of all files of a folder."""
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else [path]
    return sum(p.stat().st_size for p in files) / 2**20


def _conversions(export: ExportFolder, folder: Path, names: Sequence[str] | None) -> list[Artifact]:
    """The named conversions; without names, all in the folder that are verified. Says which are left out, and why.

    Raises:
        ValueError: a named conversion does not exist or was not verified.
    """
    from serving import targets

    if names is not None:
        chosen = [targets.artifact(folder, name) for name in names]
        for made in chosen:
            made.require_verified(export.identity)
        return chosen
    found = [(made, made.unusable_reason(export.identity)) for made in targets.artifacts(folder)]
    for _, reason in found:
        if reason is not None:
            print(f"left out: {reason}", file=sys.stderr)
    chosen = [made for made, reason in found if reason is None]
    if not chosen:
        command = f"python -m serving convert --export {export.folder} --precision fp32,fp16,int8"
        print(f"no verified conversion in {folder}: only the exported model is measured; convert it with:\n  {command}",
              file=sys.stderr)  # fmt: skip
    return chosen


def _open_engines(export: ExportFolder, args: argparse.Namespace) -> tuple[dict[str, Engine], dict[str, float]]:
    """Engines and sizes in MiB by name; TensorFlow first, which is the reference."""
    from serving import targets
    from serving.engines.engine import open_engine, reference_engine
    from serving.export_folder import SERVING

    folder = args.models or targets.default_folder(export.folder)
    # The sparse kernels of `recommend` are TensorFlow's fastest; not every model gives both signatures the same inputs.
    same_inputs = export.inputs(RECOMMEND).keys() == export.inputs(SERVING).keys()
    print("loading TensorFlow and the exported model ...", file=sys.stderr, flush=True)
    engines: dict[str, Engine] = {TENSORFLOW: reference_engine(export, RECOMMEND if same_inputs else SERVING)}
    sizes = {TENSORFLOW: _size_mib(export.saved_model)}
    for made in _conversions(export, folder, args.variants):
        name = made.target.name
        print(f"loading {name} ...", file=sys.stderr, flush=True)
        engines[name], sizes[name] = open_engine(made, args.threads), _size_mib(made.model)
    return engines, sizes


def _test_users(export: ExportFolder) -> tuple[Arrays, Rows]:
    """Requests of all test users, and their held-out items."""
    held_out = export.held_out_users("test")
    rows = np.arange(len(held_out.fold_in))
    assert held_out.fold_out is not None
    return held_out.requests(rows, export.n_items), held_out.fold_out


def quality(export: ExportFolder, engines: Mapping[str, Engine], sizes: Mapping[str, float]) -> list[dict[str, Any]]:
    """Agreement with TensorFlow's lists over all test users, and the ranking metrics of each."""
    from serving import targets
    from serving.convert import verify
    from serving.engines.blocks import in_blocks

    inputs, held_out = _test_users(export)
    answers = {name: in_blocks(engine, inputs, export.n_items) for name, engine in engines.items()}
    lines = []
    for name, found in answers.items():
        tolerance = None if name == TENSORFLOW else verify.SCORE_TOLERANCE[targets.parse_target(name).precision]
        same = verify.compare_answers(answers[TENSORFLOW], found, tolerance)
        lines.append({"engine": name, "MiB": sizes[name], **same, **verify.ranking_metrics(found["items"], held_out)})
    return lines


def _random_requests(inputs: Arrays, size: int, padding: int, rng: np.random.Generator) -> Arrays:
    """Requests of random test users, padded to the longest of them."""
    rows = rng.integers(0, len(inputs["item_ids"]), size)
    batch = {name: values[rows] for name, values in inputs.items()}
    longest = int((batch["item_ids"] != padding).sum(axis=1).max())
    batch["item_ids"] = batch["item_ids"][:, : max(longest, 1)]
    return batch


@dataclass(frozen=True, kw_only=True)
class Requests:
    """Batches of one size for one engine. The generator's seed is the same for every engine, so the requests are."""

    engine: Engine
    inputs: Arrays
    size: int
    n_items: int
    rng: np.random.Generator

    def milliseconds(self, seconds: float) -> list[float]:
        """Of one request after another, for some seconds."""
        from serving.engines.blocks import in_blocks

        times: list[float] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until or len(times) < 2:
            batch = _random_requests(self.inputs, self.size, self.n_items, self.rng)
            start = time.perf_counter()
            in_blocks(self.engine, batch, self.n_items)
            times.append(1e3 * (time.perf_counter() - start))
        return times

    def mean(self, seconds: float) -> float:
        return float(np.mean(self.milliseconds(seconds)))


def latency(export: ExportFolder, engines: Mapping[str, Engine], args: argparse.Namespace) -> list[dict[str, Any]]:
    """Percentiles over all windows, in ms, for every engine and batch size."""
    inputs, _ = _test_users(export)
    lines = []
    for size in args.batches:
        print(f"timing batches of {size:,} ...", file=sys.stderr, flush=True)
        asked = {
            name: Requests(
                engine=engine, inputs=inputs, size=size, n_items=export.n_items, rng=np.random.default_rng(0)
            )
            for name, engine in engines.items()
        }
        warmed = {name: warm_up(partial(requests.mean, args.seconds / 4)) for name, requests in asked.items()}
        sides = {name: partial(requests.milliseconds, args.seconds) for name, requests in asked.items()}
        rounds = in_rounds(sides, args.windows)
        for name, windows in rounds.values.items():
            every = [ms for times in windows for ms in times]
            speeds = [1e3 * size / float(np.mean(times)) for times in windows]
            line = {"batch": size, "engine": name, "runs": len(every)}
            line |= {**latency_fields(every), "users_per_second": speeds}
            lines.append(line | fields(rounds, [warmed[name]]))
    return lines


def main(args: argparse.Namespace) -> int:
    from serving.export_folder import open_export

    export = open_export(args.export, args.data)
    engines, sizes = _open_engines(export, args)
    found = quality(export, engines, sizes)
    print(TABLES["serve-quality"].as_text(found))
    times = latency(export, engines, args)
    print()
    print(TABLES["serve"].as_text(times))
    print(f"\n{TABLES['serve'].note}")
    about = {"export": str(export.folder), "model": export.content["model"], "items": export.n_items}
    for kind, lines in (("serve-quality", found), ("serve", times)):
        for line in lines:
            record(args.results, kind, {**about, **line})
    return 0
