"""`benchmarks peers` names the difference between its sides, and headlines only rows without one."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from benchmarks import peers
from benchmarks.__main__ import main
from benchmarks.peers import NCF_PAIRS, NONE, VAE_PAIRS
from benchmarks.summary import SUMMARIES
from recsys_core.measuring.older_records import in_current_form
from recsys_core.measuring.records import read

RATES = {"dense": 600.0, "rows": 900.0, "adam": 100.0, "fused": 200.0, "compiled": 300.0, "sparse": 450.0}


@pytest.fixture
def sides(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The processes that are asked for, by what they are asked for; each has its speed of `RATES`."""
    asked: list[str] = []

    def result(words: list[str], **_: Any) -> dict[str, Any]:
        asked.append(words[-1] if words[-2] in ("--gradients", "--way") else "?")
        found = {"examples_per_second": RATES[asked[-1]], "peak_bytes": 2.0**30}
        return found | {"warm_up": {"windows": 3, "stable": asked[-1] != "adam"}}

    monkeypatch.setattr(peers, "result_of", result)
    monkeypatch.setitem(sys.modules, "torch", ModuleType("torch"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name)
    return asked


def test_every_row_compares_what_it_says(sides: list[str], tmp_path: Path) -> None:
    words = ["--model", "he2017-8", "--rounds", "2", "--busy", "--results", str(tmp_path / "r.jsonl")]
    assert main(["peers", *words]) == 0
    assert sides[0] == "compiled", "tried first, as it may not work"
    assert sides[1:] == ["dense", "rows", "fused", "compiled", "sparse", "adam"] * 2, "each side once a round"
    rows = read(tmp_path / "r.jsonl")
    assert [(row["ours"], row["peer"], row["ratio"]) for row in rows] == [
        ("dense", "fused", [3.0, 3.0]),
        ("dense", "compiled", [2.0, 2.0]),
        ("rows", "sparse", [2.0, 2.0]),
        ("rows", "adam", [9.0, 9.0]),
    ]
    assert [row["difference"] == NONE for row in rows] == [True, True, True, False]
    (sentence,) = SUMMARIES["peers"](rows)
    assert "9.00" not in sentence and "between 2.00" in sentence and "and 3.00" in sentence


def test_torch_compile_is_left_out_where_it_does_not_work(
    sides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    of_side = peers._side

    def side(words: Any, module: str, more: Any) -> dict[str, Any]:
        if "compiled" in more:
            raise RuntimeError("failed:\nno C++ compiler")
        return of_side(words, module, more)

    monkeypatch.setattr(peers, "_side", side)
    words = ["--model", "he2017-8", "--peer", "fused", "compiled", "--busy", "--results", str(tmp_path / "r.jsonl")]
    assert main(["peers", *words]) == 0
    assert "left out: torch.compile does not work here: no C++ compiler" in capsys.readouterr().err
    assert [row["peer"] for row in read(tmp_path / "r.jsonl")] == ["fused"]


def test_an_unknown_peer(sides: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["peers", "--model", "he2017-8", "--peer", "bag"]) == 1
    known = "fused, compiled, sparse, adam"
    assert capsys.readouterr().err == f"error: --peer bag: nothing to measure for he2017-8, known are: {known}\n"


def test_each_model_has_a_row_with_the_same_algorithm() -> None:
    for pairs in (VAE_PAIRS, NCF_PAIRS):
        assert any(pair.difference == NONE for pair in pairs)
        assert len({(pair.ours, pair.peer) for pair in pairs}) == len(pairs)
    assert {pair.peer for pair in NCF_PAIRS if pair.ours == "rows" and pair.difference == NONE} == {"sparse"}


def test_records_of_one_algorithm_beside_another_are_no_headline() -> None:
    old = {"kind": "peers", "model": "nvidia", "batch_size": 65_536, "precision": "fp32", "ratio": [5.0]}
    row = in_current_form(json.loads(json.dumps(old)))
    assert row["difference"] != NONE
    assert SUMMARIES["peers"]([row]) == ["no row has the same algorithm on both sides, so no ratio stands here."]


def test_the_sparse_vae_has_the_loss_of_the_dense_one(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    import scipy.sparse as sp

    from benchmarks import torch_peer

    torch.manual_seed(0)
    plain, bag = torch_peer.MultVae(7), torch_peer.SparseVae(7)
    first = plain.encoder[0]
    with torch.no_grad():
        bag.first.weight.copy_(first.weight.T)
        bag.bias.copy_(first.bias)
    bag.encoder[1].load_state_dict(plain.encoder[2].state_dict())
    bag.decoder.load_state_dict(plain.decoder.state_dict())
    rows = sp.csr_matrix((np.random.default_rng(0).random((5, 7)) < 0.5).astype(np.float32))
    monkeypatch.setattr(torch_peer.F, "dropout", lambda x, share: x)
    monkeypatch.setattr(torch, "randn_like", torch.zeros_like)
    losses = [plain(*torch_peer.dense(rows)).item(), bag(*torch_peer.sparse(rows)).item()]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
