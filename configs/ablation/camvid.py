"""The paper's Table 1 on CamVid at 480 x 360, without auto-labels.

    python main.py ablate --config=configs/ablation/camvid.py --workdir=TABLES \
        --config.data.dir=CAMVID

The docstring of data/camvid.py says where to get the images and how to lay them out. All is chosen
on the validation split; `--config.data.eval_split=test` scores the test split.
"""

from configs import camvid


def get_config():
    config = camvid.get_config()
    config.data.scale_range = (1.0, 2.0)  # as in street_scenes.py
    config.data.class_uniform_share = 0.5
    config.data.class_uniform_tile = 128
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 0.004
    config.optimizer.weight_decay = 0.01
    return config
