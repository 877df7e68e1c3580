"""The published network's predictions for HRNet-W48, to compare ours with.

    git clone https://github.com/NVIDIA/semantic-segmentation PUBLISHED
    python docs/benchmarks/w48_reference.py PUBLISHED OUT

Needs PyTorch, which nothing else here does. Writes OUT/w48.pth, the checkpoint of a two-scale
network with seeded weights, and OUT/w48.npz, an image and what the published code predicts.
"""

import pathlib
import sys
import types

import numpy as np
import torch

ROOT = pathlib.Path(__file__).parents[2]
SIZE, CLASSES, SEED = (128, 256), 19, 11
SCALES = (0.25, 0.5, 1.0, 2.0)


def stub(name: str, **attributes) -> None:
    """Stands in for a package that the published code imports and inference does not use."""
    module = types.ModuleType(name)
    module.__dict__.update(attributes)
    sys.modules[name] = module


def published_network(folder: str) -> tuple[torch.nn.Module, types.ModuleType]:
    """The published HRNet-W48 with attention, without weights, and its settings."""
    sys.path.insert(0, folder)
    np.int = int  # older numpy
    silent = types.SimpleNamespace(msg=lambda *_: None)
    stub("runx", logx=silent)
    stub("runx.logx", logx=silent)
    stub("apex", amp=types.SimpleNamespace(float_function=lambda f: f))
    stub("apex.amp")
    stub("apex.parallel", SyncBatchNorm=torch.nn.BatchNorm2d)
    stub("torchvision", transforms=None, utils=None)
    for name in ("cv2", "tabulate", "PIL", "torchvision.transforms", "torchvision.utils"):
        stub(name, tabulate=None, Image=None)
    from config import cfg

    cfg.MODEL.BNFUNC = torch.nn.BatchNorm2d
    cfg.MODEL.HRNET_CHECKPOINT = ""
    cfg.DATASET.NUM_CLASSES = CLASSES
    cfg.OPTIONS.TORCH_VERSION = 2.13
    import utils  # noqa: F401  the package, before a module of it is replaced

    stub("utils.results_page", ResultsPage=None)
    from network import ocrnet

    return ocrnet.HRNet_Mscale(CLASSES, None).eval(), cfg


def main(folder: str, out: str) -> None:
    sys.path.append(str(ROOT))
    from tests.fixtures import seeded

    network, cfg = published_network(folder)
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    state = {k: torch.from_numpy(np.array(v)) for k, v in seeded.state_dict(SEED, shapes).items()}
    network.load_state_dict(state)
    image = seeded.inputs(SEED, (1, 3, *SIZE))
    inputs = {"images": torch.from_numpy(image)}
    with torch.no_grad():
        single = network._fwd(inputs["images"])
        two = network(inputs)
        cfg.MODEL.N_SCALES = list(SCALES)
        several = network(inputs)
    arrays = {
        "image": image,
        "logits": single["cls_out"],
        "aux_logits": single["aux_out"],
        "attention": single["logit_attn"],
        "two scales": two["pred"],
        "four scales": several["pred"],
    }
    out = pathlib.Path(out)
    out.mkdir(exist_ok=True)
    np.savez(out / "w48.npz", **{name: np.asarray(value) for name, value in arrays.items()})
    checkpoint = {"epoch": 175, "state_dict": {f"module.{k}": v for k, v in state.items()}}
    torch.save(checkpoint, out / "w48.pth")


if __name__ == "__main__":
    main(*sys.argv[1:])
