"""A Triton server with both models, and the answers that it should give."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recsys_core.rankings import answers_agree
from serving.export_folder import ExportFolder
from serving.recommend.recommender import Recommender
from serving.recommend.requests import check_request
from serving.triton.client import Answer, Client
from serving.triton.server import Ports


@dataclass(frozen=True, kw_only=True)
class Served:
    """A server, and what it has to answer."""

    process: Any
    ports: Ports
    repository: Path
    offline: dict[str, Recommender]
    exports: dict[str, ExportFolder]
    titles: dict[str, dict[int, str]]

    def client(self, protocol: str = "http", **options: Any) -> Client:
        port = self.ports.http if protocol == "http" else self.ports.grpc
        return Client(f"127.0.0.1:{port}", protocol=protocol, **options)

    def users(self, model: str) -> list[int]:
        return [int(u) for u in self.exports[model].users["user_id"]]

    def wanted(self, model: str, **request: Any) -> Answer:
        """What the recommender says without a server."""
        given = {"user_id": request.get("user"), "item_ids": request.get("items", ()), "k": request.get("k", 10)}
        lists = {name: request[name] for name in ("deny", "allow", "where") if name in request}
        n_items = self.exports[model].n_items
        (answer,) = self.offline[model].recommend([check_request(**given, **lists, top_k=n_items, n_items=n_items)])
        unknown = f"not known: {', '.join(map(str, answer.unknown[:10]))}" if answer.unknown else ""
        return Answer(
            items=answer.item_ids.tolist(),
            titles=list(answer.titles),
            scores=answer.scores.tolist(),
            source=answer.source,
            note="; ".join(part for part in (answer.note, unknown) if part),
        )

    def check(self, model: str, got: Answer, **request: Any) -> None:
        """The answer is the offline one, but for ties."""
        want = self.wanted(model, **request)
        assert (got.source, got.note, len(got.items)) == (want.source, want.note, len(want.items)), request
        if want.items:
            assert answers_agree(_arrays(want), _arrays(got)), (request, want, got)
        assert got.titles == [self.titles[model][item] for item in got.items]

    def still_serves(self, client: Client) -> None:
        user = self.users("vae")[0]
        self.check("vae", client.recommend("vae", user=user, k=3), user=user, k=3)


def _arrays(answer: Answer) -> dict[str, npt.NDArray]:
    return {"items": np.array([answer.items]), "scores": np.array([answer.scores], np.float32)}
