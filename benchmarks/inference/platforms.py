"""Speed-up of every engine and precision over TensorFlow, by batch size.

All engines of a model are loaded at the same time and timed in turn, window by window, on the same requests.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from benchmarks.inference import apart
from benchmarks.inference.asked import add_subject
from benchmarks.inference.subjects import ONNX, ONNX_INT8, TENSORFLOW, XLA, Servable, Subject
from benchmarks.measure import ratios

LEAST_REQUESTS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_subject(parser, several=True)
    apart.add_arguments(parser)
    add("--seconds", type=float, default=0.5, help="of a window (default: %(default)s)")
    add("--rounds", type=int, default=3, help="(default: %(default)s)")


def engines_of(subject: Subject) -> list[str]:
    """What can run it; TensorFlow first, which is the measure."""
    if subject.export is None:
        return [TENSORFLOW, XLA, ONNX, ONNX_INT8]
    from serving import targets

    folder = subject.converted or targets.default_folder(subject.export)
    known = ("savedmodel-fp32", "onnx-fp32", "onnx-fp16", "onnx-int8", "tf-trt-fp32", "tf-trt-fp16", "tensorrt-fp16")
    return [TENSORFLOW, *(name for name in known[1:] if targets.artifact(folder, name).model.exists())]


def window(servable: Servable, batch: int, seconds: float, seed: int) -> list[float]:
    """Seconds of each request of a window."""
    rng = np.random.default_rng(seed)
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(taken) < LEAST_REQUESTS:
        inputs = servable.examples(batch, rng)
        start = time.perf_counter()
        servable(inputs)
        taken.append(time.perf_counter() - start)
    return taken


def measure_one(subject: Subject, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Every engine at every batch size."""
    from dataclasses import replace

    names = engines_of(subject)
    loaded = {}
    for name in names:
        own = replace(subject, engine=name)
        own.prepare()
        loaded[name] = own.open(args.threads)
    rows = []
    for batch in args.batches:
        taken: dict[str, list[list[float]]] = {name: [] for name in names}
        for k in range(args.rounds + 1):  # the first one warms up
            for name, servable in loaded.items():
                times = window(servable, batch, args.seconds, k)
                if k:
                    taken[name].append(times)
        middle = {name: [float(np.median(times)) for times in windows] for name, windows in taken.items()}
        for name, windows in taken.items():
            every = np.concatenate([np.array(times) for times in windows])
            p50, p95, p99 = 1e3 * np.percentile(every, (50, 95, 99))
            rows.append(
                {"model": subject.model, "engine": name, "batch": batch, "p50_ms": p50, "p95_ms": p95, "p99_ms": p99,
                 "examples_per_second": [batch / m for m in middle[name]],
                 "speed_up": ratios(middle[names[0]], middle[name])}
            )  # fmt: skip
    return rows


def main(args: argparse.Namespace) -> int:
    return apart.main("platforms", measure_one, ["--seconds", str(args.seconds), "--rounds", str(args.rounds)], args)
