"""Links from the first use of a term on a page to its entry in docs/glossary.md.

A term is a heading of the third level there; a comment under it, `<!-- also: A, B -->`, names other forms of it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

ENTRY = re.compile(r"^### (?P<term>.+)\n+(?:<!-- also: (?P<also>.+?) -->)?", re.MULTILINE)
FENCE = re.compile(r"^\s*(```|~~~)")
NOT_PROSE = re.compile(r"(`[^`]*`|!?\[[^\]]*\](?:\([^)]*\)|\[[^\]]*\])|<[^>]*>)")
"""Inline code, links, and tags: terms in them stay as they are."""


def anchor(term: str) -> str:
    """The anchor that the site gives a heading."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", term.lower()).strip())


def terms(glossary: str) -> dict[str, str]:
    """Form of a term, in lower case -> anchor of its entry."""
    found: dict[str, str] = {}
    for entry in ENTRY.finditer(glossary):
        forms = [entry["term"], *(entry["also"] or "").split(",")]
        found |= {form.strip().lower(): anchor(entry["term"]) for form in forms if form.strip()}
    return found


def _in_code(line: str, fenced: bool) -> bool:
    return fenced or line.startswith(("    ", "\t", "#", ":::", "<")) or bool(FENCE.match(line))


def linked(page: str, forms: Mapping[str, str], target: str) -> str:
    """A page with the first use of each term in its prose linked to `target#anchor`.

    Headings, code, tables' code cells, existing links and HTML stay as they are.
    """
    names = sorted(forms, key=len, reverse=True)
    pattern = re.compile(rf"(?<![\w@/-])({'|'.join(map(re.escape, names))})(?![\w@/-])", re.IGNORECASE)
    done: set[str] = set()

    def replace(match: re.Match[str]) -> str:
        entry = forms[match[0].lower()]
        if entry in done:
            return match[0]
        done.add(entry)
        return f"[{match[0]}]({target}#{entry})"

    lines, fenced = [], False
    for line in page.splitlines():
        code = _in_code(line, fenced)
        fenced ^= bool(FENCE.match(line))
        if not code:
            parts = NOT_PROSE.split(line)
            line = "".join(part if i % 2 else pattern.sub(replace, part) for i, part in enumerate(parts))
        lines.append(line)
    return "\n".join(lines) + "\n"
