"""Table 1, rows 1 to 3: DeepLabV3+ on ResNet-50, trained on one scale of Mapillary.

    python main.py train --config=configs/paper/table1_single.py --workdir=runs/table1_single \
        --config.data.dir=MAPILLARY --config.init_from=runs/imagenet_resnet50

The paper reports a mean IoU on validation of 47.7 at the single scale, and averages of 49.4 over
(0.5, 1, 2) and of 48.7 over (0.25, 0.5, 1, 2). A minibatch takes 0.80 s on a V100, and its FLOPs
are the unit of Table 1. Not yet trained here.

Section 3.2 names the network, the scales and the data set, and all else follows the protocol for
Mapillary (section 5.1). The paper does not say whether mirror images are averaged here:
`--config.evaluate.flip=False` leaves them out.
"""

from configs.paper import mapillary_pretraining


def get_config():
    config = mapillary_pretraining.get_config()
    config.model.trunk = "resnet50"
    config.objective.aux_weight = 0.0  # the auxiliary head belongs to OCR
    config.evaluate.protocols = ("single", "average:0.5,1,2", "average:0.25,0.5,1,2")
    return config
