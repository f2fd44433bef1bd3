"""The layout of the tables: `results/tables.yaml`, and figures that others published: `results/published.yaml`.

vae-step:
  group: training/vae-step        # SUBJECT/NAME of the records
  rows: [batch_size, precision]   # fields that name a row
  sort: -users_per_second         # optional: descending by a figure
  published: [nvidia-vae]         # optional: rows of published.yaml at the end
  columns:
    batch (users): batch_size
    speed (users/s): users_per_second ,.0f
    HR@10 / NDCG@10: [hr@10 .3f, ndcg@10 .3f]
    HR@10, published: published hr@10 .3f
  names: {onnx-fp32: ONNX fp32}   # optional: value of a field -> its text

A table of a page whose figures others published has `others`, the name of a table of published.yaml, and no `group`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.pages.committed import FOLDER


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One table, of records or of figures that others published."""

    group: str = ""
    others: str = ""
    """Published table that is shown in place of records."""
    rows: Sequence[str]
    columns: Mapping[str, str | Sequence[str]]
    sort: str | Sequence[str] = ()
    """Figures or texts, the first counts most; with a minus before it the largest comes first. None: as recorded."""
    names: Mapping[str, str] = field(default_factory=dict)
    published: Sequence[str] = ()
    """Published figures that are rows at the end."""
    beside: str = ""
    """Published table whose figures stand in columns "published FIELD ...", in the rows with the same key."""
    only: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    """Fields and the values that a row may have."""


@dataclass(frozen=True, kw_only=True)
class Published:
    """Figures that others published."""

    source: str
    link: str = ""
    about: str = ""
    """What was measured: model, data, hardware."""
    values: Mapping[str, Any] = field(default_factory=dict)
    rows: Sequence[Mapping[str, Any]] = ()
    """The rows of a published table; each may have a `source` and a `link` of its own."""

    @property
    def cited(self) -> str:
        return _cited(self.source, self.link)

    @property
    def cited_rows(self) -> list[dict[str, Any]]:
        """The rows, each with its source as a link."""
        found = []
        for row in self.rows:
            own = (row["source"], row.get("link", "")) if "source" in row else (self.source, self.link)
            found.append({**row, "source": _cited(*own)})
        return found


def _cited(source: str, link: str) -> str:
    return f"[{source}]({link})" if link else source


def _of_yaml(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text())
    if not isinstance(found, dict):
        raise ValueError(f"{path} holds {type(found).__name__}, expected names and values")
    return found


def tables(folder: Path = FOLDER) -> dict[str, Layout]:
    """Name -> its layout; the names of `names:` at the top hold for every table.

    Raises:
        ValueError: a layout has an unknown or a missing entry.
    """
    content = _of_yaml(folder / "tables.yaml")
    common = content.pop("names", {})
    found = {}
    for name, values in content.items():
        try:
            layout = Layout(**values)
        except TypeError as error:
            raise ValueError(f"table {name} of tables.yaml: {error}") from None
        if bool(layout.group) == bool(layout.others):
            raise ValueError(f"table {name} of tables.yaml has both group and others, or none; expected one of them")
        found[name] = Layout(**{**values, "names": {**common, **layout.names}})
    return found


def published(folder: Path = FOLDER) -> dict[str, Published]:
    """Name -> figures that others published."""
    return {name: Published(**values) for name, values in _of_yaml(folder / "published.yaml").items()}
