"""The paper's Table 1 on CamVid at 480 x 360, without auto-labels.

    python main.py ablate --config=configs/ablation/camvid.py --workdir=TABLES \
        --config.data.dir=CAMVID --config.init_from=STREETS/seed-0/single

All networks start from one that knows painted streets: STREETS has the tables of
configs/ablation/street_scenes.py. docs/results/ablation_camvid.md says how long it takes and what
comes out. The docstring of data/camvid.py says where to get the images and how to lay them out. All
is chosen on the validation split; `--config.data.eval_split=test` scores the test split.
"""

from configs import camvid


def get_config():
    config = camvid.get_config()
    config.steps = 700
    config.data.batch_size = 2  # as many crops in more steps teach more
    config.data.scale_range = (1.0, 2.0)  # as in street_scenes.py
    config.data.class_uniform_share = 0.5
    config.data.class_uniform_tile = 128
    # sqrt(median of all p / p) of each class' share p of the labelled pixels: without weights poles
    # are not learnt, and with the ratios themselves (Eigen and Fergus 2015) buildings suffer.
    config.objective.class_weights = (0.52, 0.44, 2.1, 0.38, 1.0, 0.68, 2.0, 2.0, 0.87, 2.7, 3.9)
    config.objective.scale_weight = 0.1
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 0.002
    config.optimizer.weight_decay = 0.01
    return config
