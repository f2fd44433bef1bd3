"""What the tests of the GPU compare, from one process on one device:
``python -m tests.gpu.program DATA PAIRS EXPORT STEP``, DATA with held-out users, PAIRS with one item of each user held
out.

It prints losses of training steps, metrics, the error of scores, and whether an export gives its golden answers. The
first process writes the export.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks.gpu.sizes import Setting
from benchmarks.gpu.step_speed import work_of
from ncf_tf.model import NeuMf
from recsys_core import devices
from recsys_core.config import HardwareConfig
from recsys_core.dataset import Dataset
from recsys_core.evaluation.evaluator import Evaluator
from recsys_core.evaluation.metric_names import parse_metric
from recsys_core.export import write_export
from recsys_core.input.batches import Histories
from recsys_core.measuring.processes import print_result
from recsys_core.rankings import answers_agree
from recsys_core.training.kinds import step_bytes
from recsys_core.world import World
from tests.gpu.compared import METRICS, MODELS, NCF_METRICS, PRECISIONS, STEPS
from vaecf.model import MultVae


def losses(data: Path, step: str, world: World) -> dict[str, list[float]]:
    """Setting -> losses of the first steps."""
    found = {}
    for model in MODELS:
        for precision in PRECISIONS:
            work = work_of(Setting.parse(f"{model}:{precision}"), data, step, world)
            found[f"{model}:{precision}"] = work.step.run(work.batches, STEPS)["loss"].tolist()
    return found


def score_error(model: MultVae, histories: Histories) -> float:
    """Largest error of scores against a forward pass in float64, as a share of the largest score."""
    dense = np.zeros((len(histories.row_splits) - 1, model.n_items))
    rows = np.repeat(np.arange(len(dense)), np.diff(histories.row_splits.numpy()))
    dense[rows, histories.item_ids.numpy()] = 1.0
    x = dense / np.sqrt(dense.sum(axis=1, keepdims=True))
    for k, (kernel, bias) in enumerate(model.encoder):
        x = (np.tanh(x) if k else x) @ kernel.numpy().astype(np.float64) + bias.numpy()
    x = x[:, : model.latent]
    for k, (kernel, bias) in enumerate(model.decoder):
        x = (np.tanh(x) if k else x) @ kernel.numpy().astype(np.float64) + bias.numpy()
    return float(np.abs(model.scores(histories).numpy() - x).max() / np.abs(x).max())


def first_histories(data: Dataset, count: int) -> Histories:
    """Histories of the first test users."""
    ids, splits = data.held_out("test").fold_in.rows(np.arange(count))
    return Histories(tf.constant(ids), tf.constant(splits, tf.int64), -tf.ones([count], tf.int64))


def export_agrees(folder: Path, model: MultVae, data: Dataset) -> dict[str, bool]:
    """Signature -> whether the loaded export gives the golden answers. Writes the export where there is none."""
    if not folder.exists():
        write_export(folder, model, data, top_k=20, result={"validation": {}, "test": {}})
    golden = dict(np.load(folder / "golden.npz"))
    loaded = tf.saved_model.load(str(folder / "saved_model"))
    found = {}
    for name, signature in loaded.signatures.items():
        if f"{name}/items" not in golden:
            continue
        inputs = {key: tf.constant(golden[f"{name}/{key}"]) for key in signature.structured_input_signature[1]}
        computed = signature(**inputs)
        answers = {key: computed[key].numpy() for key in ("items", "scores")}
        found[name] = bool(answers_agree({key: golden[f"{name}/{key}"] for key in answers}, answers))
    return found


def ncf_metrics(folder: Path, step: str, world: World) -> dict[str, float]:
    """Metrics of a NeuMF with drawn parameters, among candidates and over the whole catalogue."""
    data = Dataset.open(folder)
    model = NeuMf(data, preset="he2017", seed=7)
    for k, variable in enumerate(model.parameters):
        variable.assign(np.random.default_rng(k).normal(0, 0.3, variable.shape).astype(np.float32))
    memory = step_bytes(model, HardwareConfig(step=step), world)
    metrics = [parse_metric(name) for name in NCF_METRICS]
    evaluator = Evaluator(data.held_out("test"), metrics, world=world, n_items=data.n_items, device_bytes=memory)
    return {name: estimate.mean for name, estimate in evaluator.evaluate(model).metrics.items()}


def main() -> int:
    folder, pairs, export, step = Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4]
    world = World()
    devices.configure(world)
    tf.config.experimental.enable_tensor_float_32_execution(True)  # TensorFlow's default
    data = Dataset.open(folder)
    model = MultVae(data, preset="paper", seed=7)
    metrics = [parse_metric(name) for name in METRICS]
    found: dict[str, Any] = {"gpus": len(tf.config.list_physical_devices("GPU"))}
    found["losses"] = losses(folder, step, world)
    found["score_error"] = score_error(model, first_histories(data, 32))
    for name, gib in (("metrics", 0.0), ("metrics in blocks", 0.001)):
        memory = step_bytes(model, HardwareConfig(step=step, device_memory=gib), world)
        held_out = data.held_out("test")
        evaluator = Evaluator(held_out, metrics, world=world, n_items=data.n_items, device_bytes=memory)
        found[name] = {key: estimate.mean for key, estimate in evaluator.evaluate(model).metrics.items()}
    found["ncf metrics"] = ncf_metrics(pairs, step, world)
    found["export"] = export_agrees(export, model, data)
    print_result(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
