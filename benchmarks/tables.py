"""The tables of the benchmarks: columns and notes by kind of record."""

from __future__ import annotations

from collections.abc import Mapping

from recsys_core.measuring.cells import Cell, estimate, metric, number, plain
from recsys_core.measuring.tables import Table


def _rung_field(name: str) -> Cell:
    return lambda row: plain(name)(row["rung"])


def _roofline_columns(unit: str) -> tuple[tuple[str, Cell], ...]:
    """Columns of a step and its limit.

    Args:
        unit: name of an example, "user" or "sample".
    """
    return (
        (f"operations (MFLOP/{unit})", number("operations", ",.3f", 1e-6)),
        (f"traffic (kB/{unit})", number("bytes", ",.2f", 1e-3)),
        ("intensity (FLOP/B)", number("operations_per_byte", ",.1f")),
        ("ridge (FLOP/B)", number("ridge", ".1f")),
        ("bound by", plain("bound")),
        ("matrix products (GFLOP/s)", number("gemm_gflops", ".0f")),
        ("memory (GB/s)", number("memory_gb_per_second", ".1f")),
        (f"limit ({unit}s/s)", number(f"limit_{unit}s_per_second", ",.0f")),
        ("share of limit (%)", number("share_of_limit", ".0%")),
    )


ROOFLINE_NOTE = (
    "Operations are those of its matrix products, traffic is the bytes that no program avoids. The limit is the slower "
    "of the operations at the rate of this machine's matrix products and the bytes at the rate of its memory, both "
    "measured."
)

