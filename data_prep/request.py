"""What a user asks of the preparation, checked."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from data_prep.catalog.shapes import Shape
from data_prep.catalog.sources import GENERIC, HELD_OUT_ALREADY, SOURCES
from data_prep.split import candidates
from data_prep.split.rules import LEAVE_ONE_OUT, LIANG2018_SEED, PROTOCOLS, SplitRules
from data_prep.write import store

NAMES = (*SOURCES, *GENERIC)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What the user asked for."""

    name: str
    out: Path
    raw: Path | None = None
    download: bool = False
    overwrite: bool = False
    threshold: float | None = None
    """A row counts as positive if its rating is greater; None: 3.5, for leave-one-out 0."""
    rules: SplitRules = field(default_factory=SplitRules)
    held_out: float | None = None
    """Users a held-out set: a number (1 or more) or a share (below 1); None: as published, else a tenth."""
    user_column: str = "userId"
    item_column: str = "movieId"
    rating_column: str | None = None
    time_column: str = ""
    """"": timestamp, if there is one."""
    delimiter: str = ","
    titles: Path | None = None
    shape: Shape | None = None
    """Sizes of synthetic data."""

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"unknown data set {self.name!r}, known are: {', '.join(NAMES)}")
        if self.rules.protocol not in PROTOCOLS:
            raise ValueError(f"unknown protocol {self.rules.protocol!r}, known are: {', '.join(PROTOCOLS)}")
        if self.rules.candidates not in candidates.KINDS:
            raise ValueError(
                f"unknown --candidates {self.rules.candidates!r}, known are: {', '.join(candidates.KINDS)}"
            )
        if self.rules.negatives < 1:
            raise ValueError(f"--negatives is {self.rules.negatives}, expected a whole number from 1")
        if self.leave_one_out and self.held_out is not None:
            raise ValueError("--held-out-users does not go with leave-one-out, which holds out one item of every user")
        if self.rules.protocol == "liang2018" and self.rules.seed != LIANG2018_SEED:
            raise ValueError(
                f"--protocol liang2018 is one published split with seed {LIANG2018_SEED}; leave --seed out"
            )
        if not 0 < self.rules.fold_out_share < 1:
            raise ValueError(f"--fold-out-share is {self.rules.fold_out_share}, expected a share between 0 and 1")
        held_out = self.held_out
        if held_out is not None and not (0 < held_out < 1 or (held_out >= 1 and held_out == held_out // 1 < math.inf)):
            raise ValueError(f"--held-out-users is {held_out:g}, expected a whole number of users or a share below 1")
        if self.rules.seed < 0:
            raise ValueError(f"--seed is {self.rules.seed}, expected 0 or more")
        if self.titles is not None and not self.titles.is_file():
            raise ValueError(f"--titles {self.titles} does not exist, expected a file of item titles")
        if self.name == "synthetic" and self.shape is None:
            raise ValueError("synthetic data needs --like NAME or --users, --items and --interactions")
        if self.name != "synthetic" and self.raw is None and not self.download:
            raise ValueError(f"{self.name} needs --raw PATH{' or --download' if self.name in SOURCES else ''}")
        if self.download and (self.name not in SOURCES or SOURCES[self.name].url is None):
            about = f": {SOURCES[self.name].about}" if self.name in SOURCES else ""
            raise ValueError(f"{self.name} cannot be downloaded{about}")

    @property
    def leave_one_out(self) -> bool:
        """Whether an item of every user is held out, instead of users."""
        return self.rules.protocol == LEAVE_ONE_OUT or self.name in HELD_OUT_ALREADY

    @property
    def positive_above(self) -> float:
        """The threshold, by default as published: Liang et al. take 4 stars and more, He et al. every rating."""
        if self.threshold is not None:
            return self.threshold
        return 0.0 if self.leave_one_out else 3.5

    def held_out_users(self) -> float:
        """Users a held-out set, a number or a share: as asked, else as published, else a tenth."""
        published = SOURCES[self.name].held_out_users if self.name in SOURCES else 0
        return self.held_out or published or SplitRules.held_out_users

    def parameters(self) -> dict[str, Any]:
        """Everything that changes the result, for the manifest."""
        if self.name in HELD_OUT_ALREADY:
            kept = ("seed", "candidates")
            return {"name": self.name, "protocol": LEAVE_ONE_OUT} | {n: getattr(self.rules, n) for n in kept}
        rules = asdict(self.rules)
        for name in ("held_out_users", "fold_out_share") if self.leave_one_out else ("negatives", "candidates"):
            del rules[name]
        chosen = {"name": self.name, "threshold": self.positive_above, **rules}
        if not self.leave_one_out:
            chosen["held_out_users"] = self.held_out_users()
        if self.name in ("csv", "parquet"):
            chosen |= {"user": self.user_column, "item": self.item_column, "rating": self.rating_column}
            if self.leave_one_out or self.time_column:
                chosen["time"] = self.time_column
        if self.name == "csv":
            chosen["delimiter"] = self.delimiter
        if self.titles is not None and self.titles.is_file():
            chosen["titles"] = store.sha256(self.titles)
        return chosen | ({"shape": asdict(self.shape)} if self.shape else {})

    def follows_publication(self) -> bool:
        """Whether the rules are the paper's, so that the known counts must come out."""
        return self.rules == SplitRules(protocol="liang2018") and self.positive_above == 3.5 and self.held_out is None
