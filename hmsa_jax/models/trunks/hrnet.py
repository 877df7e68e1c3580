"""HRNetV2, the trunk of the paper's best network (paper section 3.1).

Parallel branches at strides 4, 8, 16 and 32 exchange features after every module; at the end all
are brought to stride 4 and concatenated.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import nnx

from hmsa_jax.models.layers.canvas import FILLED, Canvas
from hmsa_jax.models.layers.conv import ConvBN, Sequence
from hmsa_jax.models.layers.layer import Layer
from hmsa_jax.models.layers.materialization import materialize
from hmsa_jax.models.remat import with_policy
from hmsa_jax.models.trunks.bottleneck import EXPANSION, Bottleneck
from hmsa_jax.models.trunks.trunk import Trunk

COARSEST_STRIDE = 32  # of the lowest branch; the features have stride 4
_STEM_CHANNELS = 64


@dataclasses.dataclass(frozen=True)
class HRNetSize:
    """The numbers that tell one HRNet from another.

    Attributes:
      widths: channels of the branches at strides 4, 8, 16 and 32.
      modules: multi-resolution modules in stages 2, 3 and 4.
      blocks: basic blocks in each branch of a module.
      stage1_blocks: bottleneck blocks in stage 1.
      stage1_channels: inner channels of those bottlenecks.
    """

    widths: tuple[int, int, int, int]
    modules: tuple[int, int, int] = (1, 4, 3)
    blocks: int = 4
    stage1_blocks: int = 4
    stage1_channels: int = 64


SIZES = {
    "tiny": HRNetSize((8, 16, 32, 64), (1, 1, 1), 2, 2, 16),
    "w18_small": HRNetSize((16, 32, 64, 128), (1, 1, 1), 2, 1, 32),
    "w18": HRNetSize((18, 36, 72, 144)),
    "w32": HRNetSize((32, 64, 128, 256)),
    "w48": HRNetSize((48, 96, 192, 384)),
}

# Our layer -> the published convolution and BatchNorm.
PUBLISHED_NAMES = {
    "trunk.stem.layers.{0}": ("backbone.conv{0:+1}", "backbone.bn{0:+1}"),
    "trunk.stage1.layers.{0}.conv{1}": ("backbone.layer1.{0}.conv{1}", "backbone.layer1.{0}.bn{1}"),
    "trunk.stage1.layers.{0}.shortcut": (
        "backbone.layer1.{0}.downsample.0",
        "backbone.layer1.{0}.downsample.1",
    ),
    "trunk.transitions.{0}.adapt.{1}": (
        "backbone.transition{0:+1}.{1}.0",
        "backbone.transition{0:+1}.{1}.1",
    ),
    "trunk.transitions.{0}.halve": (
        "backbone.transition{0:+1}.{0:+1}.0.0",
        "backbone.transition{0:+1}.{0:+1}.0.1",
    ),
    "trunk.stages.{0}.{1}.branches.{2}.layers.{3}.conv{4}": (
        "backbone.stage{0:+2}.{1}.branches.{2}.{3}.conv{4}",
        "backbone.stage{0:+2}.{1}.branches.{2}.{3}.bn{4}",
    ),
    "trunk.stages.{0}.{1}.exchange.paths.{2}_{3}": (
        "backbone.stage{0:+2}.{1}.fuse_layers.{2}.{3}.0",
        "backbone.stage{0:+2}.{1}.fuse_layers.{2}.{3}.1",
    ),
    "trunk.stages.{0}.{1}.exchange.paths.{2}_{3}.layers.{4}": (
        "backbone.stage{0:+2}.{1}.fuse_layers.{2}.{3}.{4}.0",
        "backbone.stage{0:+2}.{1}.fuse_layers.{2}.{3}.{4}.1",
    ),
}
# What PaddleSeg calls the same layers.
_PADDLE_MODULE = "backbone.st{0:+2}.stage_st{0:+2}_{1:+1}"
_PADDLE_PATH = f"{_PADDLE_MODULE}.fuse_func.residual_st{{0:+2}}_{{1:+1}}_layer_{{2:+1}}_{{3:+1}}"
_PADDLE_BLOCK = "branches_func.bb_st{0:+2}_{1:+1}_branch_layer_{2:+1}_{3:+1}"
PADDLE_NAMES = {
    layer: (f"{module}._conv", f"{module}._batch_norm")
    for layer, module in {
        "trunk.stem.layers.{0}": "backbone.conv_layer1_{0:+1}",
        "trunk.stage1.layers.{0}.conv{1}": "backbone.la1.bb_layer2_{0:+1}.conv{1}",
        "trunk.stage1.layers.{0}.shortcut": "backbone.la1.bb_layer2_{0:+1}.conv_down",
        # First the new branch: the names of the others are of its form.
        "trunk.transitions.{0}.halve": "backbone.tr{0:+1}.transition_tr{0:+1}_layer_{0:+2}",
        "trunk.transitions.{0}.adapt.{1}": "backbone.tr{0:+1}.transition_tr{0:+1}_layer_{1:+1}",
        "trunk.stages.{0}.{1}.branches.{2}.layers.{3}.conv{4}": (
            f"{_PADDLE_MODULE}.{_PADDLE_BLOCK}.conv{{4}}"
        ),
        "trunk.stages.{0}.{1}.exchange.paths.{2}_{3}": _PADDLE_PATH,
        "trunk.stages.{0}.{1}.exchange.paths.{2}_{3}.layers.{4}": f"{_PADDLE_PATH}_{{4:+1}}",
    }.items()
}
# Names of HRNet by itself, as for ImageNet -> the published ones; its classifier has no place here.
RENAMED = {r"^(?=(conv|bn|layer|transition|stage)\d\.)": "backbone."}
DROPPED = r"^(incre_modules|downsamp_modules|final_layer|classifier)\."


class BasicBlock(nnx.Module):
    """Two 3x3 convolutions with a residual connection."""

    def __init__(self, channels: int, layer: Layer):
        self.conv1 = ConvBN(channels, channels, layer, kernel=3)
        self.conv2 = ConvBN(channels, channels, layer, kernel=3, relu=False)

    def __call__(self, x: jax.Array, *, train: bool, canvas: Canvas = FILLED) -> jax.Array:
        y = self.conv2(self.conv1(x, train=train, canvas=canvas), train=train, canvas=canvas)
        return jax.nn.relu(x + y)


class Exchange(nnx.Module):
    """Sums every branch into every other (the "fuse layers"): output i is the sum over j of

    the branch itself (j = i), a 1x1 convolution enlarged to its size (j > i, coarser), or i - j
    3x3 convolutions of stride 2, of which the last changes the channels (j < i, finer).

    Attributes:
      whole_rows: whether no devices share out the rows of an image, see `resize_bilinear`.
    """

    def __init__(self, widths: tuple[int, ...], layer: Layer):
        def path(i, j):
            if j > i:
                return ConvBN(widths[j], widths[i], layer, relu=False)
            halvings = [
                ConvBN(
                    widths[j],
                    widths[i] if last else widths[j],
                    layer,
                    kernel=3,
                    stride=2,
                    relu=not last,
                )
                for last in [False] * (i - j - 1) + [True]
            ]
            return Sequence(*halvings)

        self.paths = nnx.Dict(
            {
                f"{i}_{j}": path(i, j)
                for i in range(len(widths))
                for j in range(len(widths))
                if i != j
            }
        )
        self.whole_rows = False

    def __call__(
        self, branches: list[jax.Array], *, train: bool, canvas: Canvas = FILLED
    ) -> list[jax.Array]:
        outputs = []
        for i, target in enumerate(branches):
            terms = []
            for j, branch in enumerate(branches):
                term = (
                    branch if i == j else self.paths[f"{i}_{j}"](branch, train=train, canvas=canvas)
                )
                if j > i:
                    term = canvas.resize(term, target.shape[1:3], whole_rows=self.whole_rows)
                terms.append(term)
            outputs.append(jax.nn.relu(sum(terms[1:], terms[0])))
        return outputs


class MultiResolutionModule(nnx.Module):
    """Basic blocks on each branch, then the exchange between branches."""

    def __init__(self, widths: tuple[int, ...], blocks: int, layer: Layer):
        self.branches = nnx.List(
            Sequence(*(BasicBlock(width, layer) for _ in range(blocks))) for width in widths
        )
        self.exchange = Exchange(widths, layer)

    def __call__(
        self, xs: list[jax.Array], *, train: bool, canvas: Canvas = FILLED
    ) -> list[jax.Array]:
        outputs = []
        for i, (branch, x) in enumerate(zip(self.branches, xs, strict=True)):
            with jax.named_scope(f"branch_{i}"):
                outputs.append(branch(x, train=train, canvas=canvas))
        with jax.named_scope("exchange"):
            return self.exchange(outputs, train=train, canvas=canvas)


class Transition(nnx.Module):
    """Opens the branches of a stage: adapts channels where they change, halves for a new branch."""

    def __init__(self, inputs: tuple[int, ...], outputs: tuple[int, ...], layer: Layer):
        self.adapt = nnx.List(
            ConvBN(i, o, layer, kernel=3) if i != o else None
            for i, o in zip(inputs, outputs, strict=False)
        )
        self.halve = ConvBN(inputs[-1], outputs[-1], layer, kernel=3, stride=2)

    def __call__(
        self, xs: list[jax.Array], *, train: bool, canvas: Canvas = FILLED
    ) -> list[jax.Array]:
        kept = [
            x if adapt is None else adapt(x, train=train, canvas=canvas)
            for adapt, x in zip(self.adapt, xs, strict=True)
        ]
        return [*kept, self.halve(xs[-1], train=train, canvas=canvas)]


class HRNet(nnx.Module):
    """The trunk.

    Args:
      size: one of `SIZES`, or numbers of one's own.
      layer: dtype to compute in and generator that the kernels are drawn from.
      remat: one of `remat.POLICIES`, for stage 1 and for each module of the other stages.

    Attributes:
      channels: channels of the features, the sum of the branches' widths.
      whole_rows: whether no devices share out the rows of an image, see `resize_bilinear`.
    """

    def __init__(
        self,
        size: HRNetSize,
        layer: Layer,
        *,
        remat: str,
    ):
        self.channels = sum(size.widths)
        self.whole_rows = False
        self.remat = remat
        self.stem = Sequence(
            ConvBN(3, _STEM_CHANNELS, layer, kernel=3, stride=2),
            ConvBN(_STEM_CHANNELS, _STEM_CHANNELS, layer, kernel=3, stride=2),
        )
        stage1_width = size.stage1_channels * EXPANSION
        self.stage1 = Sequence(
            *(
                Bottleneck(stage1_width if i else _STEM_CHANNELS, size.stage1_channels, layer)
                for i in range(size.stage1_blocks)
            )
        )
        self.transitions: nnx.List = nnx.List()
        self.stages: nnx.List = nnx.List()
        previous: tuple[int, ...] = (stage1_width,)
        for branches, modules in zip((2, 3, 4), size.modules, strict=True):
            widths = size.widths[:branches]
            self.transitions.append(Transition(previous, widths, layer))
            self.stages.append(
                nnx.List(MultiResolutionModule(widths, size.blocks, layer) for _ in range(modules))
            )
            previous = widths

    def __call__(self, images: jax.Array, *, train: bool, canvas: Canvas = FILLED) -> jax.Array:
        """Maps normalised images `[B, H, W, 3]` to features `[B, H / 4, W / 4, channels]`."""

        def run(module, xs):
            return module(xs, train=train, canvas=canvas)

        if train:
            run = with_policy(run, self.remat)
        with jax.named_scope("stem"):
            x = self.stem(images, train=train, canvas=canvas)
        with jax.named_scope("stage_1"):
            xs = materialize([run(self.stage1, x)])
        for i, (transition, stage) in enumerate(zip(self.transitions, self.stages, strict=True)):
            with jax.named_scope(f"transition_{i + 2}"):
                xs = transition(xs, train=train, canvas=canvas)
            with jax.named_scope(f"stage_{i + 2}"):
                for module in stage:
                    xs = materialize(run(module, xs))
        with jax.named_scope("concatenation"):
            size = xs[0].shape[1:3]
            enlarge = functools.partial(canvas.resize, size=size, whole_rows=self.whole_rows)
            return jnp.concatenate([enlarge(x) for x in xs], axis=-1)


def trunk(size: HRNetSize) -> Trunk:
    """The entry of an HRNet."""
    return Trunk(
        build=functools.partial(HRNet, size),
        decoder="ocr",
        coarsest_stride=COARSEST_STRIDE,
        published_names=PUBLISHED_NAMES,
        renamed=RENAMED,
        dropped=DROPPED,
        other_names={"paddleseg": PADDLE_NAMES},
        landmarks=_landmarks(size),
    )


def _landmarks(size: HRNetSize) -> dict[str, int]:
    """The last block of the last module, and that there is neither block nor module after it."""
    modules, blocks = size.modules[-1], size.blocks
    module = "backbone.stage4.{}.branches.3.{}.conv2"
    return {
        module.format(modules - 1, blocks - 1): size.widths[-1],
        module.format(modules - 1, blocks): 0,
        module.format(modules, 0): 0,
    }
