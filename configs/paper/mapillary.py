"""Table 4: Mapillary with hierarchical attention.

    python main.py train --config=configs/paper/mapillary.py --workdir=runs/mapillary \
        --config.data.dir=MAPILLARY --config.init_from=runs/imagenet_hrnet

docs/paper_protocol.md says how to make runs/imagenet_hrnet. The paper trained on four nodes of 8
GPUs, with an image on each GPU, and reports 61.1 (mean IoU, validation). Not yet trained here.
"""

from configs.paper import mapillary_pretraining


def get_config():
    config = mapillary_pretraining.get_config()
    config.model.attention = "hierarchical"
    config.objective.scales = (0.5, 1.0)
    config.evaluate.protocols = ("hierarchical:0.25,0.5,1,2",)
    return config
