"""Table 1, rows 5 and 6: hierarchical attention, trained on two scales.

    python main.py train --config=configs/paper/table1_hierarchical.py \
        --workdir=runs/table1_hierarchical --config.data.dir=MAPILLARY \
        --config.init_from=runs/imagenet_resnet50

Mean IoU on validation in the paper: 51.6 at scales (0.5, 1, 2), 52.2 at (0.25, 0.5, 1, 2); FLOPs of
training 1.25x, 1.17 s a minibatch on a V100. Not yet trained here. table1_single.py says what else
Table 1 has in common.
"""

from configs.paper import table1_single


def get_config():
    config = table1_single.get_config()
    config.model.attention = "hierarchical"
    config.objective.scales = (0.5, 1.0)
    config.evaluate.protocols = ("hierarchical:0.5,1,2", "hierarchical:0.25,0.5,1,2")
    return config
