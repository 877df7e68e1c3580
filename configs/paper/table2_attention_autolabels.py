"""Table 2, row 4: hierarchical attention, half of the crops from auto-labelled images.

    python main.py train --config=configs/paper/table2_attention_autolabels.py \
        --workdir=runs/table2_attention_autolabels --config.data.dir=CITYSCAPES \
        --config.data.pool.dir=AUTOLABELS

docs/paper_protocol.md says how to make AUTOLABELS. The run starts from runs/mapillary_pretraining,
unless `--config.init_from=RUN` names another one. The paper trained on two nodes of 8 GPUs, with an
image on each GPU, and reports 86.3 (mean IoU, validation). Not yet trained here.
"""

from configs.paper import table2_attention
from configs.paper.table2_autolabels import with_autolabels


def get_config():
    config = table2_attention.get_config()
    with_autolabels(config)
    return config
