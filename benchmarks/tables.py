"""The tables of the benchmarks: columns and notes by kind of record."""

from __future__ import annotations

from collections.abc import Mapping

from recsys_core.measuring.cells import Cell, metric, number, plain, windows
from recsys_core.measuring.tables import Table


def _rung_field(name: str) -> Cell:
    return lambda row: str(row["rung"][name])


ROOFLINE_COLUMNS = (
    ("MFLOP", number("operations", ",.3f", 1e-6)),
    ("kB", number("bytes", ",.2f", 1e-3)),
    ("FLOP/B", number("operations_per_byte", ",.1f")),
    ("ridge", number("ridge", ".1f")),
    ("bound by", plain("bound")),
    ("GEMM GFLOP/s", number("gemm_gflops", ".0f")),
    ("memory GB/s", number("memory_gb_per_second", ".1f")),
)
ROOFLINE_NOTE = (
    "MFLOP: operations of its matrix products; kB: bytes that no program avoids. The limit is the slower of the "
    "operations at the rate of this machine's matrix products and the bytes at the rate of its memory, both measured."
)

TABLES: Mapping[str, Table] = {
    "speedup": Table(
        title="Speed-up ladder",
        grouped_by=("data", "epochs"),
        columns=(
            ("rung", _rung_field("name")),
            ("batch", _rung_field("batch")),
            ("precision", _rung_field("precision")),
            ("ranks", _rung_field("ranks")),
            ("users/s", windows("users_per_second", ",.0f")),
            ("factor", windows("step", ".2f")),
            ("case study", plain("published_step")),
            ("overall", number("overall", ".2f")),
            ("peak GiB", number("peak_gib", ".2f")),
            ("NDCG@100", metric("ndcg@100")),
        ),
        note="Each rung changes only the setting that its name states; factors are over the rung before. The column "
        "`case study` is what NVIDIA's case study of VAE-CF published for 4 V100 and ML-20M (145.3 in all, sparse and "
        "large batch in one step); it was not measured here.",
    ),
    "train": Table(
        title="VAE-CF training step",
        columns=(
            ("items", plain("n_items")),
            ("batch", plain("batch_size")),
            ("precision", plain("precision")),
            ("users/s", windows("users_per_second", ",.0f")),
            *ROOFLINE_COLUMNS,
            ("limit /s", number("limit_users_per_second", ",.0f")),
            ("share of limit", windows("share_of_limit", ".0%")),
            ("peak GiB", number("peak_gib", ".2f")),
        ),
        note=f"Of a user. {ROOFLINE_NOTE}",
    ),
    "ncf": Table(
        title="NeuMF training step",
        columns=(
            ("shape", plain("shape")),
            ("batch", plain("batch_size")),
            ("precision", plain("precision")),
            ("samples/s", windows("samples_per_second", ",.0f")),
            *ROOFLINE_COLUMNS,
            ("limit /s", number("limit_samples_per_second", ",.0f")),
            ("share of limit", windows("share_of_limit", ".0%")),
            ("peak GiB", number("peak_gib", ".2f")),
        ),
        note=f"Of a sample. {ROOFLINE_NOTE} Published by NVIDIA for their shape: 20.2 M samples/s (TF32) and 22.8 M "
        "(AMP) on one A100, TensorFlow 1.",
    ),
    "scaling": Table(
        title="Scaling over ranks",
        columns=(
            ("model", plain("model")),
            ("precision", plain("precision")),
            ("ranks", plain("ranks")),
            ("batch", plain("batch_size")),
            ("examples/s", windows("examples_per_second", ",.0f")),
            ("strong", windows("strong", ".2f")),
            ("weak", windows("weak", ".2f")),
            ("step ms", number("step", ".0f", 1e3)),
            ("compute", number("compute", ".0f", 1e3)),
            ("exposed", number("exposed_communication", ".0f", 1e3)),
            ("input", number("input", ".0f", 1e3)),
            ("exchange alone", number("exchange_alone", ".0f", 1e3)),
            ("predicted step", number("predicted", ".0f", 1e3)),
            ("peak GiB", number("peak_gib", ".2f")),
        ),
        note="Every rank has the same cores. Strong: against one rank with the same global batch. Weak: against one "
        "rank with its share of it. Exposed is communication that compute does not hide; the prediction is one rank's "
        "step and the exchange of a fitted link, nothing hidden.",
    ),
    "peers": Table(
        title="Comparison with plain PyTorch",
        columns=(
            ("model", plain("model")),
            ("batch", plain("batch_size")),
            ("precision", plain("precision")),
            ("ours /s", number("examples_per_second", ",.0f")),
            ("PyTorch /s", number("peer_examples_per_second", ",.0f")),
            ("ratio", windows("ratio", ".2f")),
            ("ours GiB", number("peak_gib", ".2f")),
            ("PyTorch GiB", number("peer_peak_gib", ".2f")),
        ),
        note="Whole steps including the preparation of batches, in turn on the same cores.",
    ),
    "evaluate": Table(
        title="Evaluation over the whole catalogue",
        columns=(
            ("users", plain("users")),
            ("items", plain("n_items")),
            ("block", plain("block_size")),
            ("users/s", windows("users_per_second", ",.0f")),
            ("GEMM GFLOP/s", number("gemm_gflops", ".0f")),
            ("share of limit", windows("share_of_limit", ".0%")),
            ("peak GiB", number("peak_gib", ".2f")),
        ),
        note="Scores, exclusion of what was seen, top 100, Recall@20, Recall@50 and NDCG@100; the limit is the forward "
        "matrix products alone.",
    ),
    "prep": Table(
        title="Preparation",
        columns=(
            ("sizes", plain("like")),
            ("way", plain("way")),
            ("input MB", number("input_bytes", ",.0f", 1e-6)),
            ("seconds", windows("wall_s", ".1f")),
            ("peak GiB", number("peak_gib", ".2f")),
        ),
    ),
    "serve": Table(
        title="Latency of an export and its conversions",
        columns=(
            ("engine", plain("engine")),
            ("batch", plain("batch")),
            ("p50 ms", number("p50_ms", ",.2f")),
            ("p95 ms", number("p95_ms", ",.2f")),
            ("p99 ms", number("p99_ms", ",.2f")),
            ("users/s", number("users_per_second", ",.0f")),
        ),
        note="Published by NVIDIA for other hardware and another task (NCF, a score a row, A100, float16): 2.91 M "
        "rows/s at batch 1,024 (0.352 ms, p99 0.401), 71.5 M at 65,536, 82.7 M at 1,048,576.",
    ),
    "serve-quality": Table(
        title="Conversions",
        columns=(
            ("engine", plain("engine")),
            ("MiB", number("MiB", ".1f")),
            ("lists equal but for ties", plain("rows_equal_but_for_ties")),
            ("of", plain("rows")),
            ("items in common", number("items_in_common", ".2%")),
            ("NDCG@100", number("ndcg@100", ".4f")),
            ("Recall@20", number("recall@20", ".4f")),
        ),
        note="Lists of all test users compared with TensorFlow's, and their metrics.",
    ),
    "embeddings": Table(
        title="Updates of embedding tables",
        columns=(
            ("lookups", plain("lookups")),
            ("table rows", plain("rows")),
            ("dense ms", number("dense_ms", ".2f")),
            ("by rows ms", number("by_rows_ms", ".2f")),
        ),
    ),
}
