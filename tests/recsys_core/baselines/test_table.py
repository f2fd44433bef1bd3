"""`python -m recsys_core.baselines`: the table, its differences, tuning, and bad input."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from recsys_core import Dataset, baseline_table, load
from recsys_core.baseline_table import parsed_metrics
from recsys_core.baselines.__main__ import main
from recsys_core.baselines.reporting import Lines
from recsys_core.errors import UserError
from recsys_core.evaluation.significance import compare


def test_the_table_of_a_data_set(tiny_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--data", tiny_data, "--names", "popularity", "ease", "edlae", "--metrics", "ndcg@10", "coverage@5",
             "--set", "ease.regularization=30", "edlae.dropout=.25", "--json", tmp_path / "t.json", "--save",
             tmp_path / "models"]  # fmt: skip
    assert main([str(word) for word in words]) == 0
    said = capsys.readouterr()
    header, _, *rows, note = said.out.splitlines()
    assert header.split() == [
        "baseline", "ndcg@10", "coverage@5", "fit", "s", "ndcg@10", "less", "ease's"
    ]  # fmt: skip
    assert [row.split()[0] for row in rows] == ["popularity", "ease", "edlae"]
    assert note.startswith("60 users") and "95 % intervals" in note
    assert "fitting edlae ..." in said.err

    found = json.loads((tmp_path / "t.json").read_text())
    assert set(found["measured"]) == {"command", "time", "commit", "machine", "versions", "conditions"}
    assert found["reference"] == "ease" and found["split"] == "test"
    assert found["baselines"]["edlae"]["settings"] == {"regularization": 300.0, "dropout": 0.25, "user_weighting": 0.0}
    assert found["baselines"]["ease"]["differences"] == {}
    data = Dataset.open(tiny_data)
    models = {name: load(tmp_path / "models" / name, data) for name in ("popularity", "ease", "edlae")}
    expected = compare(models, data, "ndcg@10", reference="ease")
    for name in ("popularity", "edlae"):
        own = found["baselines"][name]
        assert own["metrics"]["ndcg@10"]["mean"] == pytest.approx(expected.loc[name, "mean"])
        difference = own["differences"]["ndcg@10"]
        assert [difference[k] for k in ("mean", "low", "high")] == pytest.approx(
            expected.loc[name, ["difference", "low", "high"]].tolist()
        )
        assert set(own["differences"]) == {"ndcg@10"}  # coverage is one value of all users


def test_tuning_chooses_on_validation_users(tiny_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Gram matrix is computed once, and the best of all combinations is the one that is kept."""
    from recsys_core.baselines import Edlae, gram

    calls = []
    real = gram.gram_matrix
    monkeypatch.setattr(gram, "gram_matrix", lambda *given: calls.append(1) or real(*given))
    monkeypatch.setattr(Edlae, "grid", {"regularization": (1.0, 100.0, 10_000.0), "dropout": (0.2, 0.6)})
    data = Dataset.open(tiny_data)
    metric = parsed_metrics(["ndcg@10"], data)[0]
    model, _, tried = baseline_table.tuned("edlae", data, {"dropout": 0.4}, None, metric)
    assert calls == [1]
    assert [dict(settings) for settings, _ in tried] == [
        {"regularization": 1.0}, {"regularization": 100.0}, {"regularization": 10_000.0}
    ]  # fmt: skip
    best = max(tried, key=lambda pair: pair[1])
    assert model.settings["model"].regularization == best[0]["regularization"]
    assert model.settings["model"].dropout == 0.4
    alone = Edlae(data, dropout=0.4, **best[0])
    alone.solve()
    assert model.weights.numpy() == pytest.approx(alone.weights.numpy(), abs=1e-6)


def test_metrics_of_a_data_set_with_candidates(tiny_pairs: Path, tiny_data: Path) -> None:
    pairs, users = Dataset.open(tiny_pairs), Dataset.open(tiny_data)
    assert [str(m) for m in parsed_metrics([], pairs)] == [
        "hr@10/sampled", "ndcg@10/sampled", "recall@10/all", "recall@50/all"
    ]  # fmt: skip
    assert [str(m) for m in parsed_metrics([], users)] == ["ndcg@100", "recall@20", "recall@50"]
    with pytest.raises(UserError, match="^hr@5/sampled needs lists of candidates, which .* has not; use hr@5/all$"):
        parsed_metrics(["hr@5/sampled"], users)


KNOWN = "popularity, ease, edlae, ials, bpr, itemknn"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], f"give --all, or --names with some of: {KNOWN}"),
        (["--all", "--names", "ease"], f"give --all, or --names with some of: {KNOWN}"),
        (["--names", "svd"], f"unknown baseline 'svd', known are: {KNOWN}"),
        (["--names", "ease", "--set", "ease=1"],
         "--set is 'ease=1', expected NAME.SETTING=VALUE, as edlae.dropout=0.33"),
        (["--names", "ease", "--set", "svd.k=1"], f"unknown baseline 'svd', known are: {KNOWN}"),
        (["--names", "ease", "--set", "bpr.factors=1"],
         "--set is 'bpr.factors=1', and bpr is not among the baselines: ease"),
        (["--names", "ease", "--set", "ease.l2=1"], "ease: unknown setting 'l2', known are: regularization"),
        (["--names", "edlae", "--set", "edlae.dropout=much"], "edlae: dropout is 'much', expected float"),
        (["--names", "ease", "--reference", "ials"], "--reference is ials, which is not among the baselines: ease"),
        (["--names", "ease", "--split", "train"], "unknown --split 'train', known are: valid, test"),
        (["--names", "ease", "--tune", "--final-fit"],
         "--final-fit leaves no validation items to choose or measure by; leave out --tune, and give what it chose by "
         "--set"),
        (["--names", "ease", "--seed", "-1"], "--seed is -1, expected a whole number from 0"),
        (["--names", "ease", "--metrics", "ndcg"], "unknown metric 'ndcg', "),
        (["--names", "ease", "--json", "no-such/f.json"], "--json is no-such/f.json, and its folder does not exist"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line(
    words: list[str], message: str, tiny_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--data", str(tiny_data), *words]) == 2
    said = capsys.readouterr()
    line = said.err.removeprefix("starting TensorFlow ...\n")
    assert line.startswith(f"error: {message}") and line.count("\n") == 1
    assert said.out == ""


def test_lines_of_a_long_fit() -> None:
    """Ten seconds after the last line at the soonest, and none after the last epoch."""
    now, lines = [0.0], list[str]()
    report = Lines("fitting ials", lines.append, clock=lambda: now[0])
    for done, time in [(1, 4.0), (2, 12.0), (3, 20.0), (4, 24.0), (5, 40.0)]:
        now[0] = time
        report(done, 5)
    assert lines == ["fitting ials: 2 of 5 epochs, 0:18 left", "fitting ials: 4 of 5 epochs, 0:06 left"]
