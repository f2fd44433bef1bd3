"""The study file: the same trials again, a search that was killed, one of something else, and its answer."""

from __future__ import annotations

import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from recsys_core import flags
from recsys_core.errors import UserError
from recsys_core.tuning.answer import write_preset_file
from recsys_core.tuning.picture import search_figure
from recsys_core.tuning.report import best_of, clock, table
from recsys_core.tuning.request import SearchRequest, parse
from recsys_core.tuning.study import Outcome, Study
from tests.pictures import assert_room, assert_units
from vaecf import config as vaecf

WORDS = ["--data", "d", "--preset", "shallow", "--trials", "30", "--space", "epochs=100"]


def request(out: Path, *words: str) -> SearchRequest:
    out.mkdir(exist_ok=True)
    return parse(vaecf.SPEC, [*WORDS, "--out", str(out), *words])


def value_of(settings: dict[str, Any]) -> float:
    """A metric with one best point."""
    return 0.5 - 0.01 * math.log(settings["learning_rate"] / 2e-3) ** 2 - 0.1 * (settings["dropout"] - 0.6) ** 2


def end(study: Study, trial: Any, state: str = "complete") -> Outcome:
    settings = study.settings(trial)
    value = None if state == "failed" else value_of(settings)
    reason = "step 7: loss is nan" if state == "failed" else ""
    outcome = Outcome(
        number=trial.number, settings=settings, state=state, value=value, error=0.006, epoch=50.0, seconds=2.5,
        reason=reason,
    )  # fmt: skip
    study.finish(trial, outcome)
    return outcome


def trials(study: Study, count: int) -> list[dict[str, Any]]:
    return [dict(end(study, study.ask()).settings) for _ in range(count)]


def test_a_killed_search_makes_the_trials_of_one_that_was_not(tmp_path: Path) -> None:
    whole = trials(Study(request(tmp_path / "a"), "data"), 14)
    first = Study(request(tmp_path / "b"), "data")
    killed = trials(first, 3)
    first.ask()  # running when the process is killed
    second = Study(request(tmp_path / "b"), "data")
    assert len(second.finished) == 3
    killed += trials(second, 9)
    second.ask()
    third = Study(request(tmp_path / "b"), "data")
    killed += trials(third, 2)
    assert killed == whole
    assert len({tuple(sorted(t.items())) for t in whole}) == 14
    assert [o.number for o in third.finished] == [0, 1, 2, *range(4, 13), 14, 15]


def test_two_running_trials_are_made_again_each_once(tmp_path: Path) -> None:
    first = Study(request(tmp_path), "data")
    lost = [first.settings(first.ask()), first.settings(first.ask())]
    second = Study(request(tmp_path), "data")
    again = [second.settings(second.ask()) for _ in range(3)]
    assert again[:2] == lost and again[2] not in lost


def test_another_seed_makes_other_trials(tmp_path: Path) -> None:
    same, other = (trials(Study(request(tmp_path / s, "--seed", s), "data"), 3) for s in "01")
    assert same[0] == other[0]  # the preset's own values
    assert same[0]["learning_rate"] == 1e-3 and same[0]["l2"] == 5e-4 and same[0]["epochs"] == 100
    assert same[1:] != other[1:]


def test_the_sampler_learns(tmp_path: Path) -> None:
    study = Study(request(tmp_path), "data")
    values = [value_of(s) for s in trials(study, 24)]
    assert max(values) > 0.49
    assert sum(values[14:]) / 10 > sum(values[1:11]) / 10
    assert set(study.importances) == set(vaecf.DAE_SEARCH)


@pytest.mark.parametrize(
    ("words", "data", "message"),
    [
        (["--preset", "paper"], "data", "holds a search of preset shallow, this one is of preset paper"),
        (["--metric", "recall@20"], "data", "of metric ndcg@100, this one is of metric recall@20"),
        (["--seed", "3"], "data", "holds a search of seed 0, this one is of seed 3"),
        ([], "other", r"holds a search on another data set \(data, this one is other\)"),
        (["--space", "epochs=100", "latent=8..9"], "data", r"over latent 64..512 \(log\), this one has latent 8..9"),
        (["--space", "epochs=100", "warmup=0,0.1"], "data", "over warmup left as it is, this one has warmup 0,0.1"),
    ],
)
def test_a_study_of_something_else(words: list[str], data: str, message: str, tmp_path: Path) -> None:
    Study(request(tmp_path), "data")
    with pytest.raises(UserError, match=message):
        Study(request(tmp_path, *words), data)


