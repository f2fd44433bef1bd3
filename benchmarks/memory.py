"""Peak private memory of each rank of a training on random memory-mapped data of any size, and of an evaluation.

    python -m benchmarks.memory --family ncf_tf --users 40000 --items 4000
    mpirun -np 4 python -m benchmarks.memory --family vaecf --users 40000 --items 4000 --steps 20
    python -m benchmarks.memory --family ncf_tf --users 2e6 --items 1e6 --each 50 --folder /tmp/large

Private is what no file backs: the data are read from files, whose pages a host's ranks share.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.input import private_bytes, write_events
from benchmarks.steps import Work, work_of
from ncf_tf.model import NeuMf
from recsys_core import devices
from recsys_core.config import EMBEDDING_GRADIENTS
from recsys_core.dataset import Dataset
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.matrices import Csr, HeldOut
from recsys_core.model import Recommender
from recsys_core.training.precision import resolve
from recsys_core.world import World, session
from vaecf.model import MultVae


class Peak(threading.Thread):
    """Looks at the private memory twenty times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0

    def run(self) -> None:
        while True:
            self.bytes = max(self.bytes, private_bytes())
            time.sleep(0.05)


def open_events(folder: Path, n_items: int) -> Csr:
    """The files of `write_events`, mapped."""
    indptr, indices = (np.load(folder / f"train.{name}.npy", mmap_mode="r") for name in ("indptr", "indices"))
    return Csr(indptr=indptr, indices=indices, n_items=n_items)


def last_items_of(train: Csr, users: int) -> HeldOut:
    """The last item of the first users is to be found, the others are known: as large as a leave-one-out data set."""
    ends = np.asarray(train.indptr[: users + 1])
    known = np.ones(ends[-1], bool)
    known[ends[1:] - 1] = False
    items, counts = np.asarray(train.indices[: ends[-1]]), np.arange(users + 1)
    return HeldOut(
        fold_in=Csr(indptr=ends - counts, indices=items[known], n_items=train.n_items),
        fold_out=Csr(indptr=counts, indices=items[~known], n_items=train.n_items),
        train_rows=np.arange(users, dtype=np.int32),
    )


def model_of(args: argparse.Namespace, train: Csr) -> Recommender:
    data = Dataset(train=train)
    gradients = {"embedding_gradients": args.embedding_gradients}
    if args.family == "vaecf":
        return MultVae(data, preset="paper", hidden=(args.width,), latent=args.width // 2, **gradients)
    layers = (4 * args.width, 2 * args.width, args.width)
    sampling = {"verify_negatives": args.verify_negatives, **gradients}
    return NeuMf(data, preset="he2017", factors=args.width, layers=layers, **sampling)


def measure(args: argparse.Namespace, folder: Path, world: World) -> dict[str, Any]:
    """Seconds and peaks of this rank."""
    peak = Peak()
    peak.start()
    model = model_of(args, open_events(folder, int(args.items)))
    world.broadcast_variables(model.variables)
    work: Work = work_of(model, args.batch_size, resolve("fp32", world), world, examples=args.batch_size)
    start, cpu = time.perf_counter(), time.process_time()
    loss = work.step.run(work.batches, args.steps)["loss"]
    found = {"rank": world.rank, "steps_seconds": time.perf_counter() - start, "training_bytes": peak.bytes}
    found["steps_cpu_seconds"] = time.process_time() - cpu
    found |= {"first_loss": float(loss[0]), "last_loss": float(loss[-1])}
    if args.evaluated:
        start = time.perf_counter()
        held_out, metric = last_items_of(model.data.train, args.evaluated), parse_metric("hr@100")
        Evaluator(held_out, [metric], world=world, n_items=model.n_items).evaluate(model)
        found |= {"evaluation_seconds": time.perf_counter() - start, "peak_bytes": peak.bytes}
    return found


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.memory", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--family", choices=("ncf_tf", "vaecf"), required=True)
    add("--users", type=float, required=True)
    add("--items", type=float, required=True)
    add("--each", type=int, default=150, help="items of a user (default: %(default)s)")
    add("--width", type=int, default=16, help="factors, or units of the hidden layer (default: %(default)s)")
    add("--batch-size", type=int, default=65_536, help="users or samples, on all ranks (default: %(default)s)")
    add("--steps", type=int, default=40)
    add("--evaluated", type=int, default=2_000, help="users of the evaluation (default: %(default)s)")
    add("--embedding-gradients", choices=EMBEDDING_GRADIENTS, default="auto")
    add("--verify-negatives", action="store_true")
    add("--folder", type=Path, help="of the data, which are written if it is not there (default: a temporary one)")
    return parser


def main() -> int:
    args = build_parser().parse_args()
    with session() as world, tempfile.TemporaryDirectory() as temporary:
        devices.configure(world)
        folder = world.broadcast(args.folder or Path(temporary))
        if world.is_rank0 and not (folder / "train.indices.npy").exists():
            write_events(folder, int(args.users) * args.each, int(args.items), args.each)
        world.barrier()
        print("RESULT " + json.dumps(measure(args, folder, world)), flush=True)
        world.barrier()
    return 0


if __name__ == "__main__":
    sys.exit(main())
