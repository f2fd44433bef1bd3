"""Constraints through a real Triton server: complete answers, and bad rows that fail nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from serving.recommend.answers import ERROR, MODEL, POPULAR
from serving.triton.client import Client, ServerError
from tests.serving.odd_requests import world_of
from tests.serving.served import Served

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("model", ["vae", "ncf"])
@pytest.mark.parametrize("allowed", [1, 10, 1_000])
@pytest.mark.parametrize("k", [1, 100, 5_000])
def test_allow_lists_and_large_answers(served: Served, client: Client, model: str, allowed: int, k: int) -> None:
    export, world = served.exports[model], world_of(served.exports[model])
    k = min(k, export.n_items)
    allow = np.random.default_rng(allowed).permutation(export.item_ids)[:allowed].tolist()
    for user in served.users(model)[:3]:
        for request in ({"allow": allow}, {"where": "count > 8"}, {"allow": allow, "where": "not count in (2, 3, 4)"}):
            answer = client.recommend(model, user=user, k=k, **request)  # type: ignore[arg-type]
            words = {"user_id": user, "item_ids": [], "deny": [], "allow": None, "where": "", **request}
            assert len(answer.items) == min(k, len(world.allowed(words)))
            served.check(model, answer, user=user, k=k, **request)


def test_popular_items_obey_a_filter(served: Served, client: Client) -> None:
    answer = client.recommend("vae", k=300, where="count between 3 and 9")
    assert answer.source == POPULAR
    assert answer.items and all(3 <= score <= 9 for score in answer.scores)


def test_a_bad_row_has_its_own_error_and_the_others_their_answers(served: Served, client: Client) -> None:
    users = served.users("vae")[:5]
    wheres = [b"", b"count >", b"count > 3", b"", b"nothing = 1"]
    arrays = {
        "user_id": np.array([users], np.int64).T,
        "k": np.array([[5], [5], [5], [0], [5]], np.int32),
        "where": np.array([[w] for w in wheres], object),
    }
    answers = client.infer("vae", arrays)
    assert [a.source for a in answers] == [MODEL, ERROR, MODEL, ERROR, ERROR]
    served.check("vae", answers[0], user=users[0], k=5)
    served.check("vae", answers[2], user=users[2], k=5, where="count > 3")
    assert "k is '0'" in answers[3].note and "nothing" in answers[4].note and not answers[1].items


@pytest.mark.parametrize("where", ["count >", "read_csv('/etc/passwd') = 'x'", "x" * 1_001, "(" * 900])
def test_a_filter_that_is_none_is_an_error_of_its_request(served: Served, client: Client, where: str) -> None:
    with pytest.raises(ServerError, match="where"):
        client.recommend("vae", user=served.users("vae")[0], where=where)
    served.still_serves(client)
