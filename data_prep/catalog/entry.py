"""One known data set: what it holds, how it is obtained, how its files are read. Imports nothing that takes long."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from data_prep.read.asked import Asked

READERS = ("table", "netflix", "he2017")
"""table: files of rows, or of one line a user, read as `Entry.read` says; the others are formats of one publication."""
VALUES = ("none", "rating", "boolean", "count", "event")
"""What the rating column holds; none: every row is an interaction."""
PROTOCOLS = ("default", "users", "liang2018", "leave-one-out", "time", "per-user", "given")
ROLES = ("raw", "train", "valid", "test")
"""What files are for: one table to be divided, or the parts of a split that was published."""
PART = "{part}"
ARCHIVES = (".zip", ".tar", ".tar.gz", ".tgz")


@dataclass(frozen=True, kw_only=True)
class Download:
    """A file that may be fetched freely."""

    url: str
    md5: str = ""
    """Hex digest; "": it is asked of the server as ``<url>.md5``."""

    @property
    def name(self) -> str:
        """Name of the file."""
        return self.url.rpartition("/")[2].partition("?")[0]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One data set of the catalogue."""

    name: str
    about: str
    """What it holds, in one line."""
    licence: str
    page: str = ""
    """Address of the page that publishes it."""
    how: str = ""
    """How to get the files where they may not be fetched freely."""
    downloads: tuple[Download, ...] = ()
    """Empty where the files may not be fetched freely."""
    files: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Role (one of ROLES) -> names of files in their folder; `*` and `?` stand for any text. All files of a role that
    are there are read."""
    reader: str = "table"
    read: Asked = field(default_factory=Asked)
    """How the files are written, without where they are."""
    values: str = "none"
    protocol: str = "default"
    threshold: float | None = None
    """A row counts as positive if its value is greater; None: the default of the command."""
    min_user_items: int | None = None
    min_item_users: int | None = None
    held_out_users: int = 0
    """Users of each held-out set as published, 0: the default of the command."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Counts of the manifest that were published: `rows_read` holds always, others with the rules of this entry."""
    counts_from: str = ""
    """Publication of the counts."""
    parts: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Part (as a category) -> its counts; empty for a data set without parts."""

    @property
    def may_be_downloaded(self) -> bool:
        return bool(self.downloads)

    def of_part(self, part: str) -> Entry:
        """The entry of one part, named NAME/PART.

        Raises:
            ValueError: there is no such part.
        """
        if not self.parts:
            raise ValueError(f"{self.name} has no parts, {part!r} was asked for; write {self.name}")
        if part not in self.parts:
            raise ValueError(f"{self.name} has no part {part!r}, known are: {', '.join(self.parts)}")
        return replace(
            self,
            name=f"{self.name}/{part}",
            downloads=tuple(replace(d, url=d.url.replace(PART, part)) for d in self.downloads),
            files={role: tuple(n.replace(PART, part) for n in names) for role, names in self.files.items()},
            counts=self.parts[part],
            parts={},
        )

    def asked(self, raw: Sequence[str | Path], **changed: object) -> Asked:
        """What `open_source` is asked to read.

        Args:
            raw: the files, or what the user named.
            changed: fields of Asked that a flag of the user replaces.
        """
        return replace(self.read, raw=tuple(map(str, raw)), **changed)  # type: ignore[arg-type]

    def files_in(self, folder: Path) -> dict[str, list[Path]]:
        """Role -> its files in a folder, or in the folder of the data set's name in it.

        Raises:
            ValueError: files of a role are not there.
        """
        found: dict[str, list[Path]] = {}
        for role, names in self.files.items():
            for place in (folder, folder / self.name):
                patterns = [name.replace(PART, "*") for name in names]
                matching = sorted({path for name in patterns for path in place.glob(name) if path.is_file()})
                if matching:
                    found[role] = matching
                    break
            else:
                expected = " or ".join(name.replace(PART, "*") for name in names)
                part = "" if role == "raw" else f" ({role})"
                raise ValueError(
                    f"{folder} holds no {expected}{part}, expected for {self.name}; name its folder with --raw"
                )
        return found

    def differences(self, counts: Mapping[str, int], as_published: bool) -> list[str]:
        """One sentence for each count that is not the published one.

        Args:
            counts: of the manifest.
            as_published: whether the rules were those of the publication; else only `rows_read` is compared.
        """
        return [
            f"{self.name}: {counts[key]:,} {key.replace('_', ' ')}, {value:,} expected"
            for key, value in self.counts.items()
            if key in counts and (as_published or key == "rows_read") and counts[key] != value
        ]
