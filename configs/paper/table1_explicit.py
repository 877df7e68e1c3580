"""Table 1, row 4: explicit attention, trained on all scales of its evaluation.

    python main.py train --config=configs/paper/table1_explicit.py --workdir=runs/table1_explicit \
        --config.data.dir=MAPILLARY --config.init_from=runs/imagenet_resnet50

Mean IoU on validation in the paper: 51.4 at scales (0.5, 1, 2); FLOPs of training 5.25x, 3.08 s a
minibatch on a V100. Not yet trained here. table1_single.py says what else Table 1 has in common.
"""

from configs.paper import table1_single


def get_config():
    config = table1_single.get_config()
    config.model.attention = "explicit"
    config.objective.scales = (0.5, 1.0, 2.0)
    config.evaluate.protocols = ("explicit:0.5,1,2",)
    return config
