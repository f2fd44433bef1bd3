"""Fetching public files: progress, resume of a partial file, checksum. Only sources that may be fetched freely."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import urllib.error
import urllib.request
import zipfile
import zlib
from pathlib import Path

from data_prep import progress
from data_prep.catalog.entry import ARCHIVES, Download, Entry

TIMEOUT_S = 60
CHUNK_BYTES = 1 << 20
_FAILURES = (OSError, http.client.HTTPException)


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
    except _FAILURES:
        return None
    return next((w.lower() for w in words if len(w) == 32 and all(c in "0123456789abcdefABCDEF" for c in w)), None)


def fetch(entry: Entry, folder: Path) -> Path:
    """Fetch every file of a data set; returns what --raw would name.

    An archive with the name of the data set lies in `folder`; other files lie in `folder`/NAME.raw, since their names
    are those of other data sets too. Files that are there and complete are kept, partial ones are continued.

    Args:
        entry: of a data set, or of one part of it.

    Raises:
        ValueError: it may not be downloaded, a part has to be named, or `download` fails.
    """
    if not entry.downloads:
        raise ValueError(f"{entry.name} cannot be downloaded: {entry.about}; {entry.how}")
    if entry.parts:
        first = next(iter(entry.parts))
        known = ", ".join(entry.parts)
        raise ValueError(f"{entry.name} is downloaded by part: name one, as {entry.name}/{first}; known are: {known}")
    below = folder / f"{entry.name.replace('/', '-')}.raw"
    targets = [_target(one, entry, folder, below) for one in entry.downloads]
    for one, target in zip(entry.downloads, targets, strict=True):
        progress.step(f"downloading {one.url} to {target.parent}")
        download(one.url, target, one.md5 or None)
    return targets[0] if len(targets) == 1 else below


def _target(one: Download, entry: Entry, folder: Path, below: Path) -> Path:
    own = one.name in [f"{entry.name}{suffix}" for suffix in ARCHIVES] and len(entry.downloads) == 1
    return (folder if own else below) / one.name


def download(url: str, target: Path, md5: str | None) -> Path:
    """Fetch `url` to `target`; a file that is there and complete is kept, a partial one is continued.

    Args:
        md5: the expected digest; None asks the server for ``<url>.md5``. Without any, the size that the server states
            says whether a file is complete, and a fetched .gz or .zip has to be readable.

    Raises:
        ValueError: the server cannot be reached, or the file is damaged (it is removed then).
    """
    expected = md5 or published_md5(url)
    if target.exists() and (md5_of(target) == expected if expected else _size_at(url) == target.stat().st_size):
        return target
    partial = target.with_name(target.name + ".part")
    version = partial.with_name(partial.name + ".version")
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(url, partial, version)
    except _FAILURES as error:
        kept = f"; {partial.stat().st_size} bytes are kept, run again to go on" if partial.exists() else ""
        reason = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise ValueError(
            f"cannot download {url} ({reason}){kept}. Or fetch it by hand and name it with --raw"
        ) from None
    version.unlink(missing_ok=True)
    if expected and (found := md5_of(partial)) != expected:
        partial.unlink()
        raise ValueError(f"{url}: checksum {found} instead of {expected}; the damaged file was removed, run again")
    if not expected and (damage := _damage(partial, target.name)):
        partial.unlink()
        raise ValueError(f"{url}: {damage}; the file was removed, run again or fetch it by hand and name it with --raw")
    partial.rename(target)
    return target


def _size_at(url: str) -> int | None:
    """Bytes of the file on the server, None if it does not say."""
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            return int(answer.headers["Content-Length"])
    except (*_FAILURES, TypeError, ValueError):
        return None


def _damage(path: Path, name: str) -> str:
    """What is wrong with a fetched file without a known digest, "" if nothing is.

    Args:
        name: of the file on the server.
    """
    with path.open("rb") as file:
        start = file.read(64).lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "the server sent a web page instead of the file"
    if not path.stat().st_size:
        return "the server sent an empty file"
    if name.endswith(".zip") and not zipfile.is_zipfile(path):
        return "what the server sent is no whole zip archive"
    if name.endswith((".gz", ".tgz")):
        progress.step(f"checking {name}")
        try:
            with gzip.open(path) as file:
                while file.read(CHUNK_BYTES):
                    pass
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            return f"what the server sent is no whole gzip file ({error})"
    return ""


def _resuming(partial: Path, version: Path) -> dict[str, str]:
    """Headers that ask for the rest of a partial file, or for all of it if the server has another version by now."""
    if not partial.exists() or not (have := partial.stat().st_size):
        return {}
    kept = version.read_text() if version.exists() else ""
    return {"Range": f"bytes={have}-"} | ({"If-Range": kept} if kept else {})


def _fetch(url: str, partial: Path, version: Path) -> None:
    """Append what is missing to `partial` (from the start if the server ignores ranges).

    Args:
        version: the file beside it that keeps which version of the file the partial one is of.
    """
    have = partial.stat().st_size if partial.exists() else 0
    request = urllib.request.Request(url, headers=_resuming(partial, version))
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
            if not resumed:
                _keep_version(answer.headers, version)
            while block := answer.read(CHUNK_BYTES):
                out.write(block)
                bar.update(len(block))
    if total and partial.stat().st_size < total:
        raise OSError(f"connection closed after {partial.stat().st_size} of {total} bytes")


def _keep_version(headers: http.client.HTTPMessage, version: Path) -> None:
    """Note what identifies the server's file: its ETag, if that stands for equal bytes, else its time."""
    tag = headers.get("ETag", "")
    found = tag if tag.startswith('"') else headers.get("Last-Modified", "")
    with contextlib.suppress(FileNotFoundError):
        version.unlink()
    if found:
        version.write_text(found)
