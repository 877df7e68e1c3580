"""ResNet at output stride 8, the trunk of the paper's ablations (paper section 3.1)."""

import dataclasses
import functools

import jax
from flax import nnx

from hmsa_jax.models.layers.canvas import FILLED, Canvas
from hmsa_jax.models.layers.conv import ConvBN, Sequence
from hmsa_jax.models.layers.layer import Layer
from hmsa_jax.models.remat import with_policy
from hmsa_jax.models.trunks.bottleneck import EXPANSION, Bottleneck
from hmsa_jax.models.trunks.trunk import Trunk

COARSEST_STRIDE = 8
_STEM_CHANNELS = 64
_DILATIONS = (1, 1, 2, 4)  # of the four stages: the last two keep stride 8 and dilate instead


@dataclasses.dataclass(frozen=True)
class ResNetSize:
    """The numbers that tell one ResNet from another.

    Attributes:
      blocks: bottleneck blocks in each of the four stages.
      channels: inner channels of the first stage's bottlenecks; every stage doubles them.
    """

    blocks: tuple[int, int, int, int]
    channels: int = 64


SIZES = {"resnet50": ResNetSize((3, 4, 6, 3)), "resnet101": ResNetSize((3, 4, 23, 3))}

# Our layer -> the published convolution and BatchNorm.
PUBLISHED_NAMES = {
    "trunk.stem": ("backbone.layer0.0", "backbone.layer0.1"),
    "trunk.stages.{0}.layers.{1}.conv{2}": (
        "backbone.layer{0:+1}.{1}.conv{2}",
        "backbone.layer{0:+1}.{1}.bn{2}",
    ),
    "trunk.stages.{0}.layers.{1}.shortcut": (
        "backbone.layer{0:+1}.{1}.downsample.0",
        "backbone.layer{0:+1}.{1}.downsample.1",
    ),
}
# torchvision's names -> the published ones; its classifier has no place here.
RENAMED = {
    r"^conv1\.": "backbone.layer0.0.",
    r"^bn1\.": "backbone.layer0.1.",
    r"^layer(?=\d)": "backbone.layer",
}
DROPPED = r"^fc\."


class ResNet(nnx.Module):
    """The trunk.

    Args:
      size: one of `SIZES`, or numbers of one's own.
      layer: dtype to compute in and generator that the kernels are drawn from.
      remat: one of `remat.POLICIES`, for each stage.

    Attributes:
      fine_channels: channels of the features at stride 4.
      channels: channels of the features at stride 8.
    """

    def __init__(self, size: ResNetSize, layer: Layer, *, remat: str):
        self.remat = remat
        self.stem = ConvBN(3, _STEM_CHANNELS, layer, kernel=7, stride=2)
        self.stages: nnx.List = nnx.List()
        inputs = _STEM_CHANNELS
        for i, (blocks, dilation) in enumerate(zip(size.blocks, _DILATIONS, strict=True)):
            channels = size.channels * 2**i
            outputs = channels * EXPANSION
            self.stages.append(
                Sequence(
                    *(
                        Bottleneck(
                            outputs if block else inputs,
                            channels,
                            layer,
                            stride=2 if i == 1 and block == 0 else 1,
                            dilation=dilation,
                        )
                        for block in range(blocks)
                    )
                )
            )
            inputs = outputs
        self.fine_channels = size.channels * EXPANSION
        self.channels = inputs

    def __call__(
        self, images: jax.Array, *, train: bool, canvas: Canvas = FILLED
    ) -> tuple[jax.Array, jax.Array]:
        """Maps normalised images `[B, H, W, 3]` to features at strides 4 and 8.

        Returns:
          `[B, H / 4, W / 4, fine_channels]` and `[B, H / 8, W / 8, channels]`.
        """

        def run(module, x):
            return module(x, train=train, canvas=canvas)

        if train:
            run = with_policy(run, self.remat)
        with jax.named_scope("stem"):
            x = nnx.max_pool(
                self.stem(images, train=train, canvas=canvas),
                (3, 3),
                strides=(2, 2),
                padding=((1, 1), (1, 1)),
            )
        of_stages = []
        for i, stage in enumerate(self.stages):
            with jax.named_scope(f"stage_{i + 1}"):
                x = run(stage, x)
            of_stages.append(x)
        return of_stages[0], x


def trunk(size: ResNetSize) -> Trunk:
    """The entry of a ResNet."""
    return Trunk(
        build=functools.partial(ResNet, size),
        decoder="deeplab",
        coarsest_stride=COARSEST_STRIDE,
        published_names=PUBLISHED_NAMES,
        renamed=RENAMED,
        dropped=DROPPED,
        landmarks={  # the last block of the third stage, in which they differ
            f"backbone.layer3.{size.blocks[2] - 1}.conv3": size.channels * 4 * EXPANSION,
            f"backbone.layer3.{size.blocks[2]}.conv3": 0,
        },
    )
