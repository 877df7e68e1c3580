"""The start of all trainings on Cityscapes: Mapillary without attention, on one scale.

    python main.py train --config=configs/paper/mapillary_pretraining.py \
        --workdir=runs/mapillary_pretraining --config.data.dir=MAPILLARY \
        --config.init_from=runs/imagenet_hrnet

docs/paper_protocol.md says how to make runs/imagenet_hrnet. The paper trained on four nodes of 8
GPUs, with an image on each GPU (section 5.1), and reports no score of this step. Not yet trained
here.
"""

from configs import base
from configs.paper.schedule import follow_batch


def get_config():
    config = base.get_config()
    config.data.name = "mapillary_v1_66"  # the paper counts void: 66 classes
    config.data.crop_size = (1024, 1856)
    follow_batch(config, epochs=200, images=18000, batch_size=32, learning_rate=0.02)
    config.optimizer.poly_exponent = 1.0

    config.model.attention = "none"
    config.model.remat = "modules"  # less memory for more time: activations are computed twice
    config.objective.scales = (1.0,)

    # Images have many sizes. A multiple of 128 is still a multiple of 32, the stride of the trunk's
    # coarsest features, at the lowest scale of the evaluation, 0.25. The long edge of 2177 pixels
    # becomes 2304.
    config.evaluate.protocols = ("single",)
    return config
