"""Training negatives: uniform, new in every epoch, the same for a pair whoever asks, never a known pair if asked."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
import tensorflow as tf

from ncf_tf import negatives
from ncf_tf.negatives import KnownPairs, NegativeSampler, bitmap, two_a_word
from recsys_core.input import noise
from recsys_core.matrices import Csr


def csr(dense: npt.NDArray) -> Csr:
    indptr = np.concatenate([[0], np.cumsum(dense.sum(axis=1))]).astype(np.int64)
    return Csr(indptr=indptr, indices=np.nonzero(dense)[1].astype(np.int32), n_items=dense.shape[1])


def matrix(users: int = 30, items: int = 45, share: float = 0.6, seed: int = 0) -> npt.NDArray[np.bool_]:
    return np.random.default_rng(seed).random((users, items)) < share


def draw(sampler: NegativeSampler, positions: npt.ArrayLike, users: npt.ArrayLike, epoch: int = 0) -> npt.NDArray:
    items = sampler.draw(
        tf.constant(epoch, tf.int64), tf.constant(positions, tf.int64), tf.constant(users, tf.int32)
    ).numpy()
    assert items.dtype == np.int32
    return items


def is_uniform(items: npt.NDArray, n_items: int) -> bool:
    counts = np.bincount(items.ravel(), minlength=n_items)
    assert len(counts) == n_items
    return scipy.stats.chisquare(counts).pvalue > 1e-3


NOTHING = csr(np.zeros((4, 50), bool))


def test_draws_are_uniform_and_independent() -> None:
    items = draw(NegativeSampler(NOTHING, 4, seed=0, verified=False), np.arange(20000), np.zeros(20000))
    assert items.shape == (20000, 4)
    assert is_uniform(items, 50)
    for k in range(4):
        assert is_uniform(items[:, k], 50)
    pairs = [(items[:, 0], items[:, k]) for k in (1, 2, 3)] + [(items[:-1, 0], items[1:, 0])]
    for a, b in pairs:
        assert is_uniform(50 * a + b, 2500)
        assert (a == b).mean() == pytest.approx(1 / 50, abs=0.004)


@pytest.mark.parametrize("n_items", [1, 2, 3, 1000, 2**31 - 1])
def test_draws_cover_the_catalogue(n_items: int) -> None:
    words = [0, -1, -(2**63), 2**62, 2**63 - 1, 12345678901234567]
    got = noise.below(tf.constant(words, tf.int64), n_items).numpy().tolist()
    assert got[:4] == [0, n_items - 1, n_items // 2, n_items // 4]
    assert got == [(word % 2**64 // 2**33) * n_items // 2**31 for word in words]


def test_epochs_seeds_and_pairs_differ() -> None:
    positions, users = np.arange(3000), np.zeros(3000)
    base = draw(NegativeSampler(NOTHING, 2, seed=0, verified=False), positions, users)
    again = draw(NegativeSampler(NOTHING, 2, seed=0, verified=False), positions, users)
    assert (base == again).all()
    sampler = NegativeSampler(NOTHING, 2, seed=0, verified=False)
    others = [
        draw(sampler, positions, users, epoch=1),
        draw(sampler, positions, users, epoch=2),
        draw(NegativeSampler(NOTHING, 2, seed=1, verified=False), positions, users),
        draw(sampler, positions + 1, users),
    ]
    for other in others:
        assert (base == other).mean() == pytest.approx(1 / 50, abs=0.01)


def test_a_user_changes_nothing_unless_pairs_are_known() -> None:
    sampler = NegativeSampler(NOTHING, 3, seed=0, verified=False)
    assert (draw(sampler, np.arange(99), np.zeros(99)) == draw(sampler, np.arange(99), np.full(99, 3))).all()


@pytest.mark.parametrize("verified", [False, True])
def test_draws_belong_to_the_pair(verified: bool) -> None:
    dense = matrix()
    train = csr(dense)
    users = np.nonzero(dense)[0]
    positions = np.arange(len(users))
    sampler = NegativeSampler(train, 4, seed=7, verified=verified)
    whole = draw(sampler, positions, users, epoch=3)
    order = np.random.default_rng(1).permutation(len(users))
    assert (draw(sampler, positions[order], users[order], epoch=3) == whole[order]).all()
    for size in (1, 2, 3):
        for rank in range(size):
            mine = slice(rank, None, size)
            assert (draw(sampler, positions[mine], users[mine], epoch=3) == whole[mine]).all()
    assert draw(sampler, [], [], epoch=3).shape == (0, 4)
    in_graph = tf.function(sampler.draw, input_signature=[
        tf.TensorSpec([], tf.int64), tf.TensorSpec([None], tf.int64), tf.TensorSpec([None], tf.int32)
    ])  # fmt: skip
    got = in_graph(tf.constant(3, tf.int64), tf.constant(positions), tf.constant(users, tf.int32))
    assert (got.numpy() == whole).all()


def by_search(monkeypatch: pytest.MonkeyPatch, train: Csr, count: int, seed: int) -> NegativeSampler:
    """A sampler that searches the items of the user."""
    with monkeypatch.context() as patch:
        patch.setattr(negatives, "KnownPairs", functools.partial(KnownPairs, bitmap_bytes=0))
        return NegativeSampler(train, count, seed=seed, verified=True)


def test_no_known_pair_is_ever_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = matrix()
    train = csr(dense)
    users = np.nonzero(dense)[0]
    sampler, plain = (NegativeSampler(train, 4, seed=2, verified=v) for v in (True, False))
    searching = by_search(monkeypatch, train, 4, 2)
    hits = 0
    for epoch in range(5):
        items, unverified = (draw(s, np.arange(len(users)), users, epoch) for s in (sampler, plain))
        assert not dense[users[:, None], items].any()
        hit = dense[users[:, None], unverified]
        assert (items[~hit] == unverified[~hit]).all()
        hits += int(hit.sum())
        assert (draw(searching, np.arange(len(users)), users, epoch) == items).all()
    assert hits / (5 * 4 * len(users)) == pytest.approx(dense.mean(), abs=0.05)  # the plain sampler does hit


def test_what_is_drawn_again_is_uniform_over_the_unknown() -> None:
    dense = matrix(users=3, items=40)
    sampler = NegativeSampler(csr(dense), 5, seed=0, verified=True)
    for user in range(3):
        unknown = np.flatnonzero(~dense[user])
        items = draw(sampler, np.arange(6000), np.full(6000, user))
        place = np.searchsorted(unknown, items)
        assert (unknown[place] == items).all()
        assert is_uniform(place, len(unknown))
        assert is_uniform(len(unknown) * place[:, 0] + place[:, 1], len(unknown) ** 2)
        assert is_uniform(len(unknown) * place[:-1, 0] + place[1:, 0], len(unknown) ** 2)


@pytest.mark.parametrize("left", [0, 17, 36])
def test_the_only_item_left_is_drawn(left: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = np.zeros((2, 37), bool)
    dense[1] = True
    dense[1, left] = False
    train = csr(dense)
    for sampler in (NegativeSampler(train, 3, seed=0, verified=True), by_search(monkeypatch, train, 3, 0)):
        items = draw(sampler, np.arange(40), np.arange(40) % 2)
        assert (items[1::2] == left).all()
        assert len(set(items[::2].ravel())) > 20


def test_a_user_with_all_items_is_refused() -> None:
    dense = matrix(users=5)
    dense[3] = True
    with pytest.raises(ValueError, match="user in row 3 has all 45 items"):
        NegativeSampler(csr(dense), 4, seed=0, verified=True)
    items = draw(NegativeSampler(csr(dense), 4, seed=0, verified=False), np.arange(9), np.full(9, 3))
    assert items.shape == (9, 4)


SHAPES = [(1, 1), (4, 31), (5, 33), (3, 63), (4, 64), (6, 65), (2, 200)]


@pytest.mark.parametrize(("users", "items"), SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.05, 0.6, 1.0])
def test_a_bit_for_each_pair(users: int, items: int, share: float) -> None:
    dense = matrix(users, items, share)
    dense[users // 2] = False
    table = bitmap(csr(dense))
    assert table.dtype == np.int64
    assert table.shape == (users, -(-items // 64))
    expected = [[0] * table.shape[1] for _ in range(users)]
    for u in range(users):
        for i in range(items):
            expected[u][i // 64] |= int(dense[u, i]) << (i % 64)
    assert (table.view(np.uint64) == np.array(expected, np.uint64)).all()


@pytest.mark.parametrize(("users", "items"), SHAPES)
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_all_ways_to_look_up_are_exact(users: int, items: int, share: float) -> None:
    dense = matrix(users, items, share)
    dense[users // 2, items // 3 :] = False
    table_bytes = 8 * users * -(-items // 64)
    ways = [KnownPairs(csr(dense), bitmap_bytes=n) for n in (table_bytes, table_bytes - 1)]
    ways.append(KnownPairs(csr(dense), bitmap_bytes=0, on_device=True))
    assert [way.by_bitmap for way in ways] == [True, False, False]
    assert not ways[1].variables  # no copy of the pairs is held
    assert sum(v.shape.num_elements() for v in ways[2].variables) <= dense.sum() / 2 + 1 + users + 1
    u, i = (tf.constant(a.ravel(), tf.int32) for a in np.indices(dense.shape))
    for way in ways:
        assert (way.contains(u, i).numpy() == dense.ravel()).all()


def test_two_numbers_a_word_by_hand() -> None:
    got = two_a_word(np.array([5, 2**31 - 1, 7], np.int32))
    assert got.tolist() == [5 + (2**31 - 1) * 2**32, 7]
    assert two_a_word(np.array([], np.int32)).tolist() == [0]


def test_fixed_shapes_draw_the_same_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiled by XLA, too; a user among them has all items but one."""
    dense = matrix(share=0.6)
    dense[3], dense[3, 17] = True, False
    train, users = csr(dense), np.nonzero(dense)[0]
    plain = NegativeSampler(train, 4, seed=2, verified=True)
    for bitmap_bytes in (negatives.BITMAP_BYTES, 0):
        with monkeypatch.context() as patch:
            patch.setattr(negatives, "KnownPairs", functools.partial(KnownPairs, bitmap_bytes=bitmap_bytes))
            fixed = NegativeSampler(train, 4, seed=2, verified=True, fixed_shapes=True)
        compiled = tf.function(fixed.draw, jit_compile=True)
        for epoch in range(3):
            expected = draw(plain, np.arange(len(users)), users, epoch)
            assert (draw(fixed, np.arange(len(users)), users, epoch) == expected).all()
            at = (tf.constant(epoch, tf.int64), tf.range(len(users), dtype=tf.int64), tf.constant(users, tf.int32))
            assert (compiled(*at).numpy() == expected).all()
    assert not dense[users[:, None], expected].any()


def test_known_pairs_of_many_items() -> None:
    """The largest numbers of int32."""
    n_items = 2**31 - 1
    indices = np.array([0, n_items - 1, 5], np.int32)
    train = Csr(indptr=np.array([0, 0, 2, 2, 3]), indices=indices, n_items=n_items)
    users, items = [1, 1, 3, 3, 0, 2, 1], [0, n_items - 1, 5, 6, 0, n_items - 1, 5]
    for on_device in (False, True):
        known = KnownPairs(train, bitmap_bytes=0, on_device=on_device)
        got = known.contains(tf.constant(users, tf.int32), tf.constant(items, tf.int32))
        assert got.numpy().tolist() == [True, True, True, False, False, False, False]
