"""A small data set with its feature specification, and changes of it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

CSV_CONVERSION = Path(__file__).parent / "fixtures" / "csv_conversion"
NAMES = ["user", "item", "label"]
Content = dict[str, Any]
Rows = Sequence[Sequence[float]]

TRAIN = [(0, 0, 1), (0, 1, 1), (1, 3, 1), (0, 2, 1), (1, 1, 1), (1, 5, 1), (2, 4, 1), (2, 0, 1)]
SEEN = {0: {0, 1, 2}, 1: {1, 3, 5}, 2: {0, 4}}
# User 1 comes first, and the positive stands last, first and in the middle.
TEST = [(1, 7, 0), (1, 6, 0), (1, 0, 1), (0, 5, 1), (0, 4, 0), (0, 8, 0), (2, 1, 0), (2, 3, 1), (2, 2, 0)]
CANDIDATES = [[0, 7, 6], [5, 4, 8], [3, 1, 2]]
VALID = [(0, 6, 0), (0, 3, 1), (0, 7, 0), (2, 8, 0), (2, 7, 0), (2, 6, 1)]


def chunk(*files: str, kind: str = "csv", features: Sequence[str] = NAMES) -> Content:
    return {"type": kind, "features": list(features), "files": list(files)}


BASE: Content = {
    "feature_spec": {
        "user": {"dtype": "torch.int64", "cardinality": "auto"},
        "item": {"dtype": "torch.int64", "cardinality": "auto"},
        "label": {"dtype": "torch.float32"},
    },
    "source_spec": {"train": [chunk("train.csv")], "test": [chunk("test.csv")]},
    "channel_spec": {"user_ch": ["user"], "item_ch": ["item"], "label_ch": ["label"]},
    "metadata": {"test_samples_per_series": 3},
}
MISSING = object()


def changed(*edits: tuple[str, Any]) -> Content:
    """The base specification with values set (or removed) at paths like "source_spec.train.0.type"."""
    content = copy.deepcopy(BASE)
    for path, value in edits:
        *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
        place: Any = content
        for key in parents:
            place = place[key]
        if value is MISSING:
            del place[last]
        else:
            place[last] = value
    return content


def csv_text(rows: Rows) -> str:
    return "".join(",".join(map(str, row)) + "\n" for row in rows)


def write(folder: Path, content: Content | str = BASE, files: Mapping[str, Rows | str | bytes] | None = None) -> Path:
    """A folder with the specification, train.csv and test.csv, and other files (instead)."""
    folder.mkdir(exist_ok=True)
    (folder / "feature_spec.yaml").write_text(
        content if isinstance(content, str) else yaml.safe_dump(content, sort_keys=False)
    )
    for name, rows in {"train.csv": TRAIN, "test.csv": TEST, **(files or {})}.items():
        if isinstance(rows, bytes):
            (folder / name).write_bytes(rows)
        else:
            (folder / name).write_text(rows if isinstance(rows, str) else csv_text(rows))
    return folder / "feature_spec.yaml"
