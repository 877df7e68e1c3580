"""The pool: a second labelled data set that training takes part of its crops from.

With auto-labelled images the paper trains so: "At 50% probability we sample from the train + val
set, else we sample from the auto-labelled pool of images" (section 5.1.1). Coarsely labelled images
may also lend rare classes to the train split: its class-uniform crops of these classes show the
pool's images, too (`coarse_boost_classes` of the published code).
"""

import dataclasses

from hmsa_jax.input import mixture
from hmsa_jax.input.centroids import Centroids
from hmsa_jax.input.source import Source


@dataclasses.dataclass(frozen=True, eq=False)
class Pool:
    """The pool, and how much of it training shows.

    Epochs are those of the train split, whose length the pool does not change.

    Attributes:
      source: the records; their class numbers mean what those of the train split mean.
      share: how many of all crops are of the pool, from 0 to 1.
      until_epoch: from the start of this epoch, counted from 0, no crop is; 0: to the end.
      centroids: of the records; None if no crop is class-uniform.
      boost_classes: numbers of the classes that class-uniform crops of the train split show in the
        pool, too: they draw among the centroids of both.
      boost_until_epoch: from the start of this epoch they no longer do; 0: to the end.
    """

    source: Source
    share: float
    until_epoch: int = 0
    centroids: Centroids | None = None
    boost_classes: tuple[int, ...] = ()
    boost_until_epoch: int = 0

    def __post_init__(self):
        """Raises ValueError if a value is out of range, or the pool has nothing to show."""
        mixture.check("data.pool.", self.share, self.until_epoch)
        mixture.check("data.pool.boost_", 1, self.boost_until_epoch)
        if not len(self.source):
            raise ValueError(
                "data.pool.split: expected at least one record, got none; check the name of the"
                " split."
            )
        if self.share and self.centroids is not None and not len(self.centroids.occurring):
            raise ValueError(
                "data.pool.split: expected labels with pixels of some class, got none; check the"
                " labels, or set data.class_uniform_share=0.0."
            )
