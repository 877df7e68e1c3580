"""The pool: how many crops are of it and until when, and the classes that it lends."""

import dataclasses
import pickle

import numpy as np
import pytest
from absl import flags

from hmsa_jax.input.class_uniform import ClassUniform
from hmsa_jax.input.crop_order import crop_order
from hmsa_jax.input.mixture import Mixture
from hmsa_jax.input.pool import Pool
from hmsa_jax.input.source import JoinedSource
from tests.input.memory_source import MemorySource, assert_equal, take
from tests.input.test_class_uniform import Streets, centroids_of

OURS, THEIRS = 6, 5


class Recording(MemorySource):
    """Flat images of 8 x 8; keeps the numbers of the records that are read."""

    def __init__(self, records):
        super().__init__([(8, 8)] * records)
        self.read = []

    def __getitem__(self, index):
        self.read.append(index)
        return super().__getitem__(index)


def middle(records):
    """The middle of each record, which is of the class that has its number."""
    return centroids_of([[(index, 4, 4)] for index in range(records)])


def setting(share, until_epoch=0, uniform=0.0, uniform_until=0, **boost):
    """The arguments `class_uniform` and `pool`: every record is all of a class of its own."""
    return {
        "class_uniform": ClassUniform(middle(OURS), uniform, uniform_until) if uniform else None,
        "pool": Pool(MemorySource([(8, 8)] * THEIRS), share, until_epoch, middle(THEIRS), **boost),
    }


def crops(stop, seed=7, **options):
    """(position, record, whether it is class-uniform) of the first crops."""
    order = crop_order(OURS, seed, **options)
    for position in range(stop):
        record, holding = order.crop(position, np.random.default_rng((seed, position)))
        yield position, record, holding is not None


def records_of(found, *, pool, uniform=False):
    return [n for _, n, drawn in found if (n >= OURS) == pool and drawn == uniform]


# How many crops are of the pool.


