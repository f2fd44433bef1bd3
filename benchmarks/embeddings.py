"""Where an update of an embedding table costs less by rows than whole: the rows a lookup at which the two meet.

One process measures both in turn for tables of several sizes: the gradient of a lookup, its reduction, and Adam. That
is what `--embedding-gradients auto` decides by (`recsys_core.training.sparse_gradients.ROWS_PER_LOOKUP`).
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from typing import Any

from recsys_core.measuring.records import record
from recsys_core.measuring.rounds import fields, in_rounds, warm_up
from recsys_core.measuring.windows import ratios, spread

RATIOS = (0.25, 0.5, 1, 2, 4, 8, 16, 32)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lookups", type=int, nargs="+", default=[2_048, 16_384, 131_072])
    parser.add_argument("--width", type=int, default=64, help="numbers in a row (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="length of a window (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=3)


def _updater(rows: int, width: int, lookups: int, is_sparse: bool) -> Any:
    """A compiled update of one table from random lookups."""
    import tensorflow as tf

    from recsys_core.training.optimizer import Adam
    from recsys_core.training.sparse_gradients import summed_rows
    from recsys_core.world import World

    table = tf.Variable(tf.random.normal([rows, width]))
    adam = Adam([table])
    values = tf.random.normal([lookups, width])

    @tf.function
    def update() -> None:
        ids = tf.random.uniform([lookups], 0, rows, tf.int32)
        gradient = tf.IndexedSlices(values, ids, tf.constant([rows, width]))
        reduced = summed_rows(gradient, World(), "g") if is_sparse else tf.convert_to_tensor(gradient)
        adam.apply([reduced], tf.constant(1e-3))

    return update


def _milliseconds_each(update: Any, seconds: float) -> float:
    start, count = time.perf_counter(), 0
    while time.perf_counter() - start < seconds or count < 3:
        update()
        count += 1
    return 1e3 * (time.perf_counter() - start) / count


def main(args: argparse.Namespace) -> int:
    from recsys_core import devices
    from recsys_core.world import World

    devices.configure(World())
    print(f"lookups    table rows   rows a lookup {'dense ms':>24} {'by rows ms':>24} {'dense / by rows':>20}")
    for lookups in args.lookups:
        for ratio in RATIOS:
            rows = int(lookups * ratio)
            updates = {kind: _updater(rows, args.width, lookups, kind == "rows") for kind in ("dense", "rows")}
            warmed = [warm_up(partial(_milliseconds_each, update, args.seconds / 8)) for update in updates.values()]
            sides = {kind: partial(_milliseconds_each, update, args.seconds) for kind, update in updates.items()}
            rounds = in_rounds(sides, args.windows)
            dense, by_rows = rounds.values["dense"], rounds.values["rows"]
            texts = [spread(values, ".2f") for values in (dense, by_rows, ratios(dense, by_rows))]
            print(f"{lookups:7,} {rows:13,} {ratio:15g} {texts[0]:>24} {texts[1]:>24} {texts[2]:>20}", flush=True)
            values = {"lookups": lookups, "rows": rows, "width": args.width, "dense_ms": dense, "by_rows_ms": by_rows}
            record(args.results, "embeddings", values | fields(rounds, warmed))
    return 0
