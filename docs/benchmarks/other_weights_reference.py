"""Networks of other projects with seeded weights, and what they predict, to compare ours with.

    git clone https://github.com/PaddlePaddle/PaddleSeg PADDLESEG
    pip install paddlepaddle==3.3.0 pyyaml opencv-python-headless    # in an environment of its own
    python docs/benchmarks/other_weights_reference.py paddleseg OUT w18 PADDLESEG

    pip install torch torchvision timm safetensors mmsegmentation==1.2.2 mmcv-lite==2.1.0 \\
        mmengine ftfy regex setuptools                                 # in another one
    python docs/benchmarks/other_weights_reference.py mmsegmentation OUT w18
    python docs/benchmarks/other_weights_reference.py timm OUT w18

The third word is a width of HRNet, w18 or w48; for timm also w32 and resnet50. Writes
OUT/SOURCE-WIDTH.* as the framework saves weights, and OUT/SOURCE-WIDTH.npz, an image and what the
network predicts of it. docs/benchmarks/other_weights.py reads both.
"""

import pathlib
import sys
import types

import numpy as np

SIZE, CLASSES, SEED = (64, 128), 19, 11
SCALES = (0.5, 1.0, 2.0)


def draw(names_and_shapes: dict) -> dict[str, np.ndarray]:
    """Seeded weights under which activations neither vanish nor explode.

    Args:
      names_and_shapes: of every tensor, in any framework's names.
    """
    state = {}
    for number, (name, shape) in enumerate(sorted(names_and_shapes.items())):
        rng = np.random.default_rng([SEED, number])
        leaf = name.rpartition(".")[2]
        if leaf == "num_batches_tracked":
            state[name] = np.asarray(7, np.int64)
            continue
        if leaf in ("running_mean", "_mean"):
            value = 0.3 * rng.standard_normal(shape)
        elif leaf in ("running_var", "_variance"):
            value = 0.6 + 0.9 * rng.random(shape)
        elif leaf == "bias":
            value = 0.2 * rng.standard_normal(shape)
        elif len(shape) == 1:  # of a BatchNorm: small, since residual branches are summed up
            value = 0.3 + 0.3 * rng.random(shape)
        else:
            value = rng.standard_normal(shape) * (2 / np.prod(shape[1:])) ** 0.5
        state[name] = value.astype(np.float32)
    return state


def image() -> np.ndarray:
    """A normalised image, `[1, 3, rows, columns]`."""
    return np.random.default_rng([SEED, 1]).standard_normal((1, 3, *SIZE)).astype(np.float32)


def of_paddleseg(out: pathlib.Path, width: str, folder: str) -> dict:
    """The network of contrib/CityscapesSOTA, which has the attention of the paper."""
    sys.path[:0] = [folder, f"{folder}/contrib/CityscapesSOTA"]
    import paddle

    paddle.set_device("cpu")
    import models
    from models.backbones import hrnet_nv

    trunk = getattr(hrnet_nv, f"HRNet_{width.upper()}_NV")()
    network = models.MscaleOCRNet(CLASSES, trunk, [0], n_scales=list(SCALES))
    network.eval()
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    network.set_state_dict({k: paddle.to_tensor(v) for k, v in draw(shapes).items()})
    # As the published file: it is of the time when PaddlePaddle wrote protocol 2.
    paddle.save(network.state_dict(), str(out / f"paddleseg-{width}.pdparams"), protocol=2)
    x = paddle.to_tensor(image())
    with paddle.no_grad():
        single = network.single_scale_forward(x)
        (several,) = network(x)
    return {
        "logits": single["cls_out"].numpy(),
        "aux_logits": single["aux_out"].numpy(),
        "attention": single["logit_attn"].numpy(),
        "three scales": several.numpy(),
    }


def of_mmsegmentation(out: pathlib.Path, width: str) -> dict:
    """OCRNet on HRNet, as configs/ocrnet/ocrnet_hr*_4xb2-160k_cityscapes-512x1024.py have it."""
    import torch
    from mmengine.registry import init_default_scope

    mmcv_without_operators()
    import mmseg.models  # noqa: F401
    from mmseg.registry import MODELS

    init_default_scope("mmseg")
    network = MODELS.build(mmseg_config(int(width[1:]))).eval()
    state = load_drawn(network)
    checkpoint = {"meta": {"epoch": 1, "CLASSES": ("road",)}, "state_dict": state}
    torch.save(checkpoint, out / f"mmsegmentation-{width}.pth")
    x = torch.from_numpy(image())
    with torch.no_grad():
        features = network.backbone(x)
        aux = network.decode_head[0].forward(features)
        logits = network.decode_head[1].forward(features, aux)
        size = {"size": SIZE, "mode": "bilinear", "align_corners": False}
        resized = [torch.nn.functional.interpolate(y, **size).numpy() for y in (logits, aux)]
    return dict(zip(("logits", "aux_logits"), resized, strict=True))


