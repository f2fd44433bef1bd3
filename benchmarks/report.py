"""Self-contained HTML reports: tables, and plots as SVG in the page."""

from __future__ import annotations

import html
import io
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

STYLE = """body{font:16px/1.5 sans-serif;max-width:60em;margin:2em auto;padding:0 1em;color:#222}
table{border-collapse:collapse;margin:1em 0}
td,th{padding:.3em .8em;border-bottom:1px solid #ccc;text-align:right}
td:first-child,th:first-child{text-align:left}code{background:#f3f3f3;padding:.2em .4em}
svg{max-width:100%;height:auto}"""


def _svg(figure: Any) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", bbox_inches="tight")
    text = out.getvalue()
    return text[text.index("<svg") :]


def _table(headers: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    head = "".join(f"<th>{html.escape(h)}</th>" for h in headers)
    body = "".join("<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def page(path: Path, title: str, parts: Sequence[str], machine: Mapping[str, Any], arguments: Sequence[str]) -> None:
    """Write a report: its parts (HTML), then what it was measured on and the command that makes it."""
    command = f"python -m benchmarks {shlex.join(arguments)}"
    about = ", ".join(f"{name}: {value}" for name, value in machine.items())
    text = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{STYLE}</style>"
        f"<h1>{html.escape(title)}</h1>{''.join(parts)}<h2>How</h2><p>{html.escape(about)}</p>"
        f"<p><code>{html.escape(command)}</code></p></html>\n"
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _ladder_plot(rows: Sequence[Mapping[str, Any]]) -> str:
    """Users/s of every rung, with the spread over rounds, on a logarithmic scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    names = [row["rung"]["name"] for row in rows]
    middle = [statistics.median(row["users_per_second"]) for row in rows]
    low = [m - min(row["users_per_second"]) for m, row in zip(middle, rows, strict=True)]
    high = [max(row["users_per_second"]) - m for m, row in zip(middle, rows, strict=True)]
    figure, axes = plt.subplots(figsize=(8, 3.6))
    bars = axes.bar(names, middle, yerr=[low, high], capsize=4, color="#4878a8")
    axes.bar_label(bars, [f"{statistics.median(row['overall']):.1f}x" for row in rows], padding=3)
    axes.set_ylabel("users/s")
    axes.set_ylim(0, 1.15 * max(m + h for m, h in zip(middle, high, strict=True)))
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="x", labelsize=9)
    drawn = _svg(figure)
    plt.close(figure)
    return drawn


def speedup(
    path: Path, rows: Sequence[Mapping[str, Any]], machine: Mapping[str, Any], arguments: Sequence[str]
) -> None:
    """The report of the speed-up ladder.

    Args:
        rows: as `benchmarks.speedup` records them.
    """

    def cells(row: Mapping[str, Any]) -> list[str]:
        metric, rung = row["ndcg@100"], row["rung"]
        return [
            rung["name"],
            f"{rung['batch']:,}",
            rung["precision"],
            str(rung["ranks"]),
            f"{statistics.median(row['users_per_second']):,.0f}",
            f"{statistics.median(row['step']):.2f} ({min(row['step']):.2f} to {max(row['step']):.2f})",
            "" if row["published_step"] is None else f"{row['published_step']:g}",
            f"{statistics.median(row['overall']):.2f}",
            f"{row['peak_gib']:.2f}",
            f"{metric['mean']:.4f} ± {metric['standard_error']:.4f}" if metric else "",
        ]

    headers = ["rung", "batch", "numbers", "ranks", "users/s", "factor", "case study", "overall", "GiB", "NDCG@100"]
    words = (
        "<p>Each rung changes what its name says and nothing else. Factors are over the rung before, the median over "
        "rounds in which all rungs ran in turn (least to most). The column <em>case study</em> is what NVIDIA's case "
        "study of VAE-CF published for 4 V100 and ML-20M (145.3 in all); it was not measured here.</p>"
    )
    page(
        path,
        "Speed-up ladder",
        [_ladder_plot(rows), _table(headers, [cells(r) for r in rows]), words],
        machine,
        arguments,
    )
