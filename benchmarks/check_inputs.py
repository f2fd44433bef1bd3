"""What `check` measures with: synthetic ratings of ML-1M's size, prepared, and an export with its ONNX model.

The model's weights are random, as speed does not depend on them. `python -m benchmarks.check_inputs FOLDER`
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from recsys_core.measuring.processes import cost_of

LIKE = "ml-1m"
HELD_OUT = 500
"""Users each of validation and test."""
TARGET = "onnx-fp32"


@dataclass(frozen=True)
class Inputs:
    """Files of the folder."""

    folder: Path

    @property
    def ratings(self) -> Path:
        return self.folder / "ratings.csv"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def export(self) -> Path:
        return self.folder / "run" / "export"

    @property
    def done(self) -> Path:
        """Written last."""
        return self.folder / "done"


def prepare(inputs: Inputs, out: Path) -> None:
    """What `python -m data_prep csv` does."""
    from data_prep.prepare import prepare as data_prep
    from data_prep.read.asked import Asked
    from data_prep.request import Request

    data_prep(Request(name="csv", out=out, asked=Asked(raw=(str(inputs.ratings),)), held_out=HELD_OUT))


def write(inputs: Inputs) -> None:
    """Draw, prepare, export and convert, in about half a minute.

    Raises:
        RuntimeError: a step failed; its own line says why.
    """
    from benchmarks.shapes import HIDDEN, LATENT
    from recsys_core.dataset import Dataset
    from recsys_core.export import write_export
    from serving import targets
    from serving.convert import conversion, options
    from serving.export_folder import open_export
    from vaecf.model import MultVae

    inputs.folder.mkdir(parents=True, exist_ok=True)
    cost_of([sys.executable, "-m", "data_prep", "synthetic", "--like", LIKE, "--write-csv", str(inputs.ratings)])
    prepare(inputs, inputs.data)
    data = Dataset.open(inputs.data)
    model = MultVae(data, preset="paper", hidden=(HIDDEN,), latent=LATENT)
    inputs.export.parent.mkdir(exist_ok=True)
    write_export(inputs.export, model, data, top_k=100, result={"validation": {}, "test": {}})
    export = open_export(inputs.export, inputs.data)
    made = targets.artifact(targets.default_folder(inputs.export), TARGET)
    note = conversion.convert_in_this_process(export, made, options.Options(), HELD_OUT)
    if note["status"] != "OK":
        raise RuntimeError(f"the conversion to {TARGET} ended with {note['status']}: {note['why']}")
    inputs.done.touch()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check_inputs", description=__doc__)
    parser.add_argument("folder", type=Path)
    write(Inputs(parser.parse_args().folder))
    return 0


if __name__ == "__main__":
    sys.exit(main())
