"""Networks of other projects with seeded weights, and what they predict, to compare ours with.

    git clone https://github.com/PaddlePaddle/PaddleSeg PADDLESEG
    pip install paddlepaddle==3.3.1 -r PADDLESEG/requirements.txt scikit-image joblib
    python docs/benchmarks/other_weights_reference.py paddleseg OUT w18 PADDLESEG
    python docs/benchmarks/other_weights_reference.py paddleseg_ocrnet OUT w18 PADDLESEG

    pip install torch torchvision timm==1.0.31 safetensors mmsegmentation==1.2.2 \\
        mmcv-lite==2.1.0 mmengine==0.10.7 ftfy regex
    python docs/benchmarks/other_weights_reference.py mmsegmentation OUT w18
    python docs/benchmarks/other_weights_reference.py timm OUT w18

PaddlePaddle and PyTorch have an environment each. The third word is a width of HRNet, w18 or w48;
for timm also w32 and resnet50. Writes OUT/SOURCE-WIDTH.* as the framework saves weights, and
OUT/SOURCE-WIDTH.npz, an image and what the network predicts of it; docs/benchmarks/other_weights.py
reads both. With w18_small the second file is tests/fixtures/SOURCE_small.npz; timm has none.
"""

import json
import pathlib
import sys
import types

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

from tests.fixtures import drawn

SIZE, CLASSES = (64, 128), 19
SCALES = (0.5, 1.0, 2.0)
# Of HRNet: the width, modules of stages 2 to 4, blocks, blocks and channels of stage 1; of OCR:
# its channels. The small one is for tests/fixtures.
NETWORKS = {
    "w18_small": (16, (1, 1, 1), 2, 1, 32, (16, 8)),
    **{f"w{width}": (width, (1, 4, 3), 4, 4, 64, (512, 256)) for width in (18, 48)},
}


def image_of(name: str) -> np.ndarray:
    return drawn.image(32, 64) if name == "w18_small" else drawn.image(*SIZE)


def of_paddleseg(out: pathlib.Path, name: str, folder: str) -> dict:
    """The network of contrib/CityscapesSOTA, which has the attention of the paper."""
    sys.path[:0] = [folder, f"{folder}/contrib/CityscapesSOTA"]
    import paddle

    paddle.set_device("cpu")
    import models
    from models.backbones import hrnet_nv

    sizes, channels = paddleseg_config(name)
    trunk = hrnet_nv.HRNetNV(**sizes)
    network = models.MscaleOCRNet(CLASSES, trunk, [0], n_scales=list(SCALES), **channels)
    shapes = saved_by_paddle(network, out / f"paddleseg-{name}.pdparams")
    x = paddle.to_tensor(image_of(name))
    with paddle.no_grad():
        logits, aux, features = network.ocrnet(x)
        attention = network.scale_attn(features)
        if name == "w18_small":
            predicted = {"logits": logits, "aux_logits": aux, "attention": attention}
            return fixture(shapes, {key: value.numpy() for key, value in predicted.items()})
        single = network.single_scale_forward(x)
        (several,) = network(x)
    return {
        "logits": single["cls_out"].numpy(),
        "aux_logits": single["aux_out"].numpy(),
        "attention": single["logit_attn"].numpy(),
        "three scales": several.numpy(),
    }


def of_paddleseg_ocrnet(out: pathlib.Path, name: str, folder: str) -> dict:
    """The network of configs/ocrnet, with both ways to pad of its HRNet."""
    sys.path.insert(0, folder)
    import paddle

    paddle.set_device("cpu")
    from paddleseg.models import OCRNet
    from paddleseg.models.backbones import hrnet

    sizes, channels = paddleseg_config(name)
    predicted = {}
    for padding_same, suffix in ((False, ""), (True, " of padding_same")):
        trunk = hrnet.HRNet(**sizes, padding_same=padding_same)
        network = OCRNet(CLASSES, trunk, [0], **channels)
        shapes = saved_by_paddle(network, out / f"paddleseg_ocrnet-{name}.pdparams")
        x = paddle.to_tensor(image_of(name))
        with paddle.no_grad():
            outputs = network.head(network.backbone(x))
            if name == "w18_small":
                outputs = dict(zip(("logits", "aux_logits"), outputs, strict=True))
                return fixture(shapes, {key: value.numpy() for key, value in outputs.items()})
            size = {"size": SIZE, "mode": "bilinear", "align_corners": False}
            outputs = [paddle.nn.functional.interpolate(y, **size) for y in outputs]
        for kind, value in zip(("logits", "aux_logits"), outputs, strict=True):
            predicted[kind + suffix] = value.numpy()
    return predicted


