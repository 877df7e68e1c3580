"""The published checkpoint's network, trained and evaluated as the published code does it.

    python main.py convert --from=FILE.pth --config=configs/published.py --workdir=RUN
    python main.py evaluate --workdir=RUN --config.data.dir=CITYSCAPES

Predictions are the published ones to 1e-5 (docs/parity.md): the network computes in float32,
multiplies attention and logits at the size of the image and leaves mirror images out. The paper's
way, which is that of configs/base.py, takes a sixteenth of the memory for the products and half of
the bytes.
"""

from configs import base


def get_config():
    config = base.get_config()
    config.data.name = "cityscapes"
    config.model.semantic_head = "published"
    config.model.dtype = "float32"
    config.objective.fusion_resolution = "image"
    config.objective.aux_loss = "binary_cross_entropy"
    config.objective.scale_weight = 0.05
    config.optimizer.weight_decay = 1e-4
    config.evaluate.fusion_resolution = "image"
    config.evaluate.flip = False
    return config
