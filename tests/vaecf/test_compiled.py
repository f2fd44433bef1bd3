"""`recommend_compiled` gives the answers of `recommend`, also after a SavedModel is loaded, and is compiled there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from recsys_core import Dataset
from recsys_core.compiled import compiled_top_k, padded_size
from recsys_core.evaluation.baselines import Ease, Popularity
from recsys_core.input.batches import Histories, rows_of
from recsys_core.model import Recommender
from recsys_core.rankings import answers_agree
from recsys_core.signatures import HistoryModule, compiled_signature
from tests.models import vae
from vaecf.model import MultVae

Answers = dict[str, npt.NDArray]
NONE = -np.inf


def requests(n_items: int, batch: int, length: int, seed: int = 0) -> npt.NDArray[np.int32]:
    """Histories of several lengths, padded in places of any kind; the first is empty."""
    rng = np.random.default_rng(seed)
    rows = np.full((batch, length), n_items, np.int32)
    for k, row in enumerate(rows):
        count = min(k, length)
        row[rng.permutation(length)[:count]] = rng.choice(n_items, count, replace=False)
    return rows


def answers(function: object, item_ids: npt.NDArray[np.int32]) -> Answers:
    return {n: t.numpy() for n, t in function(item_ids=tf.constant(item_ids)).items()}  # type: ignore[operator]


def drawn(model: MultVae) -> MultVae:
    """The model with parameters so large that scores differ."""
    rng = np.random.default_rng(1)
    for variable in model.parameters:
        variable.assign(rng.normal(0, 0.3, variable.shape))
    return model


@pytest.mark.parametrize(("size", "smallest", "expected"), [
    (0, 1, 1), (1, 1, 1), (2, 1, 2), (3, 1, 4), (4, 1, 4), (5, 1, 8), (1024, 1, 1024), (1025, 1, 2048), (3, 16, 16),
    (17, 16, 32), (2**30, 1, 2**30),
])  # fmt: skip
def test_sizes_are_powers_of_two(size: int, smallest: int, expected: int) -> None:
    assert int(padded_size(tf.constant(size), smallest)) == expected


@pytest.mark.parametrize(("n_items", "top_k"), [(23, 5), (63, 63), (64, 10), (400, 3), (700, 10)])
@pytest.mark.parametrize(("batch", "length"), [(1, 1), (5, 20), (3, 0), (0, 4)])
def test_the_answers_of_recommend(n_items: int, top_k: int, batch: int, length: int) -> None:
    """With few items whole rows are sorted, with many (400 and 3, 700 and 10) the groups that hold the best."""
    module = HistoryModule(drawn(vae(n_items, hidden=(12,), latent=6)), top_k)
    item_ids = requests(n_items, batch, length)
    expected, got = answers(module.recommend, item_ids), answers(module.recommend_compiled, item_ids)
    assert got["items"].shape == got["scores"].shape == (batch, top_k)
    assert (got["items"].dtype, got["scores"].dtype) == (np.int32, np.float32)
    assert answers_agree(expected, got)


@pytest.mark.parametrize("n_items", [4, 500])
def test_nothing_left_is_marked(n_items: int) -> None:
    module = HistoryModule(vae(n_items, hidden=(3,), latent=2), 4)
    left = {n_items - 1, 1}
    item_ids = np.array([[k for k in range(n_items) if k not in left] + [n_items] * 3], np.int32)
    got = answers(module.recommend_compiled, item_ids)
    assert set(got["items"][0, :2]) == left
    assert got["items"][0, 2:].tolist() == [-1, -1]
    assert got["scores"][0, 2:].tolist() == [NONE, NONE]


@pytest.mark.parametrize("padding", [500, 501, 2**31 - 1])
def test_every_id_from_the_item_count_on_is_padding(padding: int) -> None:
    module = HistoryModule(vae(500, hidden=(3,), latent=2), 3)
    one, other = (answers(module.recommend_compiled, np.array([[3, p, 499]], np.int32)) for p in (500, padding))
    assert (one["items"] == other["items"]).all() and (one["scores"] == other["scores"]).all()


@pytest.mark.parametrize("n_items", [9, 512])
def test_of_equal_items_the_lower_is_first(n_items: int) -> None:
    scores = np.zeros((1, n_items), np.float32)
    scores[0, [7, 2]] = 2
    scores[0, 5] = 3
    best = tf.function(compiled_top_k(lambda item_ids: tf.constant(scores), n_items, 6))
    got = {n: t.numpy() for n, t in best(tf.constant([[0, 7]])).items()}
    assert got["items"].tolist() == [[5, 2, 1, 3, 4, 6]]
    assert got["scores"].tolist() == [[3, 2, 0, 0, 0, 0]]


def test_a_saved_model_compiles_it_too(tmp_path: Path) -> None:
    module = HistoryModule(drawn(vae(700, hidden=(12,), latent=6)), 10)
    tf.saved_model.save(module, str(tmp_path), signatures={"recommend_compiled": module.recommend_compiled})
    loaded = tf.saved_model.load(str(tmp_path)).signatures["recommend_compiled"]
    for item_ids in (requests(700, 1, 3), requests(700, 33, 40)):
        assert answers_agree(answers(module.recommend, item_ids), answers(loaded, item_ids))
    library = loaded.graph.as_graph_def().library.function
    compiled = [f.signature.name for f in library if f.attr["_XlaMustCompile"].b]
    assert any("hidden_scores" in name for name in compiled), "the loaded graph is not compiled"


@pytest.mark.parametrize("kind", ["vae", "dae"])
@pytest.mark.parametrize("hidden", [(), (12,), (14, 10)])
def test_compiled_scores_are_the_scores(kind: str, hidden: tuple[int, ...]) -> None:
    model = drawn(vae(23, kind=kind, hidden=hidden, latent=6))
    model.compute = tf.bfloat16  # trained in it; scores are float32
    item_ids = tf.constant(requests(23, 6, 5))
    compiled = tf.function(model.compiled_scores, jit_compile=True)(item_ids)
    assert compiled.dtype == tf.float32
    assert compiled.numpy() == pytest.approx(model.padded_scores(item_ids).numpy(), abs=1e-5)


@pytest.mark.parametrize("kind", [Popularity, Ease])
def test_baselines_are_compiled(kind: type[Recommender]) -> None:
    model = kind(Dataset.empty(1, 30))
    model.allocate()
    (model.counts if kind is Popularity else model.weights).assign_add(  # type: ignore[attr-defined]
        np.random.default_rng(0).normal(size=(30,) if kind is Popularity else (30, 30))
    )
    module = HistoryModule(model, 5)
    item_ids = requests(30, 4, 6)
    assert answers_agree(answers(module.recommend, item_ids), answers(module.recommend_compiled, item_ids))


class SparseOnly(Recommender):
    """A model of somebody's own that has `scores` only, in TensorFlow's sparse kernels: the items' own numbers."""

    def scores(self, histories: Histories) -> tf.Tensor:
        rows = tf.size(histories.row_splits) - 1
        where = tf.stack([rows_of(histories.row_splits), tf.cast(histories.item_ids, tf.int64)], axis=1)
        shape = tf.cast(tf.stack([rows, self.n_items]), tf.int64)
        history = tf.SparseTensor(where, tf.ones([tf.size(histories.item_ids)]), shape)
        return tf.sparse.sparse_dense_matmul(history, tf.eye(self.n_items)[:, ::-1])