def paddleseg_config(name: str) -> tuple[dict, dict]:
    """Arguments of an HRNet, and of OCR."""
    width, modules, blocks, stage1_blocks, stage1_channels, ocr = NETWORKS[name]
    sizes = {"stage1_num_blocks": [stage1_blocks], "stage1_num_channels": [stage1_channels]}
    for n, number in zip((2, 3, 4), modules, strict=True):
        sizes[f"stage{n}_num_modules"] = number
        sizes[f"stage{n}_num_blocks"] = [blocks] * n
        sizes[f"stage{n}_num_channels"] = [width * 2**i for i in range(n)]
    return sizes, dict(zip(("ocr_mid_channels", "ocr_key_channels"), ocr, strict=True))


def saved_by_paddle(network, path: pathlib.Path) -> dict:
    """Gives a network seeded weights and saves it; the shapes of its tensors."""
    import paddle

    network.eval()
    shapes = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    network.set_state_dict({k: paddle.to_tensor(v) for k, v in drawn.weights(shapes).items()})
    # As the published files: they are of the time when PaddlePaddle wrote protocol 2.
    paddle.save(network.state_dict(), str(path), protocol=2)
    return shapes


def fixture(shapes: dict, predicted: dict) -> dict:
    """What a test needs to compute the same: the weights follow from names and shapes."""
    return {"shapes": np.array(json.dumps(shapes)), **predicted}


def of_mmsegmentation(out: pathlib.Path, name: str) -> dict:
    """OCRNet on HRNet, as configs/ocrnet/ocrnet_hr*_4xb2-160k_cityscapes-512x1024.py have it."""
    import torch
    from mmengine.registry import init_default_scope

    mmcv_without_operators()
    import mmseg.models  # noqa: F401
    from mmseg.registry import MODELS

    init_default_scope("mmseg")
    network = MODELS.build(mmseg_config(*NETWORKS[name])).eval()
    state = load_drawn(network)
    checkpoint = {"meta": {"epoch": 1, "CLASSES": ("road",)}, "state_dict": state}
    torch.save(checkpoint, out / f"mmsegmentation-{name}.pth")
    x = torch.from_numpy(image_of(name))
    with torch.no_grad():
        features = network.backbone(x)
        aux = network.decode_head[0].forward(features)
        logits = network.decode_head[1].forward(features, aux)
        if name == "w18_small":
            shapes = {key: tuple(value.shape) for key, value in state.items()}
            return fixture(shapes, {"logits": logits.numpy(), "aux_logits": aux.numpy()})
        size = {"size": SIZE, "mode": "bilinear", "align_corners": False}
        resized = [torch.nn.functional.interpolate(y, **size).numpy() for y in (logits, aux)]
    return dict(zip(("logits", "aux_logits"), resized, strict=True))


def mmcv_without_operators() -> None:
    """mmcv-lite lacks compiled operators, which mmsegmentation imports and OCRNet does not use."""
    import mmcv

    class Operators(types.ModuleType):
        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return type(name, (), {})

    mmcv.ops = sys.modules["mmcv.ops"] = Operators("mmcv.ops")


def mmseg_config(width, modules, blocks, stage1_blocks, stage1_channels, ocr) -> dict:
    widths = [width * 2**i for i in range(4)]
    norm = {"type": "BN", "requires_grad": True}
    stages = {
        f"stage{n}": {
            "num_modules": number,
            "num_branches": n,
            "block": "BOTTLENECK" if n == 1 else "BASIC",
            "num_blocks": (stage1_blocks if n == 1 else blocks,) * n,
            "num_channels": (stage1_channels,) if n == 1 else tuple(widths[:n]),
        }
        for n, number in enumerate((1, *modules), 1)
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
            head | {"type": "OCRHead", "channels": ocr[0], "ocr_channels": ocr[1]},
        ],
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }


def of_timm(out: pathlib.Path, name: str) -> dict:
    """The trunk alone, changed to what a segmentation network makes of it.

    Trained on ImageNet an HRNet enlarges branches by repeating pixels, and a ResNet halves the
    image five times; the published code takes the same weights for a trunk that interpolates, and
    for one that dilates in place of the last two strides.
    """
    import safetensors.torch
    import timm
    import torch

    is_resnet = name == "resnet50"
    network = timm.create_model(name if is_resnet else f"hrnet_{name}").eval()
    safetensors.torch.save_file(load_drawn(network), out / f"timm-{name}.safetensors")
    x = torch.from_numpy(image_of(name))
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
    state = {
        name: torch.from_numpy(np.array(value)) for name, value in drawn.weights(shapes).items()
    }
    network.load_state_dict(state)
    return state


SOURCES = {
    "paddleseg": of_paddleseg,
    "paddleseg_ocrnet": of_paddleseg_ocrnet,
    "mmsegmentation": of_mmsegmentation,
    "timm": of_timm,
}


def main(source: str, out: str, name: str, *folder: str) -> None:
    out = pathlib.Path(out)
    out.mkdir(exist_ok=True, parents=True)
    predictions = SOURCES[source](out, name, *folder)
    image = {} if name == "w18_small" else {"image": image_of(name)}
    np.savez_compressed(out / f"{source}-{name}.npz", **image, **predictions)


if __name__ == "__main__":
    main(*sys.argv[1:])
