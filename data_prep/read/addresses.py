"""Files at addresses (s3://, gs://, https://, ...), through fsspec. Messages hold no password, key or signature."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from typing import IO, Any

PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "http": "aiohttp",
    "https": "aiohttp",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "az": "adlfs",
}
"""Scheme of an address -> the package that fsspec needs for it."""
_NOT_READ = ("ftp", "ftps", "sftp", "ssh", "smb")
"""Schemes of servers for which fsspec needs a connection of its own."""
_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_LONGEST = 200


def is_address(raw: str) -> bool:
    return _ADDRESS.match(raw) is not None


def scheme(address: str) -> str:
    """ "s3" of "s3://bucket/key"."""
    found = _ADDRESS.match(address)
    assert found is not None
    return found[1].lower()


def is_web(address: str) -> bool:
    """Whether it is read from a web server: as one stream, because not every server sends parts."""
    return scheme(address) in ("http", "https")


def shown(address: str) -> str:
    """The address without what may be secret: user, password, query and fragment."""
    return re.sub(r"://[^/@]*@", "://", re.split(r"[?#]", address, maxsplit=1)[0])


def without_secrets(raw: str) -> str:
    """What a user named, for a message: an address without its secrets, a path as it is."""
    return shown(raw) if is_address(raw) else raw


def reason(error: BaseException) -> str:
    """The first line of an error without secrets."""
    status = getattr(error, "status", None)
    if isinstance(status, int):  # of aiohttp, whose text holds the whole address
        return f"the server answered with status {status}"
    if isinstance(error, FileNotFoundError):
        return reason(error.__cause__) if error.__cause__ is not None else "it does not exist"
    if type(error).__name__ == "NoCredentialsError":
        return "no credentials were found"
    text = str(error).strip().splitlines()[0] if str(error).strip() else ""
    text = re.sub(r"[?#]\S+", "", re.sub(r"//[^/@\s]*@", "//", text))[:_LONGEST]
    kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
    return f"{kind}{text}" if text else type(error).__name__


@contextlib.contextmanager
def explained(address: str) -> Iterator[None]:
    """Turn what a file system raises inside into one line with the address."""
    try:
        yield
    except FileNotFoundError as error:
        if error.__cause__ is None or getattr(error.__cause__, "status", 0) in (404, 410):
            raise ValueError(f"{shown(address)} does not exist") from None
        raise ValueError(f"{shown(address)} cannot be read: {reason(error)}") from None
    except PermissionError as error:
        raise ValueError(
            f"{shown(address)} cannot be read: access is refused ({reason(error)}); check the credentials"
        ) from None
    except (KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:  # every file system has its own classes of errors
        raise ValueError(f"{shown(address)} cannot be read: {reason(error)}") from None


def filesystem(address: str) -> Any:
    """The fsspec file system of an address.

    Raises:
        ValueError: a package is not installed, or the scheme is not known.
    """
    name = scheme(address)
    if name in _NOT_READ:
        raise ValueError(f"{shown(address)}: {name}:// is not read; copy the file here and name its path")
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it writes a traceback of each error
    package = PACKAGES.get(name)
    try:
        import fsspec
    except ImportError:
        needed = " and ".join(["fsspec", *([package] if package else [])])
        raise ValueError(f"{shown(address)} needs {needed}, not installed here: {_install(needed)}") from None
    try:
        options = {"use_listings_cache": False} if name != "memory" else {}
        with explained(address):
            known = fsspec.available_protocols()
            if name in known:
                fsspec.get_filesystem_class(name)
    except ValueError:
        if package is None:
            raise
        raise ValueError(f"{shown(address)} needs {package}, not installed here: {_install(package)}") from None
    if name not in known:
        raise ValueError(f"{shown(address)}: {name}:// is not known, known are: {', '.join(sorted(PACKAGES))}")
    with explained(address):
        return fsspec.filesystem(name, **options)


def _install(packages: str) -> str:
    return f"pip install {packages.replace(' and ', ' ')}"


def found(address: str) -> list[tuple[str, dict[str, Any]]]:
    """What an address names: (address, details of fsspec) of a file, of those of a folder, or of those of a glob.

    Raises:
        ValueError: it does not exist, or may not be read.
    """
    system = filesystem(address)
    with explained(address):
        if is_web(address):
            return [(address, system.info(address))]
        path = system._strip_protocol(address)
        if "*" in path or "[" in path:
            details: dict[str, Any] = {}
            for one, info in system.glob(path, detail=True).items():
                details |= system.find(one, detail=True) if info["type"] == "directory" else {one: info}
        elif system.info(path)["type"] == "directory":
            details = system.find(path, detail=True)
        else:
            return [(address, system.info(path))]
    files = sorted((p, info) for p, info in details.items() if info["type"] == "file")
    return [(system.unstrip_protocol(path), info) for path, info in files]


def opened(address: str) -> IO[bytes]:
    """The bytes at an address: from a web server one stream, elsewhere a file in which one can seek.

    Raises:
        ValueError: it cannot be opened.
    """
    with explained(address):
        return filesystem(address).open(address, "rb", **({"block_size": 0} if is_web(address) else {}))


def stamp(info: dict[str, Any]) -> str:
    """What changes when a file changes: its ETag, or the time when it was changed; "" where a server tells neither."""
    for name in ("ETag", "etag", "LastModified", "last_modified", "mtime", "updated", "md5Hash"):
        if info.get(name):
            return str(info[name])
    return ""
