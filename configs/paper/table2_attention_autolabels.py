"""Table 2, row 4: hierarchical attention, half of the crops from auto-labelled images.

    python main.py train --config=configs/paper/table2_attention_autolabels.py \
        --workdir=runs/table2_attention_autolabels --config.data.dir=CITYSCAPES \
        --config.data.pool.dir=AUTOLABELS

docs/paper_protocol.md says how to make AUTOLABELS. Starts from runs/mapillary_pretraining;
`--config.init_from=RUN` names another run. The paper trained on two nodes of 8 GPUs, an image each,
and has 86.3 (mean IoU, validation). Not yet trained here.
"""

from configs.paper import table2_attention
from configs.paper.table2_autolabels import with_autolabels


def get_config():
    config = table2_attention.get_config()
    with_autolabels(config)
    return config
