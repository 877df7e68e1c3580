"""Steps and learning rate that follow the batch."""

from ml_collections import ConfigDict


def follow_batch(
    config: ConfigDict, *, epochs: int, images: int, batch_size: int, learning_rate: float
) -> None:
    """Sets the batch, and the number of steps and the learning rate as functions of it.

    `--config.data.batch_size=B` then gives the same number of epochs, epochs x images / B steps
    rounded down, at a learning rate in proportion to B. This is the linear rule, and that of the
    authors: 0.01 at a batch of 16 in the paper (section 5.1), 0.005 at a batch of 8 in their code.
    A learning rate or a number of steps that is given on the command line counts as it is.

    A batch that the devices cannot hold at once is done in parts instead, with the same steps and
    learning rate: `--config.optimizer.accumulate=PARTS`.

    Args:
      config: with the fields of configs/base.py.
      epochs: how often training sees the number of images.
      images: of the train split. A pool makes an epoch no longer, as in the authors' code.
      batch_size: of all devices together.
      learning_rate: the first, at that batch.
    """
    config.data.batch_size = batch_size
    batch = config.data.get_ref("batch_size")
    config.steps = epochs * images // batch
    # As a float: the type of a reference is that of the number which it starts from.
    config.optimizer.learning_rate = learning_rate * batch.to_float() / batch_size
