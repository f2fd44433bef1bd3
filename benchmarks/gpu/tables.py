"""The tables of the measurement of a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recsys_core.measuring import page
from recsys_core.measuring.cells import Cell, Row, estimate, number, plain
from recsys_core.measuring.tables import Table


def _texts(name: str) -> Cell:
    """A list of texts, joined; empty where the record has none."""
    return lambda row: "; ".join(map(str, row.get(name) or ()))


def _kernels(row: Row) -> str:
    """The kernels that take longest, each with its share."""
    busy = sum(kernel["ms"] for kernel in row.get("kernels", ())) or 1.0
    shown = sorted(row.get("kernels", ()), key=lambda kernel: -kernel["ms"])[:5]
    return "; ".join(f"{kernel['ms'] / busy:.0%} {kernel['name'][:40]}" for kernel in shown)


CARD: tuple[str, Cell] = ("card", plain("card"))
SETTING: tuple[tuple[str, Cell], ...] = (
    ("model", plain("model")),
    ("batch (examples)", plain("batch_size")),
    ("precision", plain("precision")),
)
FAILED: tuple[str, Cell] = ("failed with", _texts("failed"))

GPU_TABLES: Mapping[str, Table] = {
    "gpu-part": Table(
        title="GPU: parts of the measurement",
        columns=(CARD, ("part", plain("part")), ("outcome", _texts("outcome")), ("time (s)", number("wall_s", ".1f"))),
    ),
    "gpu-tests": Table(
        title="GPU: tests",
        columns=(
            CARD,
            ("passed (count)", number("passed", ",.0f")),
            ("failed (count)", number("failed_tests", ",.0f")),
            ("skipped (count)", number("skipped", ",.0f")),
            ("failed tests", _texts("failures")),
        ),
    ),
    "gpu-train": Table(
        title="GPU: training step",
        columns=(
            CARD,
            *SETTING,
            ("step", plain("step")),
            ("speed (examples/s)", number("examples_per_second", ",.0f")),
            ("time (ms/step)", number("step_ms", ",.2f")),
            ("first step (s)", number("first_step_s", ".1f")),
            ("peak device memory (GiB)", number("peak_gib", ".2f")),
            FAILED,
        ),
        note="With the input pipeline and the steps of a call that training has. The first step includes compiling.",
    ),
    "gpu-peer": Table(
        title="GPU: PyTorch's training step",
        columns=(
            CARD,
            *SETTING,
            ("speed (examples/s)", number("examples_per_second", ",.0f")),
            ("time (ms/step)", number("step_ms", ",.2f")),
            ("first step (s)", number("first_step_s", ".1f")),
            ("peak device memory (GiB)", number("peak_gib", ".2f")),
            FAILED,
        ),
        note="torch.compile, fused Adam, training data in device memory, rows made there.",
    ),
    "gpu-ratio": Table(
        title="GPU: ours and compiled PyTorch",
        columns=(
            CARD,
            *SETTING,
            ("ours (examples/s)", number("examples_per_second", ",.0f")),
            ("PyTorch (examples/s)", number("peer_examples_per_second", ",.0f")),
            ("ours over PyTorch (ratio)", number("over_peer", ".2f")),
        ),
        note="On the same card in the same call. Above a ratio of 1 ours is faster.",
    ),
    "gpu-evaluate": Table(
        title="GPU: evaluation over the whole catalogue",
        columns=(
            CARD,
            ("users (count)", plain("users")),
            ("items (count)", plain("n_items")),
            ("time (ms)", number("evaluation_ms", ",.1f")),
            ("first time (s)", number("first_s", ".1f")),
            ("peak device memory (GiB)", number("peak_gib", ".2f")),
        ),
        note="Scores, exclusion of what was seen, top 100, Recall@20, Recall@50 and NDCG@100.",
    ),
    "gpu-run": Table(
        title="GPU: a run of `vaecf.train`",
        columns=(
            CARD,
            ("arguments", plain("arguments")),
            ("epochs (count)", plain("epochs")),
            ("training steps (s)", number("trained_s", ".1f")),
            ("whole run (s)", number("run_s", ".1f")),
            ("with start and export (s)", number("wall_s", ".1f")),
            ("time (ms/epoch)", number("epoch_ms", ",.1f")),
            ("NDCG@100 (mean over users)", number("ndcg", ".4f")),
        ),
    ),
    "gpu-serve": Table(
        title="GPU: inference of an export in TensorFlow",
        columns=(
            CARD,
            ("signature", plain("signature")),
            ("requests (users)", plain("batch")),
            ("p50 (ms)", estimate("p50_ms", ",.3f")),
            ("p95 (ms)", estimate("p95_ms", ",.3f")),
            ("speed (users/s)", number("users_per_second", ",.0f")),
        ),
        note="Histories of 64 items in host memory; best 100 items back in host memory.",
    ),
    "gpu-profile": Table(
        title="GPU: where a step's time goes",
        columns=(
            CARD,
            *SETTING,
            ("step", plain("step")),
            ("wall time (ms/step)", number("wall_ms", ",.2f")),
            ("kernels (ms/step)", number("busy_ms", ",.2f")),
            ("matrix products (%)", number("product_share", ".0%")),
            ("copies (%)", number("copy_share", ".0%")),
            ("copies to the host (per step)", number("copies_to_host", ".1f")),
            ("longest kernels", _kernels),
        ),
        note="From TensorFlow's profiler, which slows a step a little. Shares are of the kernels' time.",
    ),
}
"""Kind of record -> its table."""


def facts(rows: Sequence[Row]) -> list[str]:
    """Lines that say of which card, machine and versions some records are."""
    row, torch = rows[0], {str(row["torch"]): None for row in rows if "torch" in row}
    machine, versions = row.get("machine", {}), row.get("versions", {})
    names = {"driver": "driver", "compute_capability": "compute capability", "gpu_memory": "memory",
             "power_limit": "power limit"}  # fmt: skip
    details = [f"{text} {machine[name]}" for name, text in names.items() if machine.get(name)]
    return [
        f"Card: {', '.join([row['card'], *details])}",
        f"Machine: {page.machine_text(machine)}",
        f"Versions: {page.versions_text(versions)}",
        *(f"PyTorch: {version}" for version in torch),
    ]


def as_markdown(records: Sequence[Row]) -> str:
    """The card and the versions, then the tables of the kinds that were measured."""
    parts = [f"Measured: {page.measured_from_to(records)}  \n" + "  \n".join(facts(records))] if records else []
    for kind, table in GPU_TABLES.items():
        if rows := [row for row in records if row["kind"] == kind]:
            parts.append(f"### {table.title}\n\n{table.as_markdown(rows)}")
    return "\n\n".join(parts) + "\n"
