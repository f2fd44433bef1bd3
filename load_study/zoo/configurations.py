"""The sizes of the eight models, and how they are scaled down. No framework is imported here.

Numbers are those of DeepRecSys (Gupta et al. 2020, `models/configs/*.json` of its repository); the models are those of
the papers (`kinds`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

from load_study.zoo.kinds import Configuration, Dien, Din, Dlrm, Ncf, Table, WideAndDeep

FEWEST_ROWS = 100
"""Of a table that was scaled down."""


def _numbered_tables(rows: Sequence[int], width: int, lookups: int = 1) -> tuple[Table, ...]:
    return tuple(Table(name=str(k), rows=n, width=width, lookups=lookups) for k, n in enumerate(rows))


def _named_tables(rows: dict[str, int], width: int, lookups: int = 1) -> tuple[Table, ...]:
    return tuple(Table(name=name, rows=n, width=width, lookups=lookups) for name, n in rows.items())


_ALL = (
    Dlrm(
        name="rmc1",
        tables=_numbered_tables([4_000_000] * 8, 32, 80),
        target_ms=100.0,
        dense=128,
        bottom=(64, 32),
        top=(256, 64, 1),
    ),
    Dlrm(
        name="rmc2",
        tables=_numbered_tables([500_000] * 32, 64, 120),
        target_ms=400.0,
        dense=256,
        bottom=(128, 64),
        top=(128, 64, 1),
    ),
    Dlrm(
        name="rmc3",
        tables=_numbered_tables([2_000_000] * 10, 32, 20),
        target_ms=100.0,
        dense=2560,
        bottom=(1024, 256, 32),
        top=(512, 256, 1),
    ),
    Ncf(
        name="ncf",
        tables=_named_tables({"gmf_user": 140_000, "gmf_item": 28_000, "mlp_user": 140_000, "mlp_item": 28_000}, 64),
        target_ms=5.0,
        hidden=(256, 256, 128, 64),
    ),
    WideAndDeep(
        name="wnd",
        tables=(*_numbered_tables([1_000_000] * 27, 32), Table(name="cross", rows=1_000_000, width=1)),
        target_ms=25.0,
        target_is_published=True,  # `target_latency=25` with wide_and_deep.json in run_DeepRecSys.sh, at commit 7de4704
        dense=512,
        shared=(1024, 512, 256),
        tower=(1,),
    ),
    WideAndDeep(
        name="mtwnd",
        tables=(*_numbered_tables([500_000] * 41 + [5_000_000] * 2, 32), Table(name="cross", rows=1_000_000, width=4)),
        target_ms=25.0,
        dense=512,
        shared=(1024, 512),
        tower=(256, 128, 1),
        tasks=4,
    ),
    Din(
        name="din",
        tables=_named_tables(
            {"user": 1_000_000, "behaviours": 25_000_000, "ad": 10_000_000, "context": 10_000_000}, 32, 3
        ),
        target_ms=100.0,
        behaviours=250,
    ),
    Dien(
        name="dien",
        tables=_named_tables({"user": 500_000, "behaviours": 20_000_000, "ad": 5_000_000, "context": 5_000_000}, 32),
        target_ms=35.0,
        behaviours=40,
        hidden=64,
    ),
)
CONFIGURATIONS: dict[str, Configuration] = {configuration.name: configuration for configuration in _ALL}
"""The published ones, by name."""


def named(name: str) -> Configuration:
    """The published configuration of that name."""
    if name not in CONFIGURATIONS:
        raise ValueError(f"name is {name!r}, expected one of {', '.join(CONFIGURATIONS)}")
    return CONFIGURATIONS[name]


C = TypeVar("C", bound=Configuration)


def _with_rows(configuration: C, factor: float) -> C:
    tables = (dataclasses.replace(t, rows=max(FEWEST_ROWS, int(t.rows * factor))) for t in configuration.tables)
    return dataclasses.replace(configuration, tables=tuple(tables))


def scaled(configuration: C, table_bytes: int) -> C:
    """The same model with the rows of all tables lowered by one factor, the largest at which they take no more than
    `table_bytes`; no table gets fewer than `FEWEST_ROWS`."""
    if configuration.table_bytes <= table_bytes:
        return configuration
    least = _with_rows(configuration, 0.0).table_bytes
    if table_bytes < least:
        raise ValueError(
            f"table_bytes is {table_bytes}, expected at least {least}: {FEWEST_ROWS} rows in each table of "
            f"{configuration.name}"
        )
    low, high = 0.0, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        fits = _with_rows(configuration, middle).table_bytes <= table_bytes
        low, high = (middle, high) if fits else (low, middle)
    return _with_rows(configuration, low)
