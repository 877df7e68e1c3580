"""Table 2, row 3: Cityscapes without attention, half of the crops from auto-labelled images.

    python main.py train --config=configs/paper/table2_autolabels.py \
        --workdir=runs/table2_autolabels --config.data.dir=CITYSCAPES \
        --config.data.pool.dir=AUTOLABELS

docs/paper_protocol.md says how to make AUTOLABELS. The run starts from runs/mapillary_pretraining,
unless `--config.init_from=RUN` names another one. The paper trained on two nodes of 8 GPUs, with an
image on each GPU, and reports 86.0 (mean IoU, validation, average over the scales). Not yet trained
here.
"""

from configs.paper import table2_baseline


def get_config():
    config = table2_baseline.get_config()
    with_autolabels(config)
    return config


def with_autolabels(config):
    """Replaces the coarse labels by a teacher's labels, to the last epoch (section 5.1.1)."""
    config.data.pool.name = "folder"
    config.data.pool.dir = ""
    config.data.pool.split = "train"
    config.data.pool.share = 0.5
    config.data.pool.boost_classes = ()
    config.data.pool.boost_until_epoch = 0