TABLES: Mapping[str, Table] = {
    "speedup": Table(
        title="Speed-up ladder",
        grouped_by=("data", "epochs"),
        columns=(
            ("rung", _rung_field("name")),
            ("batch (users)", _rung_field("batch")),
            ("precision", _rung_field("precision")),
            ("ranks (count)", _rung_field("ranks")),
            ("speed (users/s)", number("users_per_second", ",.0f")),
            ("gain of this rung (factor)", number("step", ".2f")),
            ("gain in the case study (factor)", plain("published_step")),
            ("gain over the first rung (factor)", number("overall", ".2f")),
            ("peak memory (GiB)", number("peak_gib", ".2f")),
            ("NDCG@100 (± standard error)", metric("ndcg@100")),
        ),
        note="Each rung changes only the setting that its name states; the gain is over the rung before. The gain in "
        "the case study is what NVIDIA's case study of VAE-CF published for 4 V100 and ML-20M (145.3 in all, sparse "
        "and large batch in one step); it was not measured here.",
    ),
    "train": Table(
        title="VAE-CF training step",
        columns=(
            ("items (count)", plain("n_items")),
            ("batch (users)", plain("batch_size")),
            ("precision", plain("precision")),
            ("speed (users/s)", number("users_per_second", ",.0f")),
            *_roofline_columns("user"),
            ("peak memory (GiB)", number("peak_gib", ".2f")),
        ),
        note=f"Of a user. {ROOFLINE_NOTE}",
    ),
    "ncf": Table(
        title="NeuMF training step",
        columns=(
            ("shape", plain("shape")),
            ("batch (samples)", plain("batch_size")),
            ("precision", plain("precision")),
            ("speed (samples/s)", number("samples_per_second", ",.0f")),
            *_roofline_columns("sample"),
            ("peak memory (GiB)", number("peak_gib", ".2f")),
        ),
        note=f"Of a sample. {ROOFLINE_NOTE} Published by NVIDIA for their shape: 20.2 M samples/s (TF32) and 22.8 M "
        "(AMP) on one A100, TensorFlow 1.",
    ),
    "scaling": Table(
        title="Scaling over ranks",
        columns=(
            ("model", plain("model")),
            ("precision", plain("precision")),
            ("ranks (count)", plain("ranks")),
            ("batch (examples)", plain("batch_size")),
            ("speed (examples/s)", number("examples_per_second", ",.0f")),
            ("strong (factor)", number("strong", ".2f")),
            ("weak (factor)", number("weak", ".2f")),
            ("step (ms)", number("step", ".0f", 1e3)),
            ("compute (ms)", number("compute", ".0f", 1e3)),
            ("exposed communication (ms)", number("exposed_communication", ".0f", 1e3)),
            ("input (ms)", number("input", ".0f", 1e3)),
            ("exchange alone (ms)", number("exchange_alone", ".0f", 1e3)),
            ("predicted step (ms)", number("predicted", ".0f", 1e3)),
            ("peak memory (GiB)", number("peak_gib", ".2f")),
        ),
        note="Every rank has the same cores. Strong: against one rank with the same global batch. Weak: against one "
        "rank with its share of it, times the ranks. Exposed is communication that compute does not hide; the "
        "prediction is one rank's step and the exchange of a fitted link, nothing hidden. The parts of a step are "
        "differences within a round.",
    ),
    "peers": Table(
        title="Comparison with PyTorch",
        columns=(
            ("model", plain("model")),
            ("difference", plain("difference")),
            ("ours", plain("ours")),
            ("PyTorch", plain("peer")),
            ("batch (examples)", plain("batch_size")),
            ("precision", plain("precision")),
            ("ours (examples/s)", number("examples_per_second", ",.0f")),
            ("PyTorch (examples/s)", number("peer_examples_per_second", ",.0f")),
            ("ours over PyTorch (ratio)", number("ratio", ".2f")),
            ("our peak memory (GiB)", number("peak_gib", ".2f")),
            ("PyTorch's peak memory (GiB)", number("peer_peak_gib", ".2f")),
        ),
        note="Whole steps including the preparation of batches, in turn on the same cores. Above a ratio of 1 ours is "
        'faster. Only rows whose difference is "none" have the same updates of the same parameters on both sides: '
        "dense is Adam of every parameter, rows (SparseAdam) that of the rows looked up.",
    ),
    "evaluate": Table(
        title="Evaluation over the whole catalogue",
        columns=(
            ("users (count)", plain("users")),
            ("items (count)", plain("n_items")),
            ("block (users)", plain("block_size")),
            ("speed (users/s)", number("users_per_second", ",.0f")),
            ("matrix products (GFLOP/s)", number("gemm_gflops", ".0f")),
            ("share of limit (%)", number("share_of_limit", ".0%")),
            ("peak memory (GiB)", number("peak_gib", ".2f")),
        ),
        note="Scores, exclusion of what was seen, top 100, Recall@20, Recall@50 and NDCG@100; the limit is the forward "
        "matrix products alone.",
    ),
    "prep": Table(
        title="Preparation",
        columns=(
            ("sizes", plain("like")),
            ("way", plain("way")),
            ("input (MB)", number("input_bytes", ",.0f", 1e-6)),
            ("wall time (s)", number("wall_s", ".1f")),
            ("peak memory (GiB)", number("peak_gib", ".2f")),
        ),
    ),
    "serve": Table(
        title="Latency of an export and its conversions",
        columns=(
            ("engine", plain("engine")),
            ("batch (users)", plain("batch")),
            ("requests (count)", plain("runs")),
            ("p50 (ms)", estimate("p50_ms", ",.2f")),
            ("p95 (ms)", estimate("p95_ms", ",.2f")),
            ("p99 (ms)", estimate("p99_ms", ",.2f")),
            ("speed (users/s)", number("users_per_second", ",.0f")),
        ),
        note="A percentile is stated where at least 10 requests are expected beyond it, with its 95 % interval. "
        "Published by NVIDIA for other hardware and another task (NCF, a score a row, A100, float16): 2.91 M "
        "rows/s at batch 1,024 (0.352 ms, p99 0.401), 71.5 M at 65,536, 82.7 M at 1,048,576.",
    ),
    "serve-quality": Table(
        title="Conversions",
        columns=(
            ("engine", plain("engine")),
            ("size (MiB)", number("MiB", ".1f")),
            ("lists equal but for ties (count)", plain("rows_equal_but_for_ties")),
            ("of all lists (count)", plain("rows")),
            ("items in common (%)", number("items_in_common", ".2%")),
            ("NDCG@100 (mean over users)", number("ndcg@100", ".4f")),
            ("Recall@20 (mean over users)", number("recall@20", ".4f")),
        ),
        note="Lists of all test users compared with TensorFlow's, and their metrics.",
    ),
    "release": Table(
        title="Requests while a release is served, shadowed, promoted and rolled back",
        columns=(
            ("phase", plain("phase")),
            ("clients (count)", plain("clients")),
            ("requests (count)", plain("requests")),
            ("p50 (ms)", estimate("p50_ms", ",.1f")),
            ("p99 (ms)", estimate("p99_ms", ",.1f")),
            ("longest (ms)", number("max_ms", ",.1f")),
        ),
        note="The command that begins a phase has a row of its own. A percentile is stated where at least 10 requests "
        "are expected beyond it, with its 95 % interval.",
    ),
    "batch": Table(
        title="Recommendations for all users",
        columns=(
            ("model", plain("model")),
            ("layers", plain("layers")),
            ("users (count)", plain("users")),
            ("items of a history (mean)", number("mean_history", ".0f")),
            ("the command's loop (users/s)", number("users_per_second", ",.0f")),
            ("the engine alone (users/s)", number("engine_users_per_second", ",.0f")),
            ("limit (users/s)", number("limit_users_per_second", ",.0f")),
            ("share of limit (%)", number("share_of_limit", ".0%")),
            ("loop over engine (%)", number("share_of_engine", ".0%")),
            ("peak memory (GiB)", number("peak_gib", ".2f")),
        ),
        note="The loop of `python -m serving batch` in one process: users read, the best items found, Parquet written. "
        "The limit is the matrix products of the forward pass behind the sparse first layer, alone.",
    ),
    "check-verdict": Table(
        title="Whether anything became slower",
        columns=(
            ("set", plain("set")),
            ("part", plain("part")),
            ("recorded runs (ratio to the machine)", number("recorded_ratio", ".3f")),
            ("new runs (ratio to the machine)", number("ratio", ".3f")),
            ("speed over the recorded (factor)", number("change", ".3f")),
            ("noise of a run (%)", number("noise", ".1%")),
            ("slowdown that counts (%)", number("bound", ".1%")),
            ("verdict", plain("verdict")),
            ("why", plain("why")),
        ),
        note="A ratio is a part's speed over what limits it on this machine, measured in the same windows.",
    ),
    "embeddings": Table(
        title="Updates of embedding tables",
        columns=(
            ("lookups (rows)", plain("lookups")),
            ("table (rows)", plain("rows")),
            ("dense (ms)", number("dense_ms", ".2f")),
            ("by rows (ms)", number("by_rows_ms", ".2f")),
        ),
    ),
}
