"""Trains a model of RecBole as its users do, in a Python that has RecBole: ``python recbole_program.py REQUEST.json``.

The request holds folder (of `inputs.write`), out (for the lists), model and settings (of RecBole, beside its defaults).
"""

from __future__ import annotations

import time

START = time.perf_counter()

import json  # noqa: E402
import sys  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402
import numpy.typing as npt  # noqa: E402
from peer import Recorder, Seen  # noqa: E402

PAIRS = 1 << 20
"""Pairs that a model without scores of a whole row predicts at one time."""


def _config(request: dict[str, Any]) -> Any:
    from recbole.config import Config

    settings = {
        "data_path": request["folder"],
        "benchmark_filename": ["train", "valid", "test"],
        "load_col": {"inter": ["user_id", "item_id"]},
        "eval_args": {"group_by": "user", "order": "RO", "mode": "full"},
        "metrics": ["NDCG"],
        "topk": [100],
        "valid_metric": "NDCG@100",
        "show_progress": False,
        "checkpoint_dir": request["out"],
        "state": "WARNING",
        **request["settings"],
    }
    sys.argv = sys.argv[:1]  # RecBole reads settings from it
    return Config(model=request["model"], dataset=request["name"], config_dict=settings)


class Scorer:
    """Scores of all items in our order, for users in our order."""

    def __init__(self, model: Any, dataset: Any, n_items: int) -> None:
        self._model, self._dataset = model, dataset
        known = dataset.field2token_id[dataset.iid_field]
        self._items = np.array([known.get(str(i), 0) for i in range(n_items)])
        self._users = dataset.field2token_id[dataset.uid_field]

    def __call__(self, users: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        import torch

        inner = torch.tensor([self._users[str(user)] for user in users])
        self._model.eval()
        with torch.no_grad():
            scores = self._rows(inner).numpy()
        scores[:, 0] = -np.inf  # RecBole's padding, and items that it does not know
        return scores[:, self._items]

    def _rows(self, users: Any) -> Any:
        """[B, RecBole's items] scores."""
        from recbole.data.interaction import Interaction

        count = self._dataset.item_num
        try:
            asked = Interaction({self._dataset.uid_field: users})
            return self._model.full_sort_predict(asked).reshape(len(users), count)
        except NotImplementedError:
            return self._pair_by_pair(users, count)

    def _pair_by_pair(self, users: Any, count: int) -> Any:
        import torch
        from recbole.data.interaction import Interaction

        rows, step = [], max(PAIRS // count, 1)
        for first in range(0, len(users), step):
            some = users[first : first + step]
            pairs = {
                self._dataset.uid_field: some.repeat_interleave(count),
                self._dataset.iid_field: torch.arange(count).repeat(len(some)),
            }
            rows.append(self._model.predict(Interaction(pairs)).reshape(len(some), count))
        return torch.cat(rows)


def main() -> None:
    request = json.loads(Path(sys.argv[1]).read_text())
    from recbole.data import create_dataset, data_preparation
    from recbole.utils import get_model, get_trainer, init_seed

    config = _config(request)
    init_seed(config["seed"], config["reproducibility"])
    dataset = create_dataset(config)
    train, valid, _ = data_preparation(config, dataset)
    model = get_model(config["model"])(config, train.dataset).to(config["device"])
    trainer = get_trainer(config["MODEL_TYPE"], config["model"])(config, model)
    seen = Seen(Path(request["folder"]) / "matrices.npz")
    recorder, scorer = Recorder(Path(request["out"]), seen, START), Scorer(model, dataset, seen.n_items)
    trainer.fit(
        train,
        valid,
        verbose=False,
        saved=False,
        callback_fn=lambda epoch, score: recorder.take(epoch + 1, scorer, own_value=float(score)),
    )


if __name__ == "__main__":
    main()
