"""Table 1, row 4: explicit attention, trained on all scales of its evaluation.

    python main.py train --config=configs/paper/table1_explicit.py --workdir=runs/table1_explicit \
        --config.data.dir=MAPILLARY --config.init_from=runs/imagenet_resnet50

The paper reports a mean IoU on validation of 51.4 at scales (0.5, 1, 2). A minibatch takes 5.25
times the FLOPs of row 1, and 3.08 s on a V100. Not yet trained here. table1_single.py says what all
rows of Table 1 have in common.
"""

from configs.paper import table1_single


def get_config():
    config = table1_single.get_config()
    config.model.attention = "explicit"
    config.objective.scales = (0.5, 1.0, 2.0)
    config.evaluate.protocols = ("explicit:0.5,1,2",)
    return config
