"""Latency of an export in TensorFlow: ``python -m benchmarks.gpu.latency --data D --batches 1 32``.

The model is the paper's VAE-CF with its initial parameters: an answer takes as long as after training. A request is an
array in host memory, and is answered when the items are there again.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.shapes import HIDDEN, LATENT
from recsys_core.measuring.percentiles import latency_fields
from recsys_core.measuring.processes import print_result

TOP_K, HISTORY, WARM_UP = 100, 64, 10
SIGNATURES = ("recommend_compiled", "recommend")
"""The first of these that an export has is measured."""
Answer = Callable[[npt.NDArray[np.int32]], Any]


def exported(data_folder: Path, to: Path) -> int:
    """Export the model to a folder and return its number of items."""
    from recsys_core.dataset import Dataset
    from recsys_core.export import write_export
    from vaecf.model import MultVae

    data = Dataset.open(data_folder)
    model = MultVae(data, preset="paper", hidden=(HIDDEN,), latent=LATENT)
    write_export(to, model, data, top_k=TOP_K, result={"validation": {}, "test": {}})
    return data.n_items


def answer_of(export: Path) -> tuple[str, Answer]:
    """Name of the signature that is measured, and the function that answers a request with items in host memory."""
    import tensorflow as tf

    loaded = tf.saved_model.load(str(export / "saved_model"))
    name = next(name for name in SIGNATURES if name in loaded.signatures)
    signature = loaded.signatures[name]

    def answer(item_ids: npt.NDArray[np.int32]) -> Any:
        found = signature(item_ids=tf.constant(item_ids))
        return found["items"].numpy(), loaded  # the signature lives as long as the model

    return name, answer


def requests(batch: int, n_items: int, rng: np.random.Generator) -> npt.NDArray[np.int32]:
    """int32 [B, HISTORY] distinct random items in each row, padded with the item count."""
    length = min(HISTORY, n_items)
    rows = np.full((batch, HISTORY), n_items, np.int32)
    for row in rows:
        row[:length] = rng.choice(n_items, length, replace=False)
    return rows


def percentiles(answer: Answer, arrays: Sequence[npt.NDArray[np.int32]], count: int) -> dict[str, Any]:
    """p50 and p95 in ms over `count` requests where they can be stated, and users/s at the median."""
    for k in range(WARM_UP):
        answer(arrays[k % len(arrays)])
    taken = []
    for k in range(count):
        start = time.perf_counter()
        answer(arrays[k % len(arrays)])
        taken.append(1e3 * (time.perf_counter() - start))
    return {**latency_fields(taken, (0.5, 0.95)), "users_per_second": 1e3 * len(arrays[0]) / float(np.median(taken))}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu.latency", description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--batches", type=int, nargs="+", required=True)
    parser.add_argument("--answers", type=int, default=200)
    args = parser.parse_args()

    import tensorflow as tf

    from recsys_core import devices
    from recsys_core.world import World

    devices.configure(World())
    tf.config.experimental.enable_tensor_float_32_execution(False)
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        export = Path(folder, "export")
        n_items = exported(args.data, export)
        name, answer = answer_of(export)
        for batch in args.batches:
            arrays = [requests(batch, n_items, rng) for _ in range(4)]
            found = percentiles(answer, arrays, args.answers)
            print_result({"kind": "gpu-serve", "signature": name, "batch": batch, "n_items": n_items, **found})
    return 0


if __name__ == "__main__":
    sys.exit(main())