@pytest.mark.parametrize("tenths", [0, 3, 5, 10])
def test_the_share_is_exact(tenths):
    found = crops(500, **setting(tenths / 10, uniform=1.0))
    of_pool = np.cumsum([record >= OURS for _, record, _ in found])
    np.testing.assert_array_equal(of_pool, np.arange(1, 501) * tenths // 10)


@pytest.mark.parametrize("uniform", [0.0, 0.5])
@pytest.mark.parametrize("share", [0.4, 0.75])
def test_every_pass_shows_every_record_once_in_a_new_order(share, uniform):
    found = list(crops(180, **setting(share, uniform=uniform)))
    for pool, records in ((False, range(OURS)), (True, range(OURS, OURS + THEIRS))):
        plain = records_of(found, pool=pool)
        passes = [plain[at : at + len(records)] for at in range(0, len(plain), len(records))][:-1]
        assert len(passes) >= 3
        assert all(sorted(each) == list(records) for each in passes)
        assert len({tuple(each) for each in passes}) > 1


def test_train_records_come_as_they_do_without_a_pool():
    alone = records_of(crops(40, class_uniform=None, pool=None), pool=False)
    assert records_of(crops(80, **setting(0.5)), pool=False) == alone


def test_a_pool_as_long_as_the_train_split_has_an_order_of_its_own():
    pool = Pool(MemorySource([(8, 8)] * OURS), 0.5)
    found = list(crops(60, class_uniform=None, pool=pool))
    ours, theirs = (records_of(found, pool=which) for which in (False, True))
    assert ours != [record - OURS for record in theirs]
    assert records_of(crops(60, seed=8, class_uniform=None, pool=pool), pool=True) != theirs


@pytest.mark.parametrize("share", [0.4, 0.5])
def test_class_uniform_crops_have_their_share_of_both(share):
    found = list(crops(200, **setting(share, uniform=0.3)))
    for pool, count in ((False, 200 - 200 * share), (True, 200 * share)):
        assert len(records_of(found, pool=pool, uniform=True)) == int(count * 0.3)
    assert {n for _, n, drawn in found if drawn} == set(range(OURS + THEIRS))


@pytest.mark.parametrize("pool_until", [0, 1, 3])
@pytest.mark.parametrize("uniform_until", [0, 1, 3])
def test_both_end_at_their_epochs(pool_until, uniform_until):
    found = crops(4 * OURS, **setting(0.5, pool_until, 0.5, uniform_until))
    of_pool, drawn = [], []
    for position, record, is_uniform in found:
        of_pool += [position] * (record >= OURS)
        drawn += [position] * is_uniform
    assert (max(of_pool) < pool_until * OURS) == (pool_until > 0)
    assert (max(drawn) < uniform_until * OURS) == (uniform_until > 0)
    assert len(of_pool) == (pool_until or 4) * OURS // 2


def test_an_end_before_the_streams_first_crop_is_an_end():
    """The pool has not had a crop when class-uniform crops end: it never has such a crop."""
    found = list(crops(60, **setting(0.1, uniform=0.5, uniform_until=1)))
    assert records_of(found, pool=True, uniform=True) == []
    assert len(records_of(found, pool=True)) == 6


def test_no_record_of_the_pool_is_read_from_the_epoch_on():
    source, pool = Recording(OURS), Recording(THEIRS)
    options = {
        "class_uniform": ClassUniform(middle(OURS), 0.5),
        "pool": Pool(pool, 0.5, until_epoch=2, centroids=middle(THEIRS)),
        "batch_size": 2,
        "crop_size": (4, 4),
    }
    before = take(source, 6, **options)
    assert len(pool.read) >= OURS
    pool.read.clear()
    source.read.clear()
    after = take(source, 12, start_step=6, **options)
    assert pool.read == []
    assert set(source.read) == set(range(OURS))
    assert before["label"].shape[0] == 6
    assert after["label"].shape[0] == 12


def test_half_of_the_crops_show_the_pool():
    """A histogram of pixels: the pool's labels are 100 and up."""
    pool = MemorySource([(8, 8)] * THEIRS)
    table = bytes(min(100 + value, 255) for value in range(256))
    for index in range(THEIRS):
        pool.replace(index, train_ids=table)
    options = {"pool": Pool(pool, 0.5), "crop_size": (4, 4), "scale_range": (1.0, 1.0)}
    labels = take(MemorySource([(8, 8)] * OURS), 15, **options)["label"]
    counts = np.bincount(labels.ravel(), minlength=256) / 16
    # 30 crops of each: five passes through six records, six through five.
    assert counts[:OURS].tolist() == [5] * OURS
    assert counts[100 : 100 + THEIRS].tolist() == [6] * THEIRS
    assert counts.sum() == 60


# The classes that it lends.


def lenders():
    """Classes 0 to 2 in either data set, apart by the row: 0 to 2 in ours, 10 to 12 in theirs."""
    ours = centroids_of([[(0, 0, 0)], [(1, 1, 0)], []])
    theirs = centroids_of([[(0, 10, 0)], [(1, 11, 0)] * 3, [(2, 12, 0)]])
    return ours, theirs


def rows_drawn(stop, **options):
    """Rows of the pixels that the crops hold, which are all class-uniform; int `[stop]`."""
    ours, theirs = lenders()
    pool = Pool(MemorySource([(8, 8)] * THEIRS), centroids=theirs, **options)
    order = crop_order(OURS, 7, ClassUniform(ours, 1.0), pool)
    rows = []
    for position in range(stop):
        record, (row, _) = order.crop(position, np.random.default_rng(position))
        assert (row >= 10) == (record >= OURS)
        rows.append(row)
    return np.array(rows)


def test_boosted_classes_are_drawn_from_both():
    rows = rows_drawn(3000, share=0.0, boost_classes=(1, 2))
    # A third of the draws is of each class; class 1 has one centroid here and three there.
    expected = np.zeros(13)
    expected[[0, 1, 11, 12]] = 1 / 3, 1 / 12, 1 / 4, 1 / 3
    counts = np.bincount(rows, minlength=13) / 3000
    np.testing.assert_allclose(counts, expected, atol=5 * 0.009)
    assert (counts[expected == 0] == 0).all()


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_boost_ends_at_its_epoch(share):
    end = 20 * OURS
    boosted = rows_drawn(300, share=share, boost_classes=(1, 2), boost_until_epoch=20)
    without = rows_drawn(300, share=share)
    of_train = np.array([position not in Mixture(share) for position in range(300)])
    lent = np.flatnonzero(of_train & (boosted >= 10))
    assert set(boosted[lent]) == {11, 12}
    assert end - 12 < lent.max() < end
    # The pool's own crops, and all crops from the end on, are what they are without boost.
    others = ~of_train | (np.arange(300) >= end)
    np.testing.assert_array_equal(boosted[others], without[others])


def test_boosted_records_are_read_from_the_pool():
    pool = Recording(THEIRS)
    options = {
        "class_uniform": ClassUniform(middle(OURS), 0.5),
        "pool": Pool(pool, 0.0, centroids=middle(THEIRS), boost_classes=(3,)),
    }
    take(Recording(OURS), 20, **options)
    assert set(pool.read) == {3}


def test_centroids_of_no_class_are_lost_or_changed():
    ours, theirs = lenders()
    both = ours.with_classes_of(theirs.renumbered(OURS), (1,))
    got = [both.of_class(number).tolist() for number in range(3)]
    assert got == [[[0, 0, 0]], [[1, 1, 0], *[[OURS + 1, 11, 0]] * 3], []]
    assert both.places.dtype == np.int32
    assert theirs.of_class(0).tolist() == [[0, 10, 0]]


# The batches.


def street_options():
    """Class-uniform crops, a pool with boost, and every end within the first batches."""
    pool = Streets(9)
    return {
        "class_uniform": dataclasses.replace(Streets().uniform(0.5), until_epoch=2),
        "pool": Pool(
            pool,
            share=0.3,
            until_epoch=1,
            centroids=pool.uniform(1.0).centroids,
            boost_classes=(2,),
            boost_until_epoch=1,
        ),
    }


def test_start_step_continues_the_same_batches():
    whole = take(Streets(), 12, **street_options())
    for start in (1, 4, 5, 11):
        rest = take(Streets(), 12 - start, start_step=start, **street_options())
        assert_equal(rest, {key: value[start:] for key, value in whole.items()})


def test_late_start_reads_only_the_batches_it_yields():
    source, pool = Recording(OURS), Recording(THEIRS)
    take(source, 1, start_step=10**9, pool=Pool(pool, 0.5))
    assert 0 < len(pool.read) <= 4 * 8
    assert 0 < len(source.read) <= 4 * 8


def test_processes_share_the_global_batch():
    parts = [
        take(Streets(), 8, process_index=index, process_count=2, **street_options())
        for index in range(2)
    ]
    joined = {key: np.concatenate([part[key] for part in parts], axis=1) for key in parts[0]}
    assert_equal(joined, take(Streets(), 8, **street_options()))


def test_workers_do_not_change_the_batches():
    flags.FLAGS.mark_as_parsed()
    options = {"start_step": 2, **street_options()}
    assert_equal(take(Streets(), 5, num_workers=2, **options), take(Streets(), 5, **options))


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_pool_that_shows_nothing_changes_nothing(share):
    source = Streets()
    options = {"class_uniform": source.uniform(share)}
    pool = Pool(Streets(3), 0.0, centroids=Streets(3).uniform(1.0).centroids)
    assert_equal(take(source, 6, pool=pool, **options), take(source, 6, **options))


def test_a_joined_source_pickles():
    joined = pickle.loads(pickle.dumps(JoinedSource(MemorySource([(8, 8)] * 2), Streets(4))))
    assert len(joined) == 6
    assert [joined[i]["id"] for i in (0, 1, 2, 5)] == ["flat-0", "flat-1", "street-0", "street-3"]
    with pytest.raises(IndexError):
        joined[6]


# What is refused.


BAD = [
    ({"share": 1.5}, "share"),
    ({"until_epoch": -1}, "until_epoch"),
    ({"boost_until_epoch": -1}, "boost_until_epoch"),
    ({"source": MemorySource([])}, "split"),
    ({"centroids": centroids_of([[], []])}, "split"),
]


@pytest.mark.parametrize(("options", "field"), BAD)
def test_bad_arguments_are_named(options, field):
    with pytest.raises(ValueError, match=rf"^data\.pool\.{field}: expected"):
        Pool(**{"source": MemorySource([(8, 8)]), "share": 0.5, **options})


def test_class_uniform_crops_need_the_pools_centroids():
    pool = Pool(MemorySource([(8, 8)]), 0.5)
    take(MemorySource([(8, 8)]), 1, pool=pool)
    with pytest.raises(ValueError, match=r"^pool\.centroids: expected"):
        take(MemorySource([(8, 8)]), 1, class_uniform=ClassUniform(middle(1), 0.5), pool=pool)
