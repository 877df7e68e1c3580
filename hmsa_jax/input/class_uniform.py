"""Class-uniform sampling: a share of the crops shows the classes equally often.

The paper samples "equally from each class, which helps improve results when there is unequal data
distribution" (section 5.1, after its reference [29]). A class-uniform crop draws a class, then one
of its centroids, and is placed so that it holds this pixel; a plain crop takes the next image.
"""

import dataclasses

from hmsa_jax.input import mixture
from hmsa_jax.input.centroids import Centroids


@dataclasses.dataclass(frozen=True)
class ClassUniform:
    """How many crops are class-uniform, and what they hold.

    An epoch is as many crops as there are records. Class-uniform crops lie evenly between the plain
    ones, which go through all records before any comes again, as they do without the others.

    Attributes:
      centroids: of the records.
      share: how many of the crops are class-uniform, from 0 to 1.
      until_epoch: from the start of this epoch, counted from 0, all crops are plain; 0: they never
        are.
    """

    centroids: Centroids
    share: float
    until_epoch: int = 0

    def __post_init__(self):
        """Raises ValueError if a value is out of range."""
        mixture.check("data.class_uniform_", self.share, self.until_epoch)
        if self.share and not len(self.centroids.occurring):
            raise ValueError(
                "data.class_uniform_share: expected labels with pixels of some class, got none;"
                " check the labels, or set it to 0."
            )
