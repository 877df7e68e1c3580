"""The paper's tables on painted streets, on a laptop.

    python main.py ablate --workdir=TABLES

docs/results/ablation_street_scenes.md says how long it takes and what comes out.
"""

from configs import street_scenes


def get_config():
    config = street_scenes.get_config()
    config.steps = 3000
    # Half the crops of street_scenes.py a step: as many crops in all then teach more.
    config.data.batch_size = 4
    config.optimizer.learning_rate = 0.003
    config.data.pool.name = "street_scenes_coarse"
    return config
