"""The paper's tables on painted streets, on a laptop.

    python main.py ablate --workdir=TABLES

docs/results/ablation_street_scenes.md says how long it takes and what comes out.
"""

from configs import street_scenes


def get_config():
    config = street_scenes.get_config()
    config.steps = 600
    # The smaller scale of the training then has what 0.5 and 1 have in an evaluation, and the
    # larger one what 1 and 2 have.
    config.data.scale_range = (1.0, 2.0)
    config.data.pool.name = "street_scenes_coarse"
    config.optimizer.name = "adamw"
    config.optimizer.learning_rate = 0.004
    config.optimizer.weight_decay = 0.01
    return config
