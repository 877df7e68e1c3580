"""CamVid at 480 x 360, eleven classes, from scratch, in about twenty minutes on two cores.

    python main.py train --config=configs/camvid.py --workdir=runs/camvid --config.data.dir=CAMVID

The docstring of data/camvid.py says where to get the images and how to lay them out. The
validation split is one clip of similar frames: choose on it, and report the test split, with
`evaluate ... --config.data.eval_split=test`.
"""

from configs import street_scenes


def get_config():
    config = street_scenes.get_config()
    config.steps = 2200
    config.data.name = "camvid"
    config.data.batch_size = 4
    config.data.crop_size = (256, 384)
    config.data.scale_range = (0.5, 2.0)
    config.optimizer.name = "sgd"
    config.optimizer.learning_rate = 0.05
    config.optimizer.weight_decay = 1e-4
    config.evaluate.images_per_device = 4
    return config
