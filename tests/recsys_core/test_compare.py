"""`python -m recsys_core.compare` and `compare_runs`, on files of per-user values of small data sets."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from matplotlib.image import imread
from scipy import stats

from recsys_core import Dataset
from recsys_core.compare import compare_runs, main
from recsys_core.errors import UserError
from recsys_core.evaluation import user_values
from recsys_core.evaluation.difference_plot import HIGHER, LOWER, UNDECIDED, difference_figure
from recsys_core.files import write_json
from recsys_core.run_manifest import RunManifest
from tests.conftest import ROOT, _environment

USERS = 40
RNG = np.random.default_rng(0)
EASY = RNG.random(USERS)
"""How easy each user is: models differ far less than users do."""
UNCHANGED = slice(None)
NOISE = RNG.normal(0, 0.02, (3, USERS))


def split_data(seed: int = 0, kind: Any = str) -> Dataset:
    """120 users, of whom 40 are test users; ids of any type."""
    rng = np.random.default_rng(9)
    pairs = [(kind(user), f"i{item}") for user in range(1, 121) for item in rng.choice(15, 8, replace=False)]
    frame = pd.DataFrame(pairs, columns=["user", "item"])
    return Dataset.from_frame(frame).split("users", held_out=USERS, seed=seed)


@pytest.fixture(scope="module")
def data() -> Dataset:
    return split_data()


def write_run(
    folder: Path,
    data: Dataset,
    values: npt.NDArray,
    *,
    primary: str = "ndcg@100",
    order: Any = UNCHANGED,
    **more: Any,
) -> str:
    """A run folder with per-user values of test users: its model, and ease, which is 0.1 worse for every user.

    Args:
        order: of the users in the file.
        more: further metrics of the model.
    """
    settings = {"evaluation": {"primary": primary}}
    manifest = RunManifest(
        family="vaecf", config=settings, data=data.folder, fingerprint=data.fingerprint, view="", environment={}
    )
    folder.mkdir()
    manifest.write(folder)
    write_json(folder / "result.json", {})
    parts = [
        pd.DataFrame(
            {"split": "test", "user_id": user_values.user_ids(data, "test"), "model": name, "recall@20": 0.5}
            | {"ndcg@100": values - less}
            | more
        )
        for name, less in (("model", 0.0), ("ease", 0.1))
    ]
    user_values.write(folder / user_values.FILE, pd.concat([part.iloc[order] for part in parts]), data)
    return str(folder)


@pytest.fixture
def runs(data: Dataset, tmp_path: Path) -> list[str]:
    """A reference, a better model whose file has the users in another order, and one that is not to be told apart."""
    backwards = slice(None, None, -1)
    return [
        write_run(tmp_path / "a", data, EASY + NOISE[0]),
        write_run(tmp_path / "b", data, EASY + NOISE[1] + 0.03, order=backwards),
        write_run(tmp_path / "c", data, EASY + NOISE[2]),
    ]


def test_differences_by_an_independent_formula(runs: list[str]) -> None:
    found = compare_runs(runs)
    assert found.index.tolist() == runs
    assert found.loc[runs[0], ["difference", "low", "high", "p_t", "p_permutation_holm"]].isna().all()
    for name, noise in zip(runs[1:], (NOISE[1] + 0.03, NOISE[2]), strict=True):
        expected = stats.ttest_rel(EASY + noise, EASY + NOISE[0])
        low, high = expected.confidence_interval(0.95)
        row = found.loc[name]
        assert (row["low"], row["high"], row["p_t"]) == pytest.approx((low, high, expected.pvalue))
        assert row["difference"] == pytest.approx((noise - NOISE[0]).mean())
        assert row["mean"] == pytest.approx((EASY + noise).mean())
        assert row["standard_error"] == pytest.approx(stats.sem(EASY + noise))
        assert row["p_permutation"] == pytest.approx(row["p_t"], abs=0.02)
    assert found["users"].tolist() == [USERS] * 3
    better, alike = found.loc[runs[1]], found.loc[runs[2]]
    assert better["low"] > 0 and alike["low"] < 0 < alike["high"]
    assert better["p_t_holm"] == pytest.approx(2 * better["p_t"])
    assert alike["p_t_holm"] == pytest.approx(alike["p_t"])  # the larger of two


def test_a_baseline_is_a_run_and_a_reference(runs: list[str]) -> None:
    found = compare_runs([runs[0], f"{runs[0]}:ease"], "ndcg@100", reference=f"{runs[0]}:ease")
    row = found.loc[runs[0]]
    assert (row["difference"], row["low"], row["high"]) == pytest.approx((0.1, 0.1, 0.1))
    assert row["p_permutation"] == pytest.approx(2 / 10_000)


def test_a_file_is_a_run(runs: list[str]) -> None:
    files = [f"{run}/{user_values.FILE}" for run in runs[:2]]
    found = compare_runs([Path(files[0]), f"{files[1]}:ease"], "ndcg@100")
    assert found.index.tolist() == [files[0], f"{files[1]}:ease"]


def test_equal_models(runs: list[str]) -> None:
    row = compare_runs(runs[:2], "recall@20").loc[runs[1]]
    assert (row["difference"], row["low"], row["high"], row["p_t"], row["p_permutation"]) == (0, 0, 0, 1, 1)


@pytest.mark.parametrize("kind", [int, str, lambda k: UUID(int=k), lambda k: 2**62 + k])
def test_ids_of_any_type(kind: Any, tmp_path: Path) -> None:
    data = split_data(kind=kind)
    first = write_run(tmp_path / "a", data, EASY)
    second = write_run(tmp_path / "b", data, EASY + NOISE[0], order=np.random.default_rng(1).permutation(USERS))
    assert compare_runs([first, second]).loc[second, "difference"] == pytest.approx(NOISE[0].mean())
    stored = user_values.read(tmp_path / "a" / user_values.FILE).table["user_id"]
    expected = user_values.user_ids(data, "test")
    assert stored[:USERS].tolist() == (
        [str(i) for i in expected] if isinstance(expected[0], UUID) else expected.tolist()
    )


def test_users_without_a_value_are_left_out(data: Dataset, tmp_path: Path) -> None:
    values = EASY.copy()
    values[:3] = np.nan
    first, second = write_run(tmp_path / "a", data, values), write_run(tmp_path / "b", data, values + 0.01)
    assert compare_runs([first, second])["users"].tolist() == [USERS - 3] * 2


def test_the_primary_metric_of_the_first_run_is_taken(data: Dataset, tmp_path: Path) -> None:
    more = {"hr@10/sampled": EASY}
    first = write_run(tmp_path / "a", data, EASY, primary="hr@10", **more)
    second = write_run(tmp_path / "b", data, EASY, **more)
    assert compare_runs([first, second]).loc[first, "mean"] == pytest.approx(EASY.mean())
    assert compare_runs([second, first], "hr@10").loc[first, "mean"] == pytest.approx(EASY.mean())


def test_text_json_and_picture(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*runs, f"{runs[0]}:ease", "--json", str(tmp_path / "c.json"), "--picture", str(tmp_path / "c.png")]
    assert main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].split("  ")[0] == "run" and "ndcg@100" in said[0] and "95 % interval" in said[0]
    assert "reference" in said[2] and said[2].startswith(runs[0])
    assert said[-2:] == [
        "40 test users", "p values are corrected for 3 comparisons (Holm), intervals are for one each"
    ]  # fmt: skip
    found = json.loads((tmp_path / "c.json").read_text())
    assert set(found["measured"]) == {"command", "time", "commit", "machine", "versions", "conditions"}
    assert (found["metric"], found["split"], found["reference"], found["comparisons"]) == (
        "ndcg@100",
        "test",
        runs[0],
        3,
    )
    assert found["models"][runs[0]]["difference"] is None and found["models"][runs[0]]["users"] == 40
    table = compare_runs([*runs, f"{runs[0]}:ease"])
    assert found["models"][runs[1]]["low"] == pytest.approx(table.loc[runs[1], "low"])
    picture = imread(tmp_path / "c.png")
    assert picture.shape[1] > 600 and picture[:, :, :3].std() > 0.05


def test_the_picture_shows_each_interval(runs: list[str]) -> None:
    table = compare_runs([*runs, f"{runs[0]}:ease"])
    axes = difference_figure(table, runs[0], "ndcg@100", 0.95).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == [f"{runs[0]}:ease", runs[2], runs[1]]
    lines = [line for line in axes.lines if len(line.get_xdata()) == 2 and line.get_linewidth() == 2]
    assert [line.get_color() for line in lines] == [LOWER, UNDECIDED, HIGHER]
    for line, name in zip(lines, (f"{runs[0]}:ease", runs[2], runs[1]), strict=True):
        assert list(line.get_xdata()) == pytest.approx(table.loc[name, ["low", "high"]].tolist())


def refused(*words: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(list(words)) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ") and said.count("\n") == 1
    return said


def test_other_data_other_users_and_other_metrics_are_refused(
    runs: list[str], data: Dataset, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = write_run(tmp_path / "other", split_data(seed=1), EASY)
    said = refused(runs[0], other, capsys=capsys)
    assert f"{other} was evaluated on other data than {runs[0]} (fingerprints " in said
    part = write_run(tmp_path / "part", data, EASY, order=slice(0, 30))
    said = refused(runs[0], part, capsys=capsys)
    assert f"{part} was measured on other users than {runs[0]}: 30 and 40, of which 30 are the same" in said
    said = refused(runs[0], runs[1], "--metric", "ndcg@10", capsys=capsys)
    assert (
        f"{runs[0]} has no values of 'ndcg@10', it has: recall@20, ndcg@100; evaluate it with --metrics ndcg@10" in said
    )
    said = refused(runs[0], runs[1], "--metric", "coverage@10", capsys=capsys)
    assert "coverage@10 is one value of all users; compare takes metrics of each user: recall@20, ndcg@100" in said
    gaps = EASY.copy()
    gaps[5] = np.nan
    said = refused(runs[0], write_run(tmp_path / "gaps", data, gaps), capsys=capsys)
    assert "has values of other users than" in said


def test_what_the_user_may_get_wrong(runs: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, answer in (
        ([runs[0]], "1 run to compare, expected two or more"),
        ([runs[0], runs[0]], f"{runs[0]} is named twice"),
        ([*runs, "--reference", "d"], "reference is 'd', expected one of the runs: "),
        ([runs[0], f"{runs[1]}:bpr"], "has no baseline 'bpr', it has: ease; evaluate it with --baselines bpr"),
        ([runs[0], "nowhere"], "nowhere does not exist; give the folder of a run"),
        ([runs[0], str(tmp_path)], "holds no run (no run.json)"),
        ([*runs, "--split", "train"], "unknown split 'train', known are: valid, test"),
        ([*runs, "--split", "valid"], "has no values of split 'valid', only of: test; evaluate with --split valid"),
        ([*runs, "--picture", "c.bmp"], "--picture is 'c.bmp', expected a name that ends in one of: .png, .svg, .pdf"),
        ([*runs, "--confidence", "95"], "confidence is 95.0, expected a share between 0 and 1, as 0.95"),
        ([*runs, "--resamples", "0"], "--resamples is 0, expected a whole number from 1"),
    ):
        assert answer in refused(*words, capsys=capsys)


def test_a_run_of_an_earlier_version_names_the_command(runs: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(runs[1]) / user_values.FILE
    path.unlink()
    said = refused(*runs, capsys=capsys)
    assert f"make it: python -m vaecf.evaluate --run-dir {runs[1]} --per-user {path}" in said
    manifest = json.loads((Path(runs[1]) / "run.json").read_text())
    write_json(Path(runs[1]) / "run.json", manifest | {"family": "examples.linear_autoencoder"})
    assert "(an earlier version wrote it); train it again" in refused(*runs, capsys=capsys)
    (Path(runs[1]) / "result.json").unlink()
    assert "its training has not finished; go on with --resume" in refused(*runs, capsys=capsys)
    path.write_text("not Parquet")
    assert f"{path} holds no per-user values" in refused(*runs, capsys=capsys)
    pd.DataFrame({"user_id": [1]}).to_parquet(path)
    assert f"{path} holds no per-user values" in refused(*runs, capsys=capsys)


def test_errors_in_python_are_user_errors(runs: list[str]) -> None:
    with pytest.raises(UserError, match="named twice"):
        compare_runs([runs[0], runs[0]])


def test_neither_help_nor_comparing_imports_tensorflow(runs: list[str]) -> None:
    script = (
        f"import sys; from recsys_core.compare import main; main({runs[:2]!r})\n"
        "assert 'tensorflow' not in sys.modules and 'scipy.stats' in sys.modules\n"
        "try:\n    main(['--help'])\nexcept SystemExit: pass"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=_environment({}), check=True, capture_output=True)
