"""Two models of one data set in a repository, and the answers of each."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys_core.rankings import answers_agree
from serving.engines.engine import open_engine
from serving.export_folder import open_export
from serving.recommend.recommender import Recommender
from serving.recommend.requests import check_request
from serving.triton import repository
from serving.triton.client import Answer
from serving.triton.config import Service
from tests.serving import other_model

NAME = "films"
USERS = 20


def build(export: Path, folder: Path) -> None:
    """A repository with one version, as `triton build` makes it."""
    version = repository.add_version(folder, NAME, open_export(export), other_model.onnx_of(export))
    repository.serve_version(folder, NAME, version, Service())


def answers_of(export: Path) -> dict[int, Answer]:
    """What a model says to some users, without a server."""
    opened, made = open_export(export), other_model.onnx_of(export)
    recommender = Recommender(opened, open_engine(made), opened.history_limit(made.target.signature))
    users = [int(u) for u in opened.users["user_id"][:USERS]]
    found = recommender.recommend([check_request(user_id=u, top_k=opened.top_k) for u in users])
    return {
        user: Answer(
            items=a.item_ids.tolist(), titles=list(a.titles), scores=a.scores.tolist(), source=a.source, note=a.note
        )
        for user, a in zip(users, found, strict=True)
    }


def same(want: Answer, got: Answer) -> bool:
    if len(want.items) != len(got.items):
        return False
    one, other = ({"items": np.array([a.items]), "scores": np.array([a.scores], np.float32)} for a in (want, got))
    return answers_agree(one, other)


@dataclass(frozen=True, kw_only=True)
class Models:
    """Two models of one data set; the new one is the better one."""

    old: Path
    new: Path
    old_answers: dict[int, Answer]
    new_answers: dict[int, Answer]

    def which(self, user: int, answer: Answer) -> str:
        if same(self.old_answers[user], answer):
            return "old"
        return "new" if same(self.new_answers[user], answer) else "neither"
