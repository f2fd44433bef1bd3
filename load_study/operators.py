"""Share of the time of each kind of operator, by model and batch size, from the profilers of the engines.

ONNX Runtime and TensorFlow write their own profiles; on a GPU both count its kernels (not run by us). Operators that
contain others (loops, calls) are not counted.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from load_study import isolated
from load_study.operator_kinds import CONTAINERS, KINDS, kind_of
from load_study.options import add_subject_flags
from load_study.subjects import Servable, Subject

REQUESTS = 10


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_subject_flags(parser, several=True)
    isolated.add_arguments(parser)


def shares(seconds: Mapping[str, float]) -> dict[str, float]:
    """Kind -> its share, of seconds by type."""
    total = dict.fromkeys(KINDS, 0.0)
    for operator, taken in seconds.items():
        if operator not in CONTAINERS:
            total[kind_of(operator)] += taken
    everything = sum(total.values())
    return {kind: total[kind] / everything for kind in KINDS} if everything else {}


def _run_requests(servable: Servable, batch: int) -> None:
    rng = np.random.default_rng(batch)
    for _ in range(REQUESTS):
        servable(servable.examples(batch, rng))


def of_onnx(profile: Path) -> dict[str, float]:
    """Seconds by type in the later half of the runs in a profile of ONNX Runtime."""
    events = json.loads(profile.read_text())
    runs = sorted(event["ts"] for event in events if event["name"] == "model_run")
    found: defaultdict[str, float] = defaultdict(float)
    for event in events:
        is_node = event.get("cat") == "Node" and event["name"].endswith("_kernel_time")
        if is_node and event["ts"] >= runs[len(runs) // 2]:
            found[event["args"]["op_name"]] += event["dur"] / 1e6
    return dict(found)


def of_tensorflow(folder: Path) -> dict[str, float]:
    """Seconds by type in a trace of TensorFlow's profiler."""
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    (file,) = folder.rglob("*.xplane.pb")
    space = xplane_pb2.XSpace.FromString(file.read_bytes())
    on_gpu = [plane for plane in space.planes if plane.name.startswith("/device:GPU")]
    found: defaultdict[str, float] = defaultdict(float)
    for plane in on_gpu or space.planes:
        for name, seconds in _named_events(plane, "tf_op" if on_gpu else None):
            path, mark, operator = name.rpartition(":")
            if mark and path and operator.isidentifier() and not path.endswith(":") and " " not in path:
                found[operator] += seconds
    return dict(found)


def _named_events(plane: Any, stat: str | None) -> Iterator[tuple[str, float]]:
    """Name (or the value of a statistic) and seconds of each event."""
    for line in plane.lines:
        for event in line.events:
            name = plane.event_metadata[event.metadata_id].name
            if stat is not None:
                values = (s for s in event.stats if plane.stat_metadata[s.metadata_id].name == stat)
                name = next((plane.stat_metadata[s.ref_value].name or s.str_value for s in values), "")
            yield name, event.duration_ps / 1e12


def profiled(subject: Subject, batch: int, threads: int) -> dict[str, float]:
    """Seconds by operator type of `REQUESTS` requests, after as many to warm up."""
    with tempfile.TemporaryDirectory() as scratch:
        if subject.engine.startswith("onnx"):
            session: Any = subject.open(threads, Path(scratch) / "profile")
            _run_requests(session, batch)
            _run_requests(session, batch)
            return of_onnx(session.runner.end_profiling())
        import tensorflow as tf

        servable = subject.open(threads)
        _run_requests(servable, batch)
        with tf.profiler.experimental.Profile(scratch):
            _run_requests(servable, batch)
        return of_tensorflow(Path(scratch))


def measure_subject(subject: Subject, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One record for each batch size."""
    rows = []
    subject.prepare()
    for batch in args.batches:
        seconds = profiled(subject, batch, args.threads)
        rows.append(
            {"model": subject.model, "engine": subject.engine, **subject.settings, "batch": batch,
             "ms": 1e3 * sum(s for o, s in seconds.items() if o not in CONTAINERS) / REQUESTS,
             "shares": shares(seconds), "seconds": seconds}
        )  # fmt: skip
    return rows


def main(args: argparse.Namespace) -> int:
    return isolated.measure_each("operators", measure_subject, [], args)
