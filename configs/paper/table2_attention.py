"""Table 2, row 2: Cityscapes with hierarchical attention and the owners' coarse labels.

    python main.py train --config=configs/paper/table2_attention.py \
        --workdir=runs/table2_attention --config.data.dir=CITYSCAPES

The run starts from runs/mapillary_pretraining, unless `--config.init_from=RUN` names another one.
The paper trained on two nodes of 8 GPUs, with an image on each GPU, and reports 85.4 (mean IoU,
validation). Not yet trained here.

This run is also the teacher, which section 2 trains on fine and coarse labels: rows 3 and 4 learn
from the labels that it gives the coarse images.
"""

from configs.paper import table2_baseline


def get_config():
    config = table2_baseline.get_config()
    config.model.attention = "hierarchical"
    config.objective.scales = (0.5, 1.0)
    config.objective.scale_weight = 0.05  # of the authors' recipes for Cityscapes
    config.evaluate.protocols = ("hierarchical:0.5,1,2",)
    return config