def mmcv_without_operators() -> None:
    """mmcv-lite lacks the operators in C++, which mmsegmentation imports and OCRNet does not use."""
    import mmcv

    class Operators(types.ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

    mmcv.ops = sys.modules["mmcv.ops"] = Operators("mmcv.ops")


def mmseg_config(width: int) -> dict:
    widths = [width * 2**i for i in range(4)]
    norm = {"type": "BN", "requires_grad": True}
    stages = {
        f"stage{n}": {
            "num_modules": modules,
            "num_branches": n,
            "block": "BOTTLENECK" if n == 1 else "BASIC",
            "num_blocks": (4,) * n,
            "num_channels": (64,) if n == 1 else tuple(widths[:n]),
        }
        for n, modules in ((1, 1), (2, 1), (3, 4), (4, 3))
    }
    head = {
        "in_channels": widths,
        "in_index": (0, 1, 2, 3),
        "input_transform": "resize_concat",
        "dropout_ratio": -1,
        "num_classes": CLASSES,
        "norm_cfg": norm,
        "align_corners": False,
    }
    auxiliary = {"channels": sum(widths), "kernel_size": 1, "num_convs": 1, "concat_input": False}
    return {
        "type": "CascadeEncoderDecoder",
        "num_stages": 2,
        "backbone": {"type": "HRNet", "norm_cfg": norm, "norm_eval": False, "extra": stages},
        "decode_head": [
            head | {"type": "FCNHead"} | auxiliary,
            head | {"type": "OCRHead", "channels": 512, "ocr_channels": 256},
        ],
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }


def of_timm(out: pathlib.Path, width: str) -> dict:
    """The trunk alone, changed to what a segmentation network makes of it.

    Trained on ImageNet an HRNet enlarges branches by repeating pixels, and a ResNet halves the
    image five times; the published code takes the same weights for a trunk that interpolates, and
    for one that dilates in place of the last two strides.
    """
    import safetensors.torch
    import timm
    import torch

    is_resnet = width == "resnet50"
    network = timm.create_model(width if is_resnet else f"hrnet_{width}").eval()
    safetensors.torch.save_file(load_drawn(network), out / f"timm-{width}.safetensors")
    x = torch.from_numpy(image())
    with torch.no_grad():
        if is_resnet:
            for layer, dilation in ((network.layer3, 2), (network.layer4, 4)):
                layer[0].downsample[0].stride = (1, 1)
                for block in layer:
                    conv = block.conv2
                    conv.stride, conv.dilation, conv.padding = (
                        (1, 1),
                        (dilation,) * 2,
                        (dilation,) * 2,
                    )
            y = network.maxpool(network.act1(network.bn1(network.conv1(x))))
            fine = network.layer1(y)
            return {"fine": fine.numpy(), "coarse": network.forward_features(x).numpy()}
        for module in network.modules():
            if isinstance(module, torch.nn.Upsample):
                module.mode, module.align_corners = "bilinear", False
        y = network.act2(network.bn2(network.conv2(network.act1(network.bn1(network.conv1(x))))))
        branches = network.stages(y)
        size = {"size": branches[0].shape[2:], "mode": "bilinear", "align_corners": False}
        features = [torch.nn.functional.interpolate(y, **size) for y in branches]
        return {"features": torch.cat(features, 1).numpy()}


def load_drawn(network) -> dict:
    """The seeded state dict of a PyTorch network, which has it now."""
    import torch

    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    state = {name: torch.from_numpy(np.array(value)) for name, value in draw(shapes).items()}
    network.load_state_dict(state)
    return state


SOURCES = {"paddleseg": of_paddleseg, "mmsegmentation": of_mmsegmentation, "timm": of_timm}


def main(source: str, out: str, width: str, *folder: str) -> None:
    out = pathlib.Path(out)
    out.mkdir(exist_ok=True, parents=True)
    predictions = SOURCES[source](out, width, *folder)
    np.savez(out / f"{source}-{width}.npz", image=image(), **predictions)


if __name__ == "__main__":
    main(*sys.argv[1:])
