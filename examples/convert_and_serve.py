"""Convert and serve: train, export, convert to ONNX, verify the conversion, and answer requests in this process.

    python -m examples.convert_and_serve

Takes about 25 seconds on 2 CPU cores; the conversion has a process of its own. Expect the same articles from TensorFlow
and from ONNX Runtime. For a server, give the same export to `python -m serving triton build` (docs/serving.md).
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from examples.shop import purchases
from recsys_core import Dataset, Trainer
from serving import targets
from serving.engines.engine import open_engine, reference_engine
from serving.export_folder import SERVING, open_export
from serving.recommend.recommender import Recommender
from serving.recommend.requests import check_request
from vaecf import MultVae


def train(run_dir: Path) -> Path:
    """Train, export, convert; returns the export folder."""
    data = Dataset.from_frame(purchases(), user="customer", item="article").split("users", held_out=0.15)
    model = MultVae(data, preset="quick")
    run = Trainer(run_dir, epochs=10, top_k=20, convert="onnx").fit(model, data)
    if not (run.passed and run.converted):
        raise SystemExit("the model missed its gate, or its conversion failed")
    return run_dir / "export"


def serve(folder: Path) -> None:
    """Answer a request with the exported model, and with the converted one."""
    export = open_export(folder)
    artifact = targets.artifact(targets.default_folder(folder), "onnx-fp32")
    artifact.require_verified(export.identity)
    basket = ["red mug", "red bowl", "blue teapot"]
    request = check_request(item_ids=basket, k=5, top_k=export.top_k, id_types=export.id_types)
    for name, engine in (("TensorFlow", reference_engine(export, SERVING)), ("ONNX Runtime", open_engine(artifact))):
        (answer,) = Recommender(export, engine).recommend([request])
        print(f"{name}: {', '.join(answer.item_ids)}")


def main() -> None:
    """Train, convert, serve."""
    with tempfile.TemporaryDirectory() as folder:
        serve(train(Path(folder) / "run"))


if __name__ == "__main__":
    main()
