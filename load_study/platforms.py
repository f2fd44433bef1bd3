"""Speed-up of engines and precisions over TensorFlow by batch size, for models of the zoo.

All engines of a model are loaded at the same time and timed in turn, window by window, on the same requests. Exports
and their conversions are measured by `python -m benchmarks serve`.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from typing import Any

import numpy as np

from load_study import isolated
from load_study.options import add_subject_flags
from load_study.subjects import ONNX, ONNX_INT8, TENSORFLOW, XLA, Servable, Subject
from load_study.zoo.configurations import CONFIGURATIONS
from recsys_core.measuring.percentiles import latency_fields
from recsys_core.measuring.windows import ratios

ENGINES = (TENSORFLOW, XLA, ONNX, ONNX_INT8)
"""The first one is the reference of the speed-up."""
LEAST_REQUESTS = 3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add_subject_flags(parser, several=True, exports=False)
    isolated.add_arguments(parser)
    add("--seconds", type=float, default=0.5, help="of a window (default: %(default)s)")
    add("--rounds", type=int, default=3, help="(default: %(default)s)")


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


def measure_subject(subject: Subject, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One record for each engine and batch size.

    Raises:
        ValueError: the subject is a delay, which no engine runs.
    """
    if subject.model not in CONFIGURATIONS:
        raise ValueError(f"--model is {subject.model!r}, expected of the zoo: {', '.join(CONFIGURATIONS)}")
    loaded = {}
    for name in ENGINES:
        own = replace(subject, engine=name)
        own.prepare()
        loaded[name] = own.open(args.threads)
    rows = []
    for batch in args.batches:
        taken: dict[str, list[list[float]]] = {name: [] for name in ENGINES}
        for k in range(args.rounds + 1):  # the first one warms up
            for name, servable in loaded.items():
                times = window(servable, batch, args.seconds, k)
                if k:
                    taken[name].append(times)
        medians = {name: [float(np.median(times)) for times in windows] for name, windows in taken.items()}
        for name, windows in taken.items():
            every = [1e3 * seconds for times in windows for seconds in times]
            rows.append(
                {"model": subject.model, "engine": name, **subject.settings, "batch": batch, **latency_fields(every),
                 "examples_per_second": [batch / m for m in medians[name]],
                 "speed_up": ratios(medians[ENGINES[0]], medians[name])}
            )  # fmt: skip
    return rows


def main(args: argparse.Namespace) -> int:
    own_flags = ["--seconds", str(args.seconds), "--rounds", str(args.rounds)]
    return isolated.measure_each("platforms", measure_subject, own_flags, args)
