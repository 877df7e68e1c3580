"""Which crop comes when: the record that it shows and, if it is class-uniform, the pixel it holds.

Every position 0, 1, 2, ... is a place in the stream of the train split or in that of the pool;
every place in a stream is a class-uniform crop, or shows the next one of its records. All counts
are exact, so that the crop at a position is found without those before it.
"""

import dataclasses

import grain
import numpy as np

from hmsa_jax.input.centroids import Centroids
from hmsa_jax.input.class_uniform import ClassUniform
from hmsa_jax.input.mixture import Mixture
from hmsa_jax.input.pool import Pool

CropPlace = tuple[int, tuple[int, int] | None]
"""Number of the record; row and column of the pixel that the crop holds, None if it is plain."""

_NONE = Mixture(0)


@dataclasses.dataclass(frozen=True, eq=False)
class Stream:
    """The crops of one data set.

    Attributes:
      plain: the records that the plain crops show, without end: every pass is a new permutation.
      class_uniform: which places are class-uniform.
      centroids: what these draw from; None if there are none.
      boost: at which places they draw from `boosted` instead.
      boosted: centroids of more records; None without boost.
    """

    plain: grain.MapDataset
    class_uniform: Mixture = _NONE
    centroids: Centroids | None = None
    boost: Mixture = _NONE
    boosted: Centroids | None = None

    def crop(self, place: int, rng: np.random.Generator) -> CropPlace:
        """The crop at a place; a class-uniform one draws from `rng`."""
        if place in self.class_uniform:
            centroids = self.boosted if place in self.boost else self.centroids
            assert centroids is not None  # where a place is class-uniform, there are some
            return centroids.draw(rng)
        return int(self.plain[self.class_uniform.count_others(place)]), None


@dataclasses.dataclass(frozen=True, eq=False)
class CropOrder:
    """The crops of the train split and of the pool.

    Attributes:
      train: crops of the train split.
      pool: crops of the pool; None without one.
      from_pool: which positions are the pool's.
    """

    train: Stream
    pool: Stream | None = None
    from_pool: Mixture = _NONE

    def crop(self, position: int, rng: np.random.Generator) -> CropPlace:
        """The crop at a position.

        Args:
          position: how many crops come before it, those of all processes counted.
          rng: the source of chance for this crop.

        Returns:
          The record, where those of the pool are numbered after those of the train split, and the
          pixel that the crop holds.
        """
        if position in self.from_pool:
            assert self.pool is not None  # where a position is the pool's, there is one
            return self.pool.crop(self.from_pool.count(position), rng)
        return self.train.crop(self.from_pool.count_others(position), rng)


def crop_order(
    records: int, seed: int, class_uniform: ClassUniform | None, pool: Pool | None
) -> CropOrder:
    """The order that the settings describe.

    Args:
      records: how many the train split has; an epoch is as many crops.
      seed: from 0 to 2**32 - 1; decides the order of the records.
      class_uniform: how many crops, of the train split and of the pool alike, are class-uniform;
        None: none.
      pool: a second data set; None: there is none.

    Returns:
      The order.

    Raises:
      ValueError: class-uniform crops cannot show the pool, whose centroids are missing.
    """
    uniform, centroids = _NONE, None
    if class_uniform is not None and class_uniform.share:
        uniform = Mixture.until_epoch(class_uniform.share, class_uniform.until_epoch, records)
        centroids = class_uniform.centroids
    train = Stream(_passes(0, records, seed), uniform, centroids)
    return CropOrder(train) if pool is None else _mixed(train, records, seed, pool)


def _mixed(alone: Stream, records: int, seed: int, pool: Pool) -> CropOrder:
    """Mixes the pool into the crops of the train split `alone`."""
    from_pool = Mixture.until_epoch(pool.share, pool.until_epoch, records)
    train = dataclasses.replace(
        alone, class_uniform=alone.class_uniform.within(from_pool.count_others)
    )
    stream = Stream(
        _passes(records, records + len(pool.source), _seed_of_pool(seed)),
        alone.class_uniform.within(from_pool.count),
    )
    if alone.centroids is not None:
        if pool.centroids is None:
            raise ValueError("pool.centroids: expected centroids, for class-uniform crops.")
        theirs = pool.centroids.renumbered(records)
        stream = dataclasses.replace(stream, centroids=theirs)
        if pool.boost_classes:
            boost = Mixture.until_epoch(1, pool.boost_until_epoch, records)
            train = dataclasses.replace(
                train,
                boost=boost.within(from_pool.count_others),
                boosted=alone.centroids.with_classes_of(theirs, pool.boost_classes),
            )
    return CropOrder(train, stream, from_pool)


def _passes(first: int, stop: int, seed: int) -> grain.MapDataset:
    """The numbers from `first` to `stop` - 1, pass after pass, each in a new order."""
    return grain.MapDataset.range(first, stop).seed(seed).shuffle().repeat()


def _seed_of_pool(seed: int) -> int:
    """Another order: the pool may be the images of the train split with coarser labels."""
    return int(np.random.SeedSequence((seed, 1)).generate_state(1)[0])
