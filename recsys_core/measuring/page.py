"""The HTML page of a report: its style, its frame, and the lines that say when and where something was measured."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

from recsys_core.measuring.cells import Row

STYLE = """:root{color-scheme:light dark;--text:#222;--page:#fff;--line:#ccc;--soft:#f3f3f3;--faint:#555}
@media(prefers-color-scheme:dark){:root{--text:#ddd;--page:#1b1b1b;--line:#444;--soft:#2a2a2a;--faint:#aaa}}
*{box-sizing:border-box}
body{font:16px/1.5 sans-serif;max-width:70em;margin:1.5em auto;padding:0 1em;color:var(--text);background:var(--page);
overflow-wrap:anywhere}
h1{margin:0 0 .5em}h2{margin:2em 0 .5em;border-top:1px solid var(--line);padding-top:.7em}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2em 1em;margin:0}dt{color:var(--faint)}dd{margin:0}
.scroll{overflow-x:auto;margin:1em 0;border:1px solid var(--line);border-radius:4px}
table{border-collapse:collapse;font-size:14px;min-width:100%}
td,th{padding:.35em .7em;border-bottom:1px solid var(--line);text-align:right;white-space:nowrap;vertical-align:bottom}
tbody tr:last-child td{border-bottom:0}
td{vertical-align:top}th{white-space:normal;min-width:5.5em;overflow-wrap:normal}
.unit,.interval{color:var(--faint);font-weight:normal;display:block}.interval{font-size:12px}
td:first-child,th:first-child{text-align:left;position:sticky;left:0;background:var(--page);border-right:1px solid
var(--line);white-space:normal;min-width:5.5em;overflow-wrap:normal}ul{padding-left:1.3em}
figure{margin:1em 0}figure svg{display:block;max-width:100%;height:auto}figure svg text{fill:currentColor}
figcaption,.note,details,.facts{color:var(--faint);font-size:14px}.narrow{display:none}
.tiles{display:grid;grid-template-columns:repeat(auto-fill,minmax(17em,1fr));gap:.6em;margin:.4em 0 1em}
.tile{background:var(--soft);border-radius:6px;padding:.5em .8em;font-size:14px}
.tile b{display:block;font-size:1.45em;line-height:1.3}.tile code{white-space:nowrap}
.tile span{display:block;color:var(--faint)}
.group{font-weight:bold;margin:.6em 0 0}.about{margin:0 0 .4em}img{max-width:100%;background:#fff}
code{background:var(--soft);padding:.1em .3em}details div{margin:.3em 0}
@media(max-width:820px){.wide{display:none}.narrow{display:block}dl{grid-template-columns:1fr}dd{margin-bottom:.5em}
body{margin:1em auto}h1{font-size:1.6em}h2{font-size:1.3em}.tiles{grid-template-columns:1fr;gap:.4em}
.tile b{font-size:1.25em}}
@media print{:root{color-scheme:light;--text:#000;--page:#fff;--line:#aaa;--soft:#f3f3f3;--faint:#333}
body{font-size:11px;max-width:none;margin:0}nav,details{display:none}.scroll{overflow:visible;border:0}
table{font-size:9px}.interval{font-size:8px}.note,figcaption,.tile{font-size:10px}td,th{white-space:normal;
padding:.2em .4em}h2,h3,.tile,figure,tr{break-inside:avoid}
h2,h3{break-after:avoid}.narrow{display:none}.wide{display:block}.tiles{grid-template-columns:repeat(3,1fr)}}"""


def frame(title: str, body: str) -> str:
    """The whole page, self-contained."""
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{STYLE}</style></head><body>{body}</body></html>\n"
    )


Tile = tuple[str, str, str]
"""A figure, what it is, and what stands beside it ("" for nothing)."""


def tiles(entries: Iterable[Tile]) -> str:
    """Main figures, in HTML: boxes beside each other, below each other on a phone."""
    boxes = (
        f"<div class=tile><b>{figure}</b>{what}{f'<span>{beside}</span>' if beside else ''}</div>"
        for figure, what, beside in entries
    )
    return f"<div class=tiles>{''.join(boxes)}</div>"


def unordered(items: Iterable[str]) -> str:
    """A list of HTML items."""
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


def described(facts: Sequence[tuple[str, str]]) -> str:
    """Names and texts beside each other."""
    return f"<dl>{''.join(f'<dt>{html.escape(n)}</dt><dd>{html.escape(t)}</dd>' for n, t in facts)}</dl>"


def measured_from_to(rows: Sequence[Row]) -> str:
    """When some records were measured: a date with one time or two, or two dates; "" where no record says so."""
    times = []
    for row in rows:
        with suppress(KeyError, TypeError, ValueError):
            times.append(datetime.fromisoformat(row["time"]))
    if not times:
        return ""
    first, last = (f"{time:%Y-%m-%d %H:%M}" for time in (min(times), max(times)))
    if first == last:
        return f"{first} UTC"
    return f"{first} to {last[11:] if first[:10] == last[:10] else last} UTC"


def machine_text(machine: Mapping[str, Any]) -> str:
    """One machine in a line; "" where the record does not say."""
    if not machine:
        return ""
    parts = [str(machine.get("cpu", "unknown processor"))]
    if machine.get("cores"):
        parts.append(f"{machine['cores']} cores")
    if machine.get("instructions"):
        parts.append(str(machine["instructions"]))
    if machine.get("memory_gib"):
        parts.append(f"{machine['memory_gib']} GiB of memory")
    parts.append("GPU: " + ", ".join(map(str, machine["gpus"])) if machine.get("gpus") else "no GPU")
    return ", ".join(parts)


def versions_text(versions: Mapping[str, Any]) -> str:
    """Packages with their versions in a line."""
    return ", ".join(f"{name} {version}" for name, version in versions.items() if version)
