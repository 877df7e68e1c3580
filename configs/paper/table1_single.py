"""Table 1, rows 1 to 3: DeepLabV3+ on ResNet-50, trained on one scale of Mapillary.

    python main.py train --config=configs/paper/table1_single.py --workdir=runs/table1_single \
        --config.data.dir=MAPILLARY --config.init_from=runs/imagenet_resnet50

Mean IoU on validation in the paper: single 47.7, average (0.5, 1, 2) 49.4, average
(0.25, 0.5, 1, 2) 48.7; FLOPs of training 1.00x, 0.80 s a minibatch on a V100. Not yet trained here.

Section 3.2 names network, scales and data set; all else is the protocol for Mapillary (5.1). It
does not mention mirror images: `--config.evaluate.flip=False` leaves them out.
"""

from configs.paper import mapillary_pretraining


def get_config():
    config = mapillary_pretraining.get_config()
    config.model.trunk = "resnet50"
    config.objective.aux_weight = 0.0  # the auxiliary head belongs to OCR
    config.evaluate.protocols = ("single", "average:0.5,1,2", "average:0.25,0.5,1,2")
    return config