def test_a_study_of_a_preset_with_other_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Study(request(tmp_path), "data")
    preset = vaecf.PRESETS["shallow"]
    config = replace(preset.config, training=replace(preset.config.training, beta2=0.98))
    monkeypatch.setitem(vaecf.PRESETS, "shallow", replace(preset, config=config))
    with pytest.raises(UserError, match="a search of a preset with beta2 0.999, this one has beta2 0.98"):
        Study(request(tmp_path), "data")


def test_a_file_that_is_no_study(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database " * 100)
    with pytest.raises(UserError, match="study.db cannot be used as a study: .*; choose another --out"):
        Study(request(tmp_path), "data")


def test_optuna_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match="Optuna, which is not installed: pip install optuna==5.0.0"):
        Study(request(tmp_path), "data")


def test_pruning_by_the_median(tmp_path: Path) -> None:
    study = Study(request(tmp_path), "data")
    for _ in range(5):
        trial = study.ask()
        assert not any(study.report(trial, epoch, 0.4) for epoch in (10.0, 30.0, 100.0))
        end(study, trial)
    bad, good = study.ask(), study.ask()
    assert [study.report(bad, epoch, 0.3) for epoch in (10.0, 30.0)] == [False, True]  # never in the first fifth
    assert not study.report(good, 30.0, 0.5)
    unpruned = Study(request(tmp_path, "--pruner", "none"), "data")
    trial = unpruned.ask()
    assert not unpruned.report(trial, 30.0, 0.0)


def test_the_answer(tmp_path: Path) -> None:
    asked = request(tmp_path, "--metric", "recall@20")
    study = Study(asked, "data")
    trials(study, 12)
    end(study, study.ask(), "failed")
    end(study, study.ask(), "pruned")
    done, best = study.finished, best_of(study.finished)
    assert best is not None and best.value == max(value_of(dict(o.settings)) for o in done[:12])
    assert [o.state for o in done[12:]] == ["failed", "pruned"] and done[12].reason == "step 7: loss is nan"
    write_preset_file(asked, best, done)
    text = (tmp_path / "best.yaml").read_text()
    assert f"trial {best.number} of 14 (12 complete, 1 pruned, 1 failed)" in text
    assert f"Validation recall@20: {best.value:.4f} ± 0.0060 at epoch 50" in text
    assert "Found by: python -m vaecf.tune --data d --preset shallow --trials 30 --space epochs=100 --out" in text
    assert yaml.safe_load(text)["preset"] == "shallow"
    got = flags.parse(vaecf.SPEC, ["--data", "d", "--run-dir", "r", "--preset", str(tmp_path / "best.yaml")]).config
    assert (got.preset, got.model.kind, got.training.epochs, got.training.evaluate_every) == ("shallow", "dae", 100, 5)
    assert (got.evaluation.primary, got.training.learning_rate) == ("recall@20", best.settings["learning_rate"])
    assert got.model.latent == best.settings["latent"]
    shown = table(asked, done, study.importances).splitlines()
    assert len(shown) == 2 + 5 + 1 and shown[2].startswith(f"{best.number} ") and shown[-1].startswith("importance")
    assert "epochs" not in shown[0]
    assert [clock(s) for s in (0, 59.6, 3661)] == ["0:00", "1:00", "1:01:01"]


def test_the_picture(tmp_path: Path) -> None:
    asked = request(tmp_path, "--preset", "paper")
    study = Study(asked, "data")
    trials(study, 6)
    end(study, study.ask(), "pruned")
    end(study, study.ask(), "failed")
    figure = search_figure("title", "ndcg@100", asked.space, study.finished)
    assert len(figure.axes) == 1 + len(vaecf.VAE_SEARCH)
    assert_units(figure)
    assert_room(figure, 11.0)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "pruned trial" in texts and any(text.startswith("best: 0.") for text in texts)
    assert figure.axes[1].get_xlabel() == "learning_rate (log scale)"
