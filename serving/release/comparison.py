"""Whether a candidate may replace the served version: a paired non-inferiority test over the same test users.

The difference of a metric, candidate - served, is taken user by user. The candidate passes if the lower end of the
95 % interval of the mean difference is above -margin. Shape legend: S test users.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from recsys_core.evaluation.paired import FEW_USERS, PairedDifference, paired_difference
from serving import targets
from serving.export_folder import ExportFolder, open_export
from serving.progress import step
from serving.release import evaluate, evaluation_users, ranking_metrics
from serving.release.evaluation_users import EvaluationUsers
from serving.targets import Artifact
from serving.triton import repository

MIN_UNSEEN = 100
"""With fewer test users that the served version was not trained on, all test users are compared."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The result of comparing a candidate with a served version."""

    served: int
    """Version that the candidate was compared with."""
    metric: str
    candidate_mean: float
    served_mean: float
    difference: PairedDifference
    """candidate - served"""
    margin: float
    notes: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate is not worse by the margin or more, so far as the interval tells."""
        return self.difference.low > -self.margin  # a NaN does not pass

    @property
    def users_needed(self) -> int | None:
        """About how many users would show it, if the mean difference and its spread stay; None if no number would."""
        distance = self.difference.mean + self.margin
        if not distance > 0:
            return None
        half_width = self.difference.mean - self.difference.low
        return math.ceil(self.difference.users * (half_width / distance) ** 2)

    def lines(self) -> list[str]:
        """The result in a few lines."""
        d = self.difference
        lines = [
            f"{self.metric} of {d.users:,} test users: {self.candidate_mean:.4f}, served version {self.served}: "
            f"{self.served_mean:.4f}; difference {d.mean:+.4f}, {100 * d.confidence:g} % interval {d.low:+.4f} to "
            f"{d.high:+.4f}, margin {self.margin:g}"
        ]
        return [*lines, *(f"note: {note}" for note in self.notes)]

    def refusal(self) -> str:
        """Why the candidate is not published, and what to do."""
        if self.difference.high < 0:
            reason = "it is worse than what is served"
        elif self.users_needed is None:
            reason = f"it is worse by {self.margin:g} or more on these users"
        else:
            few = f"about {self.users_needed:,} would"
            reason = f"these users do not show that it is less than {self.margin:g} worse ({few})"
        return f"not published: {reason} (--margin, --force)"

    def as_json(self) -> dict[str, Any]:
        """Plain values, for published.json."""
        return asdict(self) | {"passed": self.passed, "notes": list(self.notes)}


def _users_to_compare(
    users: EvaluationUsers, fingerprint: str, served: Mapping[str, Any], served_data: Path | None
) -> tuple[EvaluationUsers, list[str]]:
    """The users that both models were not trained on, and notes on those who are left out or are not."""
    seen = evaluation_users.trained_on(users, fingerprint, served, served_data)
    favours = "that favours the served version"
    if seen is None:
        return users, [
            "whether the served version was trained on these users is not known, because its data set is not at hand "
            f"(--served-data); if it was, {favours}"
        ]
    count, unseen = int(seen.sum()), int((~seen).sum())
    if count == 0:
        return users, []
    if unseen < MIN_UNSEEN:
        return users, [
            f"the served version was trained on {count:,} of these users; {favours}, and they are compared all the "
            f"same because only {unseen:,} others are left"
        ]
    return users.chosen(~seen), [f"{count:,} more test users are left out: the served version was trained on them"]


def compare(
    export: ExportFolder,
    artifact: Artifact,
    model: Path,
    served: int,
    *,
    data: Path | None,
    served_data: Path | None,
    metric: str | None,
    margin: float,
) -> Comparison:
    """Compare a candidate with a version of the repository on the test users of the candidate's data set.

    Args:
        export: of the candidate.
        artifact: the candidate's converted model.
        model: folder of the model in the repository.
        data: the candidate's data set; None for the one that its run names.
        served_data: the data set of the served version; None for the one that published.json names.
        metric: name of the metric; None for the first one that the candidate's run measured.

    Raises:
        ValueError: a data set is not at hand, the metric cannot be compared, or fewer than two users can be.
    """
    chosen = ranking_metrics.choose(metric, list(export.test_metrics))
    about = repository.read_published(model, served)
    candidate = evaluate.candidate_of(_with_data(export, data), artifact)
    step("reading the test users")
    opened = evaluation_users.open_data_set(candidate.export, data)
    users, notes = _users_to_compare(evaluation_users.read_users(opened), opened.fingerprint, about, served_data)
    folder = model / str(served)
    contenders = {
        "candidate": candidate,
        "served": evaluate.of_artifact(
            _served_export(folder, about, served_data), targets.artifact(folder, about["model"])
        ),
    }
    step(f"comparing with version {served} on {len(users):,} test users")
    values = evaluate.both_values(contenders, users, chosen)
    notes += [note for note in (candidate.note,) if note]
    notes += _notes_on_items(contenders, users)
    difference = paired_difference(values["candidate"], values["served"])
    if difference.users < FEW_USERS:
        notes.append(f"below {FEW_USERS} users such an interval is rough")
    return Comparison(
        served=served,
        metric=str(chosen),
        candidate_mean=float(np.nanmean(values["candidate"])),
        served_mean=float(np.nanmean(values["served"])),
        difference=difference,
        margin=margin,
        notes=tuple(notes),
    )


def _with_data(export: ExportFolder, data: Path | None) -> ExportFolder:
    """The export with the folder of its data set, where it needs one to know its users."""
    return export if data is None or export.holds_users else replace(export, data=data)


def _served_export(folder: Path, about: Mapping[str, Any], given: Path | None) -> ExportFolder:
    named = (about.get("data") or {}).get("folder")
    return _with_data(open_export(folder / "export"), given or (Path(named) if named else None))


def _notes_on_items(contenders: Mapping[str, evaluate.Contender], users: EvaluationUsers) -> list[str]:
    total = sum(map(len, users.relevant))
    counts = {name: evaluate.unknown_items(each, users) for name, each in contenders.items()}
    return [
        f"{count:,} of the {total:,} items to be found are not known to the {name} model and count as missed"
        for name, count in counts.items()
        if count
    ]
