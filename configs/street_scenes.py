"""The default experiment: painted streets, from scratch, on a laptop.

    python main.py train --workdir=runs/street_scenes

On two cores it takes about eleven minutes; docs/results/street_scenes.md says what comes out.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.steps = 1200
    config.data.batch_size = 2
    # The whole image, as in the paper: attention that was trained on parts of it knows too little
    # of what the enlarged whole looks like, and trusts the highest scale too much.
    config.data.crop_size = (256, 512)
    config.data.scale_range = (0.75, 2.0)  # below, most of the crop would be padding

    config.model.trunk = "tiny"
    config.model.ocr_channels = 64
    config.model.ocr_key_channels = 32
    config.model.head_channels = 32
    config.model.dtype = "float32"  # a CPU emulates bfloat16

    config.optimizer.learning_rate = 0.05
    config.optimizer.poly_exponent = 0.9
    config.optimizer.weight_decay = 1e-4

    config.checkpoint.every = 200
    config.evaluate.images_per_device = 4
    return config
