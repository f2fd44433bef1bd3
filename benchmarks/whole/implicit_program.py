"""Trains a model of implicit as its users do: ``python implicit_program.py REQUEST.json``.

The request holds folder (of `inputs.write`), out (for the lists), model (als) and settings (arguments of the model,
beside its defaults).
"""

from __future__ import annotations

import time

START = time.perf_counter()

import json  # noqa: E402
import os  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
from peer import Recorder, Seen  # noqa: E402

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as implicit asks for


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text())
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

    seen = Seen(Path(request["folder"]) / "matrices.npz")
    indptr, indices = seen.matrix()
    values = np.ones(len(indices), np.float32)
    matrix = csr_matrix((values, indices, indptr), shape=(seen.n_users, seen.n_items))
    model = AlternatingLeastSquares(**request["settings"])
    recorder = Recorder(Path(request["out"]), seen, START)

    def done(iteration: int, *_: Any) -> None:
        recorder.take(iteration + 1, lambda users: model.user_factors[users] @ model.item_factors.T)

    model.fit(matrix, show_progress=False, callback=done)


if __name__ == "__main__":
    main()
