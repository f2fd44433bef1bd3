"""GMF, MLP and NeuMF against an independent forward pass in NumPy, their start, dropout, and merging of two towers."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

import ncf_tf.network
from ncf_tf.dropout import Dropping
from ncf_tf.lookup import Projected
from ncf_tf.model import NeuMf
from ncf_tf.pretraining import merge
from recsys_core.config import TrainingConfig
from recsys_core.world import World
from tests.models import neumf

USERS, ITEMS, FACTORS = 6, 11, 5
TOWER = (8, 7, 3)
KINDS = ("gmf", "mlp", "neumf")
STEP = tf.constant(4, tf.int64)


def randomised(kind: str, seed: int = 0, tower: tuple[int, ...] = TOWER, **options: Any) -> NeuMf:
    """A model whose every parameter is random, biases too."""
    compute = options.pop("compute", tf.float32)
    model = neumf(USERS, ITEMS, kind=kind, factors=FACTORS, layers=tower, **options)
    model.compute = compute
    model.prepare_training(TrainingConfig(batch_size=5), World())
    rng = np.random.default_rng(seed)
    for variable in model.parameters:
        variable.assign(rng.normal(0, 0.5, variable.shape))
    return model


def forward(model: NeuMf, user: int, item: int) -> float:
    """He et al. 2017, equations 9 to 12, for one pair in float64."""
    last: list[float] = []
    if model.gmf is not None:
        p, q = (t.numpy().astype(np.float64) for t in (model.gmf.users, model.gmf.items))
        last += (p[user] * q[item]).tolist()
    if model.mlp is not None:
        p, q = (t.numpy().astype(np.float64) for t in (model.mlp.users, model.mlp.items))
        z = np.concatenate([p[user], q[item]])
        for kernel, bias in zip(model.mlp.kernels, model.mlp.biases, strict=True):
            z = np.maximum(0, kernel.numpy().astype(np.float64).T @ z + bias.numpy())
        last += z.tolist()
    return float(np.dot(model.output.numpy()[:, 0].astype(np.float64), last) + model.bias.numpy()[0])


def table(model: NeuMf) -> npt.NDArray[np.float64]:
    """[U, I]"""
    return np.array([[forward(model, u, i) for i in range(ITEMS)] for u in range(USERS)])


def logits(model: NeuMf, users: npt.ArrayLike, items: npt.ArrayLike, dropping: Dropping | None = None) -> npt.NDArray:
    rows = model.look_up(tf.constant(users, tf.int32), tf.constant(items, tf.int32))
    return model.logits(rows, dropping).numpy()


def all_pairs(model: NeuMf) -> npt.NDArray:
    return logits(model, np.arange(USERS), np.tile(np.arange(ITEMS), (USERS, 1)))


@pytest.mark.parametrize("tower", [(8, 3), (8, 7, 3), (4, 9, 5, 2)])
@pytest.mark.parametrize("kind", KINDS)
def test_logits_equal_the_papers_equations(kind: str, tower: tuple[int, ...]) -> None:
    model = randomised(kind, tower=tower)
    expected = table(model)
    assert all_pairs(model) == pytest.approx(expected, abs=1e-5)
    users, items = [3, 0, 3], [[1, 1], [10, 4], [0, 7]]
    assert logits(model, users, items) == pytest.approx(expected[np.array(users)[:, None], items], abs=1e-5)


def test_a_logit_by_hand() -> None:
    model = neumf(1, 2, factors=2, layers=(2, 2))
    assert model.gmf is not None and model.mlp is not None
    for variable, value in (
        (model.gmf.users, [[2, 3]]),
        (model.gmf.items, [[0, 0], [5, -1]]),
        (model.mlp.users, [[1]]),
        (model.mlp.items, [[0], [4]]),
        (model.mlp.kernels[0], [[1, 2], [10, -20]]),  # the user's row, the item's row
        (model.mlp.biases[0], [3, 3]),
        (model.output, [[1], [2], [3], [7]]),
        (model.bias, [0.5]),
    ):
        variable.assign(value)
    # GMF: 2 * 5 * 1 + 3 * -1 * 2 = 4; MLP: relu(1 + 40 + 3) = 44, relu(2 - 80 + 3) = 0, so 132; bias 0.5
    assert logits(model, [0], [[1]]).tolist() == [[136.5]]


@pytest.mark.parametrize("numbers", [1, 40, 100, 1 << 25])
@pytest.mark.parametrize("kind", KINDS)
def test_the_catalogue_is_all_pairs(kind: str, numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ncf_tf.network, "SCORED_NUMBERS", numbers)
    model = randomised(kind)
    expected = table(model)
    for users in ([0, 1, 2, 3, 4, 5], [4, 4, 1], [2], []):
        ids = tf.constant(users, tf.int32)
        in_graph = tf.function(model.catalogue, input_signature=[tf.TensorSpec([None], tf.int32)])
        for got in (model.catalogue(ids).numpy(), in_graph(ids).numpy()):
            assert got.shape == (len(users), ITEMS)
            assert got == pytest.approx(expected[users], abs=1e-5)


def test_initial_values() -> None:
    model = neumf(3000, 2000, factors=8, layers=(64, 32, 16, 8), seed=3)
    assert model.mlp is not None
    assert [tuple(t.shape) for t in model.tables] == [(3000, 8), (2000, 8), (3000, 32), (2000, 32)]
    for embeddings in model.tables:
        values = embeddings.numpy()
        assert values.mean() == pytest.approx(0, abs=5e-4)
        assert values.std() == pytest.approx(0.01, rel=0.03)
        assert np.abs(values).max() > 0.03  # a normal distribution, not a uniform one
    assert [tuple(k.shape) for k in model.kernels] == [(64, 32), (32, 16), (16, 8), (16, 1)]
    limits = [np.sqrt(6 / 96), np.sqrt(6 / 48), np.sqrt(6 / 24), np.sqrt(3 / 16)]
    for kernel, limit in zip(model.kernels, limits, strict=True):
        assert 0.75 * limit < np.abs(kernel.numpy()).max() <= limit
    assert model.mlp.kernels[0].numpy().std() == pytest.approx(limits[0] / np.sqrt(3), rel=0.05)
    assert not any(b.numpy().any() for b in (*model.mlp.biases, model.bias))
    for a, b in itertools.combinations(model.tables, 2):
        assert not (a.numpy()[:2000, :8] == b.numpy()[:2000, :8]).any()


def test_the_output_limit_follows_what_there_is() -> None:
    for kind, width in (("gmf", 48), ("mlp", 100), ("neumf", 148)):
        values = neumf(2, 2, kind=kind, factors=48, layers=(4, 100)).output.numpy()
        assert values.shape == (width, 1)
        assert 0.85 * np.sqrt(3 / width) < np.abs(values).max() <= np.sqrt(3 / width)


def test_seeds_repeat_and_towers_start_alike() -> None:
    def build(kind: str, seed: int) -> NeuMf:
        return neumf(USERS, ITEMS, kind=kind, factors=FACTORS, layers=TOWER, seed=seed)

    both, again, other = build("neumf", 1), build("neumf", 1), build("neumf", 2)
    for a, b, c in zip(both.parameters, again.parameters, other.parameters, strict=True):
        assert (a.numpy() == b.numpy()).all()
        assert (a.numpy() != c.numpy()).any() or not a.numpy().any()
    assert len(both.parameters) == 4 + 3 + 3
    for kind in ("gmf", "mlp"):
        ours, theirs = getattr(both, kind), getattr(build(kind, 1), kind)
        assert len(ours.variables) == len(theirs.variables) == (2 if kind == "gmf" else 6)
        for a, b in zip(ours.variables, theirs.variables, strict=True):
            assert (a.numpy() == b.numpy()).all()


def test_parameters_are_all_variables_once() -> None:
    for kind in KINDS:
        model = neumf(USERS, ITEMS, kind=kind, factors=FACTORS, layers=TOWER)
        assert {v.ref() for v in model.parameters} == {v.ref() for v in model.trainable_variables}
        assert len({v.ref() for v in model.parameters}) == len(model.parameters)


@pytest.mark.parametrize("rate", [0.1, 0.25, 0.5, 0.7])
def test_a_mask_drops_the_asked_share(rate: float) -> None:
    samples = tf.reshape(tf.range(4000, dtype=tf.int64), [1000, 4])
    ones = tf.ones([4000, 37])
    dropped = Dropping(STEP, samples).of_samples(ones, 9, rate).numpy()
    assert set(np.unique(dropped)) == {np.float32(0), np.float32(1) / np.float32(1 - rate)}
    kept = dropped > 0
    assert kept.mean() == pytest.approx(1 - rate, abs=0.006)
    assert kept.mean(axis=0) == pytest.approx(1 - rate, abs=0.04)
    assert dropped.mean() == pytest.approx(1, abs=0.02)
    correlation = np.corrcoef(kept.T)
    assert np.abs(correlation - np.eye(37)).max() < 0.09
    other_step = Dropping(STEP + 1, samples).of_samples(ones, 9, rate).numpy() > 0
    other_key = Dropping(STEP, samples).of_samples(ones, 10, rate).numpy() > 0
    for other in (other_step, other_key, np.roll(kept, 1, axis=0)):
        assert abs(np.corrcoef(kept.ravel(), other.ravel())[0, 1]) < 0.02


def many(rows: int, columns: int, step: int = 4) -> Dropping:
    samples = np.arange(rows * columns).reshape(rows, columns)
    return Dropping(tf.constant(step, tf.int64), tf.constant(samples, tf.int64))


@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_dropout_keeps_the_expectation(rate: float) -> None:
    """The logit is linear in the last hidden layer, so the mean over many samples is the logit without dropout."""
    model = randomised("neumf", tower=(8, 30), dropout=rate)
    got = logits(model, [2] * 20000, [[5]] * 20000, many(20000, 1))
    assert got.std() > 0.1
    assert got.mean() == pytest.approx(forward(model, 2, 5), abs=4 * got.std() / np.sqrt(20000))


def test_embedding_dropout_keeps_the_expectation() -> None:
    model = randomised("gmf", embedding_dropout=0.3)
    got = logits(model, [2] * 20000, [[5]] * 20000, many(20000, 1))
    assert got.std() > 0.1
    assert got.mean() == pytest.approx(forward(model, 2, 5), abs=4 * got.std() / np.sqrt(20000))


def ones(kind: str, tower: tuple[int, ...], **options: Any) -> NeuMf:
    """A model of width 1 in which every unit is 1, so that a logit is a product of kept units."""
    model = neumf(1, 1, kind=kind, factors=1, layers=tower, **options)
    for variable in (*model.tables, *model.kernels):
        variable.assign(tf.ones_like(variable))
    if model.mlp is not None:
        model.mlp.kernels[0].assign(tf.fill(model.mlp.kernels[0].shape, 0.5))
    return model


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_hidden_layers_drop_independently(depth: int) -> None:
    model = ones("mlp", (2, *[1] * depth), dropout=0.5)
    got = logits(model, [0] * 5000, [[0, 0]] * 5000, many(5000, 2))
    assert set(np.unique(got)) == {0.0, 2.0**depth}
    kept = got > 0
    assert kept.mean() == pytest.approx(0.5**depth, abs=0.02)
    assert (kept[:, 0] & kept[:, 1]).mean() == pytest.approx(0.25**depth, abs=0.02)


def test_embeddings_drop_independently_and_a_user_once_a_pair() -> None:
    model = ones("gmf", (2, 1), embedding_dropout=0.5)
    got = logits(model, [0] * 10000, [[0, 0]] * 10000, many(10000, 2))
    assert set(np.unique(got)) == {0.0, 4.0}
    kept = got > 0
    assert kept.mean() == pytest.approx(1 / 4, abs=0.015)
    assert (kept[:, 0] & kept[:, 1]).mean() == pytest.approx(1 / 8, abs=0.015)  # 1/16 if the user's were drawn twice


def test_mlp_embeddings_drop_too() -> None:
    model = ones("mlp", (2, 1), embedding_dropout=0.5)
    got = logits(model, [0] * 10000, [[0]] * 10000, many(10000, 1))  # 0.5 * (2 or 0) + 0.5 * (2 or 0)
    assert [float((got == v).mean()) for v in (0, 1, 2)] == pytest.approx([0.25, 0.5, 0.25], abs=0.02)


@pytest.mark.parametrize("rates", [(0.5, 0.0), (0.0, 0.5), (0.3, 0.2)])
def test_masks_belong_to_the_sample(rates: tuple[float, float]) -> None:
    model = randomised("neumf", dropout=rates[0], embedding_dropout=rates[1])
    rng = np.random.default_rng(1)
    users, items = rng.integers(0, USERS, 20), rng.integers(0, ITEMS, (20, 3))
    samples = 3 * rng.permutation(1000)[:20][:, None] + np.arange(3)

    def part(places: npt.NDArray) -> npt.NDArray:
        return logits(model, users[places], items[places], Dropping(STEP, tf.constant(samples[places])))

    whole = part(np.arange(20))
    assert np.abs(whole - table(model)[users[:, None], items]).max() > 0.1
    order = rng.permutation(20)
    assert part(order) == pytest.approx(whole[order], abs=1e-5)
    split = np.concatenate([part(places) for places in np.split(np.arange(20), [1, 8])])
    assert split == pytest.approx(whole, abs=1e-5)
    next_step = logits(model, users, items, Dropping(STEP + 1, tf.constant(samples)))
    assert np.abs(next_step - whole).max() > 0.1


def test_no_dropout_at_evaluation() -> None:
    for kind in KINDS:
        model = randomised(kind, dropout=0.5, embedding_dropout=0.5)
        assert all_pairs(model) == pytest.approx(table(model), abs=1e-5)
        assert model.catalogue(tf.range(USERS)).numpy() == pytest.approx(table(model), abs=1e-5)


def test_rate_0_drops_nothing() -> None:
    model = randomised("neumf")
    got = logits(model, np.arange(USERS), np.tile(np.arange(ITEMS), (USERS, 1)), many(USERS, ITEMS))
    assert got == pytest.approx(table(model), abs=1e-5)


@pytest.mark.parametrize(("compute", "bound"), [(tf.bfloat16, 0.06), (tf.float16, 0.008)])
@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_near(kind: str, compute: tf.DType, bound: float) -> None:
    model = randomised(kind, compute=compute)
    expected = table(model)
    assert all(v.dtype == tf.float32 for v in model.parameters)
    trained = all_pairs(model)
    assert trained.dtype == np.float32
    assert np.abs(trained - expected).max() < bound
    narrow = np.abs(trained - expected).max() > 1e-5
    assert narrow == (kind != "gmf")  # products of hidden layers really are of the smaller type, those of GMF never


@pytest.mark.parametrize("compute", [tf.bfloat16, tf.float16])
@pytest.mark.parametrize("kind", KINDS)
def test_ranking_is_in_full_precision(kind: str, compute: tf.DType) -> None:
    """Scores of bfloat16 would tie, and the tie rule would rank."""
    model = randomised(kind, compute=compute)
    users = tf.range(USERS)
    everything = tf.broadcast_to(tf.range(ITEMS)[None, :], [USERS, ITEMS])
    for got in (model.catalogue(users), model.catalogue_at_once(users), model.pair_scores(users, everything)):
        assert got.numpy() == pytest.approx(table(model), abs=1e-5)
    assert model.compute == compute


def test_squared_norms_count_a_user_for_each_sample() -> None:
    model = randomised("neumf")
    users, items = [1, 5, 1], [[0, 3], [3, 3], [10, 2]]
    expected = sum(
        float((t.numpy()[k].astype(np.float64) ** 2).sum())
        for u, row in zip(users, items, strict=True)
        for i in row
        for t, k in zip(model.tables, (u, i, u, i), strict=True)
    )
    rows = model.look_up(tf.constant(users), tf.constant(items))
    assert float(rows.squared_norms()) == pytest.approx(expected, rel=1e-5)


WAYS = [Projected(users=u, items=i) for u in (False, True) for i in (False, True)]


@pytest.mark.parametrize("way", WAYS)
def test_projected_tables_give_the_same_logits_and_gradients(way: Projected) -> None:
    """More lookups than rows, rows looked up often and never, layers dropped."""
    model, rng = randomised("neumf", dropout=0.3), np.random.default_rng(3)
    users = tf.constant(rng.integers(0, USERS - 1, 9), tf.int32)
    items = tf.constant(rng.integers(1, ITEMS, (9, 4)), tf.int32)
    weights = tf.constant(rng.normal(size=(9, 4)), tf.float32)

    def differentiated(projected: Projected) -> tuple[npt.NDArray, list[npt.NDArray]]:
        with tf.GradientTape() as tape:
            got = model.logits(model.look_up(users, items, projected), many(9, 4))
            total = tf.reduce_sum(got * weights)
        gradients = tape.gradient(total, model.parameters)
        return got.numpy(), [tf.convert_to_tensor(g).numpy() for g in gradients]

    (plain, expected), (got, gradients) = differentiated(Projected()), differentiated(way)
    assert got == pytest.approx(plain, abs=1e-5)
    for name, a, b in zip((v.name for v in model.parameters), gradients, expected, strict=True):
        assert a == pytest.approx(b, abs=2e-5), name


def test_projected_gradients_add_up_in_float32() -> None:
    """512 equal gradients of bfloat16 would stop growing at 256 of them."""
    model = randomised("mlp", compute=tf.bfloat16)
    with tf.GradientTape() as tape:
        rows = model.look_up(tf.zeros([512], tf.int32), tf.zeros([512, 1], tf.int32), Projected(users=True, items=True))
        assert all(part.dtype == tf.float32 for part in rows.mlp)
        total = tf.reduce_sum(rows.mlp[0])
    gradient = tape.gradient(total, model.mlp.users).numpy()[0]
    half = model.mlp.kernels[0].numpy()[: TOWER[0] // 2]
    assert gradient == pytest.approx(512 * half.sum(axis=1), rel=0.02, abs=2.0)


def test_what_acts_on_embeddings_refuses_projected_ones() -> None:
    model = randomised("mlp", embedding_dropout=0.5)
    rows = model.look_up(tf.zeros([1], tf.int32), tf.zeros([1, 1], tf.int32), Projected(items=True))
    with pytest.raises(AssertionError):
        rows.squared_norms()
    with pytest.raises(AssertionError):
        model.logits(rows, many(1, 1))


@pytest.mark.parametrize("alpha", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_merging_weights_the_logits(alpha: float) -> None:
    gmf, mlp, both = randomised("gmf", 1), randomised("mlp", 2), randomised("neumf", 3)
    merge(both, gmf, mlp, alpha)
    expected = alpha * all_pairs(gmf) + (1 - alpha) * all_pairs(mlp)
    assert all_pairs(both) == pytest.approx(expected, abs=1e-6)


def test_merging_copies_every_parameter() -> None:
    gmf, mlp, both = randomised("gmf", 1), randomised("mlp", 2), randomised("neumf", 3)
    merge(both, gmf, mlp, 0.5)
    assert both.gmf is not None and both.mlp is not None and mlp.mlp is not None
    assert all((a.numpy() == b.numpy()).all() for a, b in zip(both.tables, [*gmf.tables, *mlp.tables], strict=True))
    for a, b in zip([*both.kernels[:-1], *both.mlp.biases], [*mlp.kernels[:-1], *mlp.mlp.biases], strict=True):
        assert (a.numpy() == b.numpy()).all()
    before = all_pairs(gmf)
    both.gmf.users.assign_add(tf.ones_like(both.gmf.users))  # copies, not the same variables
    assert (all_pairs(gmf) == before).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_dot_product_and_biases(kind: str) -> None:
    """The output weights of the product are 1, and no longer parameters; biases add up; a merge keeps the logits."""
    models = {}
    for k in (kind, "gmf", "mlp"):
        models[k] = neumf(USERS, ITEMS, kind=k, factors=5, layers=(8, 7, 3), dot_product=True, biases=True, seed=1)
        rng = np.random.default_rng(len(k))
        for variable in models[k].parameters:
            variable.assign(rng.normal(size=variable.shape))
    model = models[kind]
    assert all(v is not model.output for v in model.parameters) == (kind == "gmf")
    expected = np.full((USERS, ITEMS), float(model.bias[0]))
    assert model.biases is not None
    expected += model.biases.users.numpy() + model.biases.items.numpy().T
    if model.gmf is not None:
        expected += model.gmf.users.numpy() @ model.gmf.items.numpy().T
    if model.mlp is not None:
        plain = neumf(USERS, ITEMS, kind="mlp", layers=(8, 7, 3))
        for ours, theirs in zip(plain.parameters, [*model.mlp.tables, *model.kernels, *model.mlp.biases], strict=False):
            ours.assign(theirs)
        expected += all_pairs(plain)
    assert all_pairs(model) == pytest.approx(expected, abs=1e-5)
    assert model.catalogue(tf.range(USERS)).numpy() == pytest.approx(expected, abs=1e-5)
    if kind == "neumf":
        towers = {k: all_pairs(models[k]) for k in ("gmf", "mlp")}
        merge(model, models["gmf"], models["mlp"], alpha=0.3)
        assert all_pairs(model) == pytest.approx(0.3 * towers["gmf"] + 0.7 * towers["mlp"], abs=1e-4)
