"""Table 1, rows 5 and 6: hierarchical attention, trained on two scales.

    python main.py train --config=configs/paper/table1_hierarchical.py \
        --workdir=runs/table1_hierarchical --config.data.dir=MAPILLARY \
        --config.init_from=runs/imagenet_resnet50

The paper reports a mean IoU on validation of 51.6 at scales (0.5, 1, 2) and of 52.2 at
(0.25, 0.5, 1, 2). A minibatch takes 1.25 times the FLOPs of row 1, and 1.17 s on a V100. Not yet
trained here. table1_single.py says what all rows of Table 1 have in common.
"""

from configs.paper import table1_single


def get_config():
    config = table1_single.get_config()
    config.model.attention = "hierarchical"
    config.objective.scales = (0.5, 1.0)
    config.evaluate.protocols = ("hierarchical:0.5,1,2", "hierarchical:0.25,0.5,1,2")
    return config
