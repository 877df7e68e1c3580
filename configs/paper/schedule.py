"""Steps and learning rate that follow the batch."""

from ml_collections import ConfigDict


def follow_batch(
    config: ConfigDict, *, epochs: int, images: int, batch_size: int, learning_rate: float
) -> None:
    """Sets the batch, and the number of steps and the learning rate as functions of it.

    `--config.data.batch_size=B` then trains for the same number of epochs, which are
    epochs x images / B steps rounded down, at a learning rate in proportion to B. The authors
    follow this linear rule as well: their learning rate is 0.01 for a batch of 16 in the paper
    (section 5.1) and 0.005 for a batch of 8 in their code. A learning rate or a number of steps
    that the command line names is taken as it is.

    Where the devices cannot hold a batch, `--config.optimizer.accumulate=PARTS` divides it into
    parts that a step does one after the other. Steps and learning rate stay the same.

    Args:
      config: a config with the fields of configs/base.py; changed in place.
      epochs: how often training goes through the images.
      images: the number of images in the train split. A pool adds none, as in the authors' code.
      batch_size: the number of images of a step, on all devices together.
      learning_rate: the learning rate of the first step, for that batch.
    """
    config.data.batch_size = batch_size
    batch = config.data.get_ref("batch_size")
    config.steps = epochs * images // batch
    # As a float: the type of a reference is that of the number which it starts from.
    config.optimizer.learning_rate = learning_rate * batch.to_float() / batch_size
