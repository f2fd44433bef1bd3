"""Search spaces: those of all presets, `--space`, and command lines that are refused. No TensorFlow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ncf_tf import config as ncf
from recsys_core.config import Preset
from recsys_core.search_space import Choice, Parameter, Real, Whole, label
from recsys_core.tuning.command import tune
from recsys_core.tuning.processes import gpus_of
from recsys_core.tuning.request import parse, seconds_of
from recsys_core.tuning.spaces import base_values, check_space, nested, space_of, with_settings
from recsys_core.tuning.study import distributions, first_trial, settings_of
from vaecf import config as vaecf

PRESETS = [
    pytest.param(preset, id=f"{family.SPEC.family} {name}")
    for family in (vaecf, ncf)
    for name, preset in family.PRESETS.items()
]
PLACES = ["--data", "d", "--out", "o"]


def drawn(parameter: Parameter, rng: np.random.Generator) -> Any:
    if isinstance(parameter, Choice):
        return parameter.values[rng.integers(len(parameter.values))]
    if isinstance(parameter, Whole):
        return int(rng.integers(parameter.low, parameter.high + 1))
    return float(rng.uniform(parameter.low, parameter.high))


@pytest.mark.parametrize("preset", PRESETS)
def test_every_value_that_a_preset_declares_can_be_used(preset: Preset) -> None:
    assert preset.search, "a preset declares what `tune` searches"
    check_space(preset.search, preset.config)
    rng = np.random.default_rng(0)
    for _ in range(50):
        with_settings(preset.config, {name: drawn(p, rng) for name, p in preset.search.items()})


@pytest.mark.parametrize("preset", PRESETS)
def test_the_first_trial_has_the_values_of_the_preset(preset: Preset) -> None:
    found, base = settings_of(preset.search, first_trial(preset.search, preset.config)), base_values(preset.config)
    for name, parameter in preset.search.items():
        if isinstance(parameter, Choice) or parameter.low <= base[name] <= parameter.high:
            assert found[name] == base[name], name
        else:
            assert found[name] in (parameter.low, parameter.high)


def test_a_setting_of_the_wrong_kind_or_name_in_a_declared_space() -> None:
    config = vaecf.PRESETS["paper"].config
    with pytest.raises(ValueError, match="the search space has unknown setting 'width', known are: epochs, batch_size"):
        check_space({"width": Whole(1, 2)}, config)
    with pytest.raises(ValueError, match=r"the search space has dropout 0.5..1: --dropout is 1.0, expected a share"):
        check_space({"dropout": Real(0.5, 1.0)}, config)
    with pytest.raises(ValueError, match="the search space has latent 1.5..2.5: latent is 1.5, expected int"):
        check_space({"latent": Real(1.5, 2.5)}, config)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Real(1.0, 1.0), "a range goes from 1.0 to 1.0, expected two finite numbers, the smaller one first"),
        (lambda: Whole(0, 5, log=True), "a logarithmic range starts at 0, expected more than 0"),
        (lambda: Real(0.0, float("nan")), "a range goes from 0.0 to nan"),
        (lambda: Choice(), "the values to choose from are none, expected different ones"),
        (lambda: Choice((600,), [600]), "the values to choose from are 600, 600, expected different ones"),
    ],
)
def test_parameters_without_values(make: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_space_of_a_command_line() -> None:
    given = [
        "latent=50..100",
        "l2=1e-5..1e-3",
        "anneal-cap=0.5",
        "hidden=none,600x200",
        "warmup=0..0.5",
        "kind=vae,dae",
    ]
    space = space_of(vaecf.PRESETS["paper"], given)
    assert space["latent"] == Whole(50, 100, log=True)  # the declared range has a logarithm
    assert space["l2"] == Real(1e-5, 1e-3, log=True)
    assert (space["anneal_cap"], space["hidden"]) == (Choice(0.5), Choice((), (600, 200)))
    assert (space["warmup"], space["kind"]) == (Real(0.0, 0.5), Choice("vae", "dae"))
    assert space["dropout"] == vaecf.PRESETS["paper"].search["dropout"]
    assert str(space["l2"]) == "1e-05..0.001 (log)" and str(space["hidden"]) == "none,600x200"
    assert set(distributions(space)) == set(space) - {"anneal_cap"}
    assert space_of(ncf.PRESETS["tuned"], ["biases=yes,no"])["biases"] == Choice(True, False)


def test_values_that_are_sampled_become_settings() -> None:
    space: dict[str, Parameter] = {
        "learning_rate": Real(1e-4, 1e-2, log=True),
        "hidden": Choice((), (600, 200)),
        "epochs": Choice(7),
    }
    found = settings_of(space, {"learning_rate": 0.00123456, "hidden": "600x200"})
    assert found == {"learning_rate": 0.001235, "hidden": (600, 200), "epochs": 7}
    assert nested(vaecf.PRESETS["paper"].config, found) == {
        "model": {"hidden": [600, 200]},
        "training": {"learning_rate": 0.001235, "epochs": 7},
    }
    assert [label(v) for v in (True, 0.12345, (), (600, 200), "tanh")] == ["yes", "0.1235", "none", "600x200", "tanh"]


def test_a_value_outside_a_space_is_moved_into_it() -> None:
    assert Real(1e-6, 1e-2, log=True).nearest(0.0) == 1e-6
    assert Whole(64, 512).nearest(1000) == 512
    assert Choice(100, 500, 1000).nearest(400) == 500
    assert Choice((300,), (600,)).nearest(()) == (300,)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--budget", "0s"], "--budget is 0s, expected more than nothing, as 30m"),
        (["--budget", "an hour"], "--budget is 'an hour', expected a time as 1h, 30m or 90s"),
        (["--trials", "0"], "--trials is 0, expected a whole number from 1"),
        (["--workers", "0"], "--workers is 0, expected a whole number from 1"),
        (["--preset", "fast"], "unknown preset 'fast', known are: paper, shallow, nvidia, quick"),
        (["--metric", "ndcg"], "unknown metric 'ndcg', expected NAME@K"),
        (["--metric", "gini@10"], "--metric: gini@10 cannot decide, because a higher value is no better"),
        (["--space", "width=1..2"], "--space has unknown setting 'width', known are: epochs, batch_size, "),
        (["--space", "seed=1..2"], "--space has unknown setting 'seed', known are: epochs, "),
        (["--space", "latent"], "--space is 'latent', expected NAME=LOW..HIGH, NAME=A,B,C or NAME=VALUE"),
        (["--space", "latent=1.5..2"], "--space latent=1.5..2: '1.5' is given, expected a whole number"),
        (["--space", "latent=5..2"], "--space latent=5..2: a range goes from 5 to 2, expected two finite numbers"),
        (["--space", "latent=2..5:exp"], "--space latent=2..5:exp: 'exp' follows the range, expected :log or nothing"),
        (["--space", "hidden=1..9"], "--space hidden=1..9: this setting has no range; give the values to choose from"),
        (["--space", "kind=vae,gan"], "the search space has kind vae,gan: unknown --kind 'gan', known are: vae, dae"),
    ],
)
def test_command_lines_that_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parse(vaecf.SPEC, [*PLACES, *words])
    assert str(caught.value).startswith(message)


def test_nothing_to_search() -> None:
    fixed = [f"{name}={label(p.examples()[0])}" for name, p in vaecf.PRESETS["shallow"].search.items()]
    with pytest.raises(ValueError, match="there is nothing to search; give ranges, as --space learning_rate="):
        parse(vaecf.SPEC, [*PLACES, "--preset", "shallow", "--space", *fixed])


def test_a_whole_command_line() -> None:
    got = parse(vaecf.SPEC, [*PLACES, "--preset", "shallow", "--trials", "5", "--space", "epochs=50"])
    assert (got.budget, got.trials, got.workers, got.ranks, got.metric) == (None, 5, 1, 1, "ndcg@100")
    assert (got.evaluate_every, got.out, got.space["epochs"]) == (2, Path("o").absolute(), Choice(50))
    assert (parse(vaecf.SPEC, PLACES).budget, parse(vaecf.SPEC, PLACES).evaluate_every) == (3600, 10)
    assert [seconds_of(text) for text in ("1h", "30m", "90s", "1h30m", "0.5h")] == [3600, 1800, 90, 5400, 1800]


@pytest.mark.parametrize(
    ("visible", "ranks", "expected"),
    [
        ("0,1,2,3", 1, ["0", "1", "2", "3", "0"]),
        ("4,5,6", 2, ["4,5", "4,5", "4,5", "4,5", "4,5"]),
        ("0,1,2,3", 2, ["0,1", "2,3", "0,1", "2,3", "0,1"]),
        ("0", 1, [None] * 5),
        ("", 1, [None] * 5),
    ],
)
def test_gpus_are_divided_among_workers(
    visible: str, ranks: int, expected: list[str | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpus_of(place, ranks) for place in range(5)] == expected


def test_a_launcher_does_not_start_a_search(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "2")
    assert tune(vaecf.SPEC, PLACES) == 2
    assert capsys.readouterr().err == "error: start tune without a launcher; --ranks N gives each trial N processes\n"
