"""Fetching a public archive: progress, resume of a partial file, checksum. Only sources that may be fetched freely."""

from __future__ import annotations

import hashlib
import urllib.error
import urllib.request
from pathlib import Path

from data_prep import progress

TIMEOUT_S = 60
CHUNK_BYTES = 1 << 20


def md5_of(path: Path) -> str:
    """Hex MD5 (the digest GroupLens publishes; a check of integrity, not of trust)."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def published_md5(url: str) -> str | None:
    """The digest that lies beside the archive as ``<url>.md5``, None if there is none."""
    try:
        with urllib.request.urlopen(f"{url}.md5", timeout=TIMEOUT_S) as answer:
            words = answer.read(4096).decode("ascii", errors="replace").split()
    except OSError:
        return None
    return next((w.lower() for w in words if len(w) == 32 and all(c in "0123456789abcdefABCDEF" for c in w)), None)


def download(url: str, target: Path, md5: str | None) -> Path:
    """Fetch `url` to `target`; a file that is there and matches is kept, a partial one is continued.

    Args:
        md5: the expected digest; None asks the server for ``<url>.md5``.

    Raises:
        ValueError: the server cannot be reached, or the checksum is wrong (the file is removed then).
    """
    expected = md5 or published_md5(url)
    if target.exists() and expected and md5_of(target) == expected:
        return target
    partial = target.with_name(target.name + ".part")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(url, partial)
    except OSError as error:
        kept = f"; {partial.stat().st_size} bytes are kept, run again to go on" if partial.exists() else ""
        reason = getattr(error, "reason", error)
        raise ValueError(
            f"cannot download {url} ({reason}){kept}. Or fetch it by hand and name it with --raw"
        ) from None
    if expected and (found := md5_of(partial)) != expected:
        partial.unlink()
        raise ValueError(f"{url}: checksum {found} instead of {expected}; the damaged file was removed, run again")
    partial.rename(target)
    return target


def _fetch(url: str, partial: Path) -> None:
    """Append what is missing to `partial` (from the start if the server ignores ranges)."""
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={have}-"} if have else {})
    try:
        answer = urllib.request.urlopen(request, timeout=TIMEOUT_S)
    except urllib.error.HTTPError as error:
        if error.code == 416:  # nothing is missing
            return
        raise
    with answer:
        resumed = answer.status == 206
        length = int(answer.headers.get("Content-Length", 0))
        total = length + (have if resumed else 0)
        with (
            partial.open("ab" if resumed else "wb") as out,
            progress.bar(f"downloading {Path(url).name}", total or None, "B", done=have if resumed else 0) as bar,
        ):
            while block := answer.read(CHUNK_BYTES):
                out.write(block)
                bar.update(len(block))
    if total and partial.stat().st_size < total:
        raise OSError(f"connection closed after {partial.stat().st_size} of {total} bytes")
