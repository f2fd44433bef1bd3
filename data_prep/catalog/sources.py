"""The known data sets: where they come from, how their files are laid out, and what they should hold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from data_prep.read.layout import Layout

GROUPLENS = "https://files.grouplens.org/datasets/movielens"
_CSV = Layout(
    delimiter=",",
    columns=("userId", "movieId", "rating", "timestamp"),
    user="userId",
    item="movieId",
    rating="rating",
    header=True,
)
_TAB = Layout(
    delimiter="\t",
    columns=("user", "item", "rating", "timestamp"),
    user="user",
    item="item",
    rating="rating",
    header=False,
)
_COLONS = Layout(
    delimiter=":",
    columns=("UserID", "_gap1", "MovieID", "_gap2", "Rating", "_gap3", "Timestamp"),
    user="UserID",
    item="MovieID",
    rating="Rating",
    header=False,
)


@dataclass(frozen=True, kw_only=True)
class Source:
    """One public data set."""

    ratings: str
    """Name of the ratings file in its folder ("" for Netflix, which has several)."""
    layout: Layout | None
    about: str
    url: str | None = None
    """Archive that may be fetched freely, None where it may not."""
    md5: str | None = None
    """Digest of the archive; None asks the server."""
    held_out_users: int = 0
    """Users held out for validation and for test as published, 0 for a share."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """What the preparation with the paper's rules must give."""


# MD5 digests as published by GroupLens beside the archives; counts of ML-20M from Liang et al. 2018, the printed
# results of the published notebook. Raw rows from the data sets' own README files.
SOURCES: dict[str, Source] = {
    "ml-100k": Source(
        ratings="u.data",
        layout=_TAB,
        about="100,000 ratings, 943 users, 1,682 movies",
        url=f"{GROUPLENS}/ml-100k.zip",
        md5="0e33842e24a9c977be4e0107933c0723",
        counts={"rows_read": 100_000},
    ),
    "ml-latest-small": Source(
        ratings="ratings.csv",
        layout=_CSV,
        about="about 100,000 ratings, 610 users (changes over time)",
        url=f"{GROUPLENS}/ml-latest-small.zip",
    ),
    "ml-1m": Source(
        ratings="ratings.dat",
        layout=_COLONS,
        about="1,000,209 ratings, 6,040 users, 3,706 movies",
        url=f"{GROUPLENS}/ml-1m.zip",
        md5="c4d9eecfca2ab87c1945afe126590906",
        counts={"rows_read": 1_000_209},
    ),
    "ml-10m": Source(
        ratings="ratings.dat",
        layout=_COLONS,
        about="10,000,054 ratings, 69,878 users, 10,677 movies",
        url=f"{GROUPLENS}/ml-10m.zip",
        md5="ce571fd55effeba0271552578f2648bd",
        counts={"rows_read": 10_000_054},
    ),
    "ml-20m": Source(
        ratings="ratings.csv",
        layout=_CSV,
        about="20,000,263 ratings, 138,493 users, 26,744 rated movies",
        url=f"{GROUPLENS}/ml-20m.zip",
        md5="cd245b17a1ae2cc31bb14903e1204af3",
        held_out_users=10_000,
        counts={
            "rows_read": 20_000_263,
            "events": 9_990_682,
            "users": 136_677,
            "items": 20_720,
            "train_users": 116_677,
            "train_items": 20_108,
        },
    ),
    "ml-25m": Source(
        ratings="ratings.csv",
        layout=_CSV,
        about="25,000,095 ratings, 162,541 users, 59,047 rated movies",
        url=f"{GROUPLENS}/ml-25m.zip",
        md5="6b51fb2759a8657d3bfcbfc42b592ada",
        counts={"rows_read": 25_000_095},
    ),
    "ml-32m": Source(
        ratings="ratings.csv",
        layout=_CSV,
        about="32,000,204 ratings, 200,948 users",
        url=f"{GROUPLENS}/ml-32m.zip",
        counts={"rows_read": 32_000_204},
    ),
    "netflix": Source(
        ratings="",
        layout=None,
        about="100,480,507 ratings, 480,189 users, 17,770 movies; not freely distributed: fetch the Netflix Prize data "
        "(combined_data_1..4.txt, or nf_prize_dataset.tar.gz) where you have the right to, and name it with --raw",
        held_out_users=40_000,
        counts={"rows_read": 100_480_507},
    ),
}
GENERIC = ("csv", "parquet", "synthetic", "he2017", "transcode")
HELD_OUT_ALREADY = ("he2017", "transcode")
"""Sources that say themselves what is held out."""


def ratings_file(raw: Path, source: Source, name: str) -> Path:
    """The file to read: `raw` itself, or the one of the expected name in that folder or one below it.

    Raises:
        ValueError: the folder has no such file.
    """
    if raw.is_file():
        return raw
    found = [p for p in (raw / source.ratings, raw / name / source.ratings) if p.is_file()]
    if not found:
        raise ValueError(f"{raw} holds no {source.ratings}, the ratings file of {name}; name its folder with --raw")
    return found[0]


def count_differences(name: str, counts: Mapping[str, int], rules_as_published: bool) -> list[str]:
    """One sentence for each count that is not what the known data set has.

    `train_items` depends on which users are drawn, so only the published protocol must match it.
    """
    if name not in SOURCES:
        return []
    known = SOURCES[name].counts
    expected = known if rules_as_published else {k: v for k, v in known.items() if k == "rows_read"}
    return [
        f"{name}: {counts[key]:,} {key.replace('_', ' ')}, {value:,} expected"
        for key, value in expected.items()
        if counts[key] != value
    ]