class Texts(SparseOnly):
    """A model in operators that XLA does not have."""

    def padded_scores(self, item_ids: tf.Tensor) -> tf.Tensor:
        lengths = tf.strings.length(tf.strings.as_string(item_ids))
        return tf.cast(tf.reduce_sum(lengths, axis=1, keepdims=True), tf.float32) * tf.ones([1, self.n_items])


def test_a_model_that_has_scores_only() -> None:
    module = HistoryModule(SparseOnly(Dataset.empty(1, 9)), 3)
    asked = {"item_ids": requests(9, 4, 3)}
    made = compiled_signature("films", module.recommend_compiled, asked, module.recommend)
    for signature in made.values():  # XLA takes sparse products on CPUs
        assert answers_agree(answers(module.recommend, **asked), answers(signature.function, **asked))


def test_a_model_that_xla_cannot_compile(capsys: pytest.CaptureFixture[str]) -> None:
    module = HistoryModule(Texts(Dataset.empty(1, 9)), 3)
    asked = {"item_ids": requests(9, 2, 3)}
    assert compiled_signature("films", module.recommend_compiled, asked, module.serving) == {}
    said = capsys.readouterr().err
    assert said.startswith("the export has no signature films: XLA cannot compile it: ") and said.count("\n") == 1


def test_a_signature_with_other_answers_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (HistoryModule(drawn(vae(30, hidden=(12,), latent=6)), k) for k in (3, 4))
    asked = {"item_ids": requests(30, 2, 3)}
    assert compiled_signature("films", one.recommend_compiled, asked, other.recommend) == {}
    assert capsys.readouterr().err == (
        "the export has no signature films: its answers are not those of the reference\n"
    )
