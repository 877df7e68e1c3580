"""Table 2, row 2: Cityscapes with hierarchical attention and the owners' coarse labels.

    python main.py train --config=configs/paper/table2_attention.py \
        --workdir=runs/table2_attention --config.data.dir=CITYSCAPES

Starts from runs/mapillary_pretraining; `--config.init_from=RUN` names another run. The paper
trained on two nodes of 8 GPUs, an image each, and has 85.4 (mean IoU, validation). Not yet trained
here.

This run is the teacher as well, which section 2 trains on fine and coarse labels: what it says of
the coarse images are the labels of rows 3 and 4.
"""

from configs.paper import table2_baseline


def get_config():
    config = table2_baseline.get_config()
    config.model.attention = "hierarchical"
    config.objective.scales = (0.5, 1.0)
    config.objective.scale_weight = 0.05  # of the authors' recipes for Cityscapes
    config.evaluate.protocols = ("hierarchical:0.5,1,2",)
    return config
