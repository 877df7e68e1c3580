"""Table 2, row 1: Cityscapes without attention, with the owners' coarse labels.

    python main.py train --config=configs/paper/table2_baseline.py --workdir=runs/table2_baseline \
        --config.data.dir=CITYSCAPES

Starts from runs/mapillary_pretraining; `--config.init_from=RUN` names another run. The paper
trained on two nodes of 8 GPUs, an image each, and has 84.9 (mean IoU, validation, average of the
scales). Not yet trained here.

How the coarse images take part is the authors' code's way, as the paper does not say: class-uniform
crops of 13 classes come from them, too, for 150 epochs.
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
    # That of the fine labels, unless another one is named.
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
