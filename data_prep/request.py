"""What a user asks of the preparation, checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from data_prep.catalog import entries
from data_prep.catalog.entry import Entry
from data_prep.catalog.shapes import Shape
from data_prep.encode.external import LEAST_MEMORY
from data_prep.read.asked import Asked
from data_prep.split import candidates
from data_prep.split.rules import (
    CHOICES,
    DEFAULT,
    GIVEN,
    LEAVE_ONE_OUT,
    LIANG2018,
    LIANG2018_SEED,
    PER_USER,
    PROTOCOLS,
    TIME,
    SplitRules,
)
from data_prep.write import store

OWN_TABLES = ("table", "csv", "parquet")
"""Names of one's own table; the last two are of earlier versions and read the same files."""
LISTS_GIVEN = ("he2017", "transcode")
"""Formats that hold lists of candidates."""
NAMES = (*OWN_TABLES, "synthetic", *LISTS_GIVEN)
ROLES = ("train", "valid", "test")
USED_BY = {
    DEFAULT: ("held_out_users", "fold_out_share"),
    LIANG2018: ("held_out_users", "fold_out_share"),
    LEAVE_ONE_OUT: ("negatives", "candidates"),
    TIME: ("validation_from", "test_from", "held_out_share", "validation_share"),
    PER_USER: ("held_out_share", "validation_share", "choice"),
    GIVEN: ("validation_share",),
}
"""Protocol -> the rules of it alone."""
LATER_RULES = ("k_core", "max_user_items")
"""Rules that earlier versions did not have: part of a manifest only where they are used."""
POSITIVE_ABOVE = {"rating": 3.5, "boolean": 0.0, "count": 0.0, "event": 0.0, "none": 0.0}
"""Kind of the values -> the threshold, where none is given."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for."""

    name: str
    out: Path
    asked: Asked = field(default_factory=Asked)
    """What is read, and for one's own table how it is written."""
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """train, valid and test -> the files of each (protocol given)."""
    download: bool = False
    overwrite: bool = False
    threshold: float | None = None
    """A row counts as positive if its value is greater; None: 3.5 for ratings (leave-one-out: every row), else 0."""
    rules: SplitRules = field(default_factory=SplitRules)
    held_out: float | None = None
    """Users a held-out set: a number (1 or more) or a share (below 1); None: as published, else a tenth."""
    titles: Path | None = None
    memory: int | None = None
    """Bytes that the preparation may take; None: half of what is free."""
    shape: Shape | None = None
    """Sizes of synthetic data."""

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            entries.load(self.name)  # raises
        self._check_rules()
        self._check_sizes()
        if self.titles is not None and not self.titles.is_file():
            state = (
                "is a folder" if self.titles.is_dir() else "is no file" if self.titles.exists() else "does not exist"
            )
            raise ValueError(f"--titles {self.titles} {state}, expected a file of item titles")
        if self.threshold is not None and math.isnan(self.threshold):
            raise ValueError("--threshold is nan, expected a number")
        self._check_source()

    def _check_rules(self) -> None:
        rules = self.rules
        if rules.protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {rules.protocol!r}, known are: {', '.join(PROTOCOLS)}")
        for flag, value, known in (
            ("--candidates", rules.candidates, candidates.KINDS),
            ("--choice", rules.choice, CHOICES),
        ):
            if value not in known:
                raise ValueError(f"unknown {flag} {value!r}, known are: {', '.join(known)}")
        if self.held_out is not None and rules.protocol not in (DEFAULT, LIANG2018):
            about = {LEAVE_ONE_OUT: ", which holds out one item of every user"}.get(rules.protocol, "")
            raise ValueError(f"--held-out-users does not go with {rules.protocol}{about}")
        if rules.protocol == LIANG2018 and rules.seed != LIANG2018_SEED:
            raise ValueError(
                f"--protocol liang2018 is one published split with seed {LIANG2018_SEED}; leave --seed out"
            )
        for name in ("validation_from", "test_from"):
            if getattr(rules, name) and rules.protocol != TIME:
                raise ValueError(f"--{name.replace('_', '-')} goes with --protocol time, it is {rules.protocol}")

    def _check_sizes(self) -> None:
        rules = self.rules
        if rules.negatives < 1:
            raise ValueError(f"--negatives is {rules.negatives}, expected a whole number from 1")
        for name in ("fold_out_share", "held_out_share", "validation_share"):
            if not 0 < getattr(rules, name) < 1:
                flag = name.replace("_", "-")
                raise ValueError(f"--{flag} is {getattr(rules, name)}, expected a share between 0 and 1")
        if rules.held_out_share + rules.validation_share >= 1:
            raise ValueError(
                f"--held-out-share is {rules.held_out_share:g} and --validation-share {rules.validation_share:g}, "
                "expected less than 1 together: the rest is for training"
            )
        held_out = self.held_out
        if held_out is not None and not (0 < held_out < 1 or (held_out >= 1 and held_out == held_out // 1 < math.inf)):
            raise ValueError(f"--held-out-users is {held_out:g}, expected a whole number of users or a share below 1")
        for name in ("seed", "k_core", "max_user_items"):
            if getattr(rules, name) < 0:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(rules, name)}, expected 0 or more")
        if self.memory is not None and self.memory < LEAST_MEMORY:
            raise ValueError(f"--memory is {self.memory / 2**20:.0f} MiB, expected {LEAST_MEMORY >> 20} MiB or more")

    def _check_source(self) -> None:
        if self.name == "synthetic":
            if self.shape is None:
                raise ValueError("synthetic data needs --like NAME or --users, --items and --interactions")
            return
        if self.download and (self.entry is None or not self.entry.may_be_downloaded):
            raise ValueError(f"{self.name} cannot be downloaded{self._how()}")
        if self.parts and self.asked.raw:
            raise ValueError("--raw does not go with --train, --valid and --test; name every part by its own flag")
        if self.parts and self.rules.protocol != GIVEN:
            raise ValueError(f"--train, --valid and --test go with --protocol given, it is {self.rules.protocol}")
        if self.parts and not {"train", "test"} <= self.parts.keys():
            raise ValueError(f"--protocol given needs --train FILE and --test FILE, got {', '.join(self.parts)} only")
        if self.rules.protocol == GIVEN and self.entry is None and not self.parts:
            raise ValueError("--protocol given needs --train FILE and --test FILE (--valid FILE if there is one)")
        if self.asked.event_weights and self.asked.positive_events:
            raise ValueError("--event-weights and --positive-events both say which events count, give one of them")
        if self.asked.sql and not self.asked.database:
            raise ValueError("--sql needs --database, as postgresql://user@host/name or sqlite:///file.db")
        if self.asked.database and not self.asked.sql:
            raise ValueError("--database needs --sql 'SELECT ...' or --sql TABLE")
        if not (self.asked.raw or self.download or self.parts or self.asked.sql):
            more = " or --download" if self.entry is not None and self.entry.may_be_downloaded else ""
            more += " (or --database URL --sql 'SELECT ...')" if self.name in OWN_TABLES else ""
            raise ValueError(f"{self.name} needs --raw PATH{more}{self._how()}")
        if len(self.asked.raw) > 1 and self.name not in OWN_TABLES:
            raise ValueError(f"{self.name} takes one --raw PATH, {len(self.asked.raw)} were given")

    def _how(self) -> str:
        return f": {self.entry.about}; {self.entry.how}" if self.entry is not None and self.entry.how else ""

    @cached_property
    def entry(self) -> Entry | None:
        """The known data set; None for one's own files."""
        return None if self.name in NAMES else entries.load(self.name)

    @property
    def raw(self) -> Path | None:
        """The folder or file that was named."""
        return Path(self.asked.raw[0]) if self.asked.raw else None

    @property
    def has_lists(self) -> bool:
        """Whether the source holds lists of candidates."""
        return self.name in LISTS_GIVEN or (self.entry is not None and self.entry.reader == "he2017")

    def positive_above(self, kind: str) -> float:
        """The threshold for values of a kind: Liang et al. take 4 stars and more, He et al. every rating."""
        if self.threshold is not None:
            return self.threshold
        if self.rules.protocol == LEAVE_ONE_OUT and kind == "rating":
            return -math.inf
        return POSITIVE_ABOVE[kind]

    def held_out_users(self) -> float:
        """Users a held-out set, a number or a share: as asked, else as published, else a tenth."""
        published = self.entry.held_out_users if self.entry is not None else 0
        return self.held_out or published or SplitRules.held_out_users

    def parameters(self) -> dict[str, Any]:
        """Everything that changes the result and is known before the source is read, for the manifest."""
        if self.has_lists:
            kept = ("seed", "candidates")
            return {"name": self.name, "protocol": LEAVE_ONE_OUT} | {n: getattr(self.rules, n) for n in kept}
        rules = asdict(self.rules)
        mine = USED_BY[self.rules.protocol]
        for name in {name for names in USED_BY.values() for name in names} - set(mine):
            del rules[name]
        for name in LATER_RULES:
            if not rules[name]:
                del rules[name]
        chosen = {"name": self.name, **self._threshold_parameter(), **rules}
        if "held_out_users" in mine:
            chosen["held_out_users"] = self.held_out_users()
        if self.name in OWN_TABLES:
            chosen |= self._columns()
        if self.titles is not None and self.titles.is_file():
            chosen["titles"] = store.sha256(self.titles)
        return chosen | ({"shape": asdict(self.shape)} if self.shape else {})

    def _threshold_parameter(self) -> dict[str, float | None]:
        """The threshold, where it is known before the kind of the values is: the manifest's source has the one used."""
        if self.threshold is None and self.name == "table":
            return {}
        return {"threshold": self.positive_above("rating") if self._has_threshold else None}

    @property
    def _has_threshold(self) -> bool:
        return self.threshold is not None or self.rules.protocol != LEAVE_ONE_OUT

    def _columns(self) -> dict[str, Any]:
        """The columns and forms that were asked for; the usual names of earlier versions where none was."""
        asked = self.asked
        if self.name == "table":
            return _set_fields(asked, {"raw", "database"})
        chosen: dict[str, Any] = {
            "user": asked.user or "userId",
            "item": asked.item or "movieId",
            "rating": asked.rating or ("none" if asked.rating is None else None),
        }
        if asked.time != "" or self.rules.protocol == LEAVE_ONE_OUT:
            chosen["time"] = asked.time or ("none" if asked.time is None else "")
        if self.name == "csv":
            chosen["delimiter"] = asked.delimiter or ","
        seen = {"raw", "user", "item", "rating", "time", "database", *(("delimiter",) if self.name == "csv" else ())}
        return chosen | _set_fields(asked, seen)

    def follows_publication(self) -> bool:
        """Whether the rules are the paper's, so that the known counts must come out."""
        if self.rules.protocol == GIVEN:
            return True
        return (
            self.rules == SplitRules(protocol=LIANG2018)
            and self.positive_above("rating") == 3.5
            and self.held_out is None
        )


def _set_fields(asked: Asked, without: set[str]) -> dict[str, Any]:
    """What was asked for, as plain values; "none" for a column that is not to be used."""
    chosen: dict[str, Any] = {}
    for one in fields(Asked):
        value = getattr(asked, one.name)
        if one.name not in without and value not in ("", (), {}):
            chosen[one.name] = dict(value) if isinstance(value, Mapping) else "none" if value is None else value
    return {name: list(value) if isinstance(value, tuple) else value for name, value in chosen.items()}
