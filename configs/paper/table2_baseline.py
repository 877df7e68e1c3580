"""Table 2, row 1: Cityscapes without attention, with the owners' coarse labels.

    python main.py train --config=configs/paper/table2_baseline.py --workdir=runs/table2_baseline \
        --config.data.dir=CITYSCAPES

The run starts from runs/mapillary_pretraining, unless `--config.init_from=RUN` names another one.
The paper trained on two nodes of 8 GPUs, with an image on each GPU, and reports 84.9 (mean IoU,
validation, average over the scales). Not yet trained here.

The paper does not say how the coarse images take part. As in the authors' code, class-uniform crops
of 13 classes are taken from them as well, for 150 epochs.
"""

from configs import base
from configs.paper.schedule import follow_batch


def get_config():
    config = base.get_config()
    config.init_from = "runs/mapillary_pretraining"
    config.data.name = "cityscapes"
    config.data.crop_size = (1024, 2048)
    follow_batch(config, epochs=175, images=2975, batch_size=16, learning_rate=0.01)
    config.optimizer.poly_exponent = 2.0

    config.data.pool.name = "cityscapes_coarse"
    # The directory of the fine labels, unless another one is named.
    config.data.pool.dir = config.data.get_ref("dir").identity()
    config.data.pool.split = "train_extra"
    config.data.pool.share = 0.0
    config.data.pool.boost_classes = (
        "wall",
        "fence",
        "traffic light",
        "traffic sign",
        "terrain",
        "person",
        "rider",
        "car",
        "truck",
        "bus",
        "train",
        "motorcycle",
        "bicycle",
    )
    config.data.pool.boost_until_epoch = 150

    config.model.attention = "none"
    config.model.remat = "modules"  # less memory for more time: activations are computed twice
    config.objective.scales = (1.0,)

    config.evaluate.protocols = ("average:0.5,1,2",)
    return config
