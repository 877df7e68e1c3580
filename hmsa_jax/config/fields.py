"""Every field of an experiment: its default, what it may hold and what it means.

All that is known of a field comes from here: configs/base.py, the check of a config, the values
that the command line accepts, `python main.py fields` and docs/configuration.md. Defaults are the
paper's where the paper names one.
"""

import string
from typing import Any

from etils import epy

from hmsa_jax.config.field import (
    Field,
    Kind,
    flag,
    is_number,
    is_whole,
    number,
    one_of,
    path,
    text,
    tuple_of,
    whole,
)

with epy.lazy_imports():  # their registries are asked when a value is checked, not here
    from data import encodings, registry
    from hmsa_jax import metrics
    from hmsa_jax.inference import protocol, tile_grid
    from hmsa_jax.input import geometric, resampling, worker_count
    from hmsa_jax.losses import objective, rmi
    from hmsa_jax.models import (
        attentions,
        fusion,
        heads,
        initialization,
        multiscale,
        remat,
        trunks,
    )
    from hmsa_jax.performance import profiling
    from hmsa_jax.training import boards, length, optimizer

_LONGEST = 2**16  # pixels of a side of a crop
_MOST_CHANNELS = 2**16

_SHARE = number("a number in [0, 1]", lambda v: 0 <= v <= 1)
_BELOW_ONE = number("a number in [0, 1)", lambda v: 0 <= v < 1)
_AT_LEAST_ZERO = number("a number, 0 or more", lambda v: v >= 0)
_POSITIVE = whole(1)
_EPOCH = whole(0)
_CHANNELS = whole(1, _MOST_CHANNELS)
_RESOLUTION = one_of(lambda: fusion.RESOLUTIONS)


def _is_profile(value: str) -> bool:
    profiling.parse(value)  # raises ValueError
    return True


def _is_crop_size(sides: tuple) -> bool:
    return len(sides) == 2 and all(is_whole(side) and 32 <= side <= _LONGEST for side in sides)


def _is_scale_range(ends: tuple) -> bool:
    return len(ends) == 2 and all(map(is_number, ends)) and 0 < ends[0] <= ends[1]


def _is_digest(text: str) -> bool:
    return set(text) <= set(string.hexdigits.lower())


def _are_scales(scales: tuple) -> bool:
    return all(is_number(scale) and scale > 0 for scale in scales) and 1.0 in scales


def _is_workers(value: int | str) -> bool:
    return value == worker_count.AUTO or whole(0).accepts(value)


def _read_workers(text: str) -> int | str:
    return text if text == worker_count.AUTO else int(text)


def _are_class_weights(weights: tuple) -> bool:
    """In float32 smaller ones would be none, and sums of larger ones no numbers."""
    possible = all(is_number(w) and (w == 0 or 1e-6 <= w <= 1e6) for w in weights)
    return possible and (not weights or any(weights))


def _are_names(names: tuple) -> bool:
    return all(isinstance(name, str) for name in names)


def _are_metrics(names: tuple) -> bool:
    return set(names) <= set(metrics.METRICS.names()) and len(set(names)) == len(names)


def _are_boards(names: tuple) -> bool:
    return set(names) <= set(boards.BOARDS.names()) and len(set(names)) == len(names)


def _is_protocol_or_none(text: str) -> bool:
    return not text or bool(protocol.parse(text))


def _is_interval(value: int | str) -> bool:
    return bool(length.parse(value))


def _read_interval(text: str) -> int | str:
    value = int(text) if text.isdecimal() else text
    length.parse(value)
    return value


def _are_protocols(texts: tuple) -> bool:
    return bool(protocol.parse_all(texts))


# The groups in the order of their fields. The first one holds the fields without a group.
GROUPS = {
    "": "The run as a whole.",
    "data": "The images that are trained on and evaluated, and the crops that training takes.",
    "data.pool": "A second data set with the same classes, coarsely labelled or auto-labelled,"
    " which gives a share of the crops.",
    "augment": "Random colours and sharpness of the crops, on the device; 0.0 and False are off.",
    "model": "The network.",
    "objective": "What training minimises: main loss + aux_weight x auxiliary loss"
    " + scale_weight x the sum of each scale's own loss.",
    "objective.rmi": "Region mutual information, for objective.main_loss=rmi.",
    "optimizer": "How gradients change the weights, with a learning rate that falls to 0.",
    "mesh": "How devices divide the work.",
    "checkpoint": "What a run keeps to go on from.",
    "evaluate": "How the network predicts whole images and how it is scored.",
}

RETIRED = frozenset({"evaluate.size_multiple"})
"""Fields of runs of earlier versions that say nothing now."""

FIELDS: dict[str, Field] = {
    "seed": Field(
        0,
        whole(0, 2**32 - 1),
        "All chance is a function of the seed and the step. It draws the weights, the order of the"
        " images, the crops, their colours and the dropout.",
    ),
    "steps": Field(
        1000,
        whole(0),
        "Training steps of the whole run. The learning rate falls to 0 over them. 0 where `epochs`"
        " says how long it is.",
    ),
    "epochs": Field(
        0.0,
        number("a number from 0 to 1000000000", lambda v: 0 <= v <= 10**9),
        "Epochs of the whole run, in place of `steps`; 0 where that says how long it is. An epoch"
        " is as many crops as the train split has images. The last step is the last whole one.",
        before=0.0,
    ),
    "log_every": Field(20, _POSITIVE, "Steps from one line of the log to the next.", free=True),
    "writers": Field(
        ("tensorboard",),
        tuple_of(
            str, lambda: f"a tuple of some of {boards.BOARDS.names()}, none twice", _are_boards
        ),
        "What shows the figures of a run besides metrics.jsonl: 'tensorboard', 'wandb' (Weights &"
        " Biases) and 'mlflow', with the extras wandb and mlflow.",
        free=True,
    ),
    "profile": Field(
        "",
        text(lambda: profiling.EXPECTED, _is_profile),
        "Steps whose trace goes into WORKDIR/profile, the first and the last: 20:25.",
        free=True,
    ),
    "init_from": Field(
        "",
        path(remote=True),
        "Directory of a run whose weights a new run starts from; '' starts from drawn weights. The"
        " other run may have another network: weights are taken wherever names and shapes match."
        " It may have other classes: the outputs for classes of the same name are taken.",
    ),
    "convert_partial": Field(
        False,
        flag(),
        "Whether `convert --from` may leave out tensors of the file, and of the network.",
        free=True,
    ),
    "data.name": Field("street_scenes", one_of(lambda: registry.names()), "The data set."),
    "data.dir": Field(
        "",
        path(),
        "Directory of a data set that is built from one. The module of the data set in data/ says"
        " where to get it and how to lay it out.",
        free=True,
    ),
    "data.cache_dir": Field(
        "~/.cache/hmsa_jax/data",
        path(required=True, remote=True),
        "Where built data sets are kept.",
        free=True,
    ),
    "data.built": Field(
        "",
        text("hexadecimal digits, or '' for any", _is_digest),
        "Digest of the built data set, or how it begins. Without data.dir it chooses among those of"
        " data.cache_dir, and a run keeps it; with data.dir another data set is refused.",
        free=True,
        before="",
    ),
    "data.encoding": Field(
        "files",
        one_of(lambda: encodings.ENCODINGS),
        "How a built data set stores images and labels; what is read of them is the same. 'files':"
        " as the files are. 'stored': PNG images without compression, labels without filters.",
        free=True,
        before="files",
    ),
    "data.train_split": Field(
        "train",
        text(),
        "The split to train on. Several splits and parts are possible: 'train+validation',"
        " 'train[:90%]'.",
    ),
    "data.eval_split": Field(
        "validation",
        text(),
        "The split to evaluate on, written like data.train_split.",
        free=True,
    ),
    "data.batch_size": Field(16, _POSITIVE, "Images of a training step, on all devices together."),
    "data.crop_size": Field(
        (1024, 2048),
        tuple_of(
            int, f"a tuple (height, width) of whole numbers from 32 to {_LONGEST}", _is_crop_size
        ),
        "Rows and columns of a training crop, in pixels.",
    ),
    "data.scale_range": Field(
        (0.5, 2.0),
        tuple_of(float, "a tuple (smallest, largest) of positive numbers", _is_scale_range),
        "Training scales an image by a number drawn uniformly between these two.",
    ),
    "data.flip": Field(True, flag(), "Whether training mirrors half of the crops, at random."),
    "data.resampling": Field(
        "bicubic",
        one_of(lambda: resampling.RESAMPLINGS),
        "How training scales images. 'bicubic' antialiases, as the published code does."
        " 'bicubic_simd' does so in a third of the time, 2 of 255 levels apart at most, with the"
        " extra simd. 'bilinear' has no filter and takes 40 % of the time.",
        before="bilinear",
    ),
    "data.placement": Field(
        "published",
        one_of(lambda: geometric.PLACEMENTS),
        "Where crops lie in the image. 'published': an image smaller than the crop lies in the"
        " middle, and a class-uniform crop is drawn round its centroid and then moved into the"
        " image. 'even': a smaller image lies at the top left, and all crops inside the image that"
        " hold the centroid are equally likely.",
        before="even",
    ),
    "data.class_uniform_share": Field(
        0.5,
        _SHARE,
        "Share of the crops that show all classes equally often. The others show all images equally"
        " often.",
    ),
    "data.class_uniform_tile": Field(
        1024,
        _POSITIVE,
        "Side of a tile, in pixels. Images are divided into tiles, and each tile has a centroid for"
        " each class in it, which class-uniform crops are drawn to hold.",
    ),
    "data.class_uniform_until_epoch": Field(
        0,
        _EPOCH,
        "The first epoch without class-uniform crops; 0 has them to the end. An epoch is as many"
        " crops as the train split has images.",
    ),
    "data.workers": Field(
        "auto",
        Kind(
            _is_workers,
            "'auto' or a whole number from 0 to 1000000000",
            _read_workers,
            is_of_one_type=False,
        ),
        "Processes that read images and cut crops; 0 reads in threads of the main process. 'auto'"
        " where accelerators train: one for each core but one, up to 32, as far as memory goes; 0"
        " on CPUs, and with fewer than 5 cores. No number changes what is trained on.",
        free=True,
    ),
    "data.pool.name": Field(
        "",
        one_of(lambda: ("", *registry.names())),
        "The second data set; '' for none. It has the same classes as data.name.",
    ),
    "data.pool.dir": Field("", path(), "Its directory, like data.dir.", free=True),
    "data.pool.built": Field(
        "",
        text("hexadecimal digits, or '' for any", _is_digest),
        "Its digest, like data.built.",
        free=True,
        before="",
    ),
    "data.pool.split": Field("train", text(), "Its split, written like data.train_split."),
    "data.pool.share": Field(
        0.5,
        _SHARE,
        "Share of the crops that come from the pool. The same share of the class-uniform crops"
        " comes from there.",
    ),
    "data.pool.until_epoch": Field(
        0, _EPOCH, "The first epoch without crops from the pool; 0 has them to the end."
    ),
    "data.pool.boost_classes": Field(
        (),
        tuple_of(str, "a tuple of names of classes", _are_names),
        "Classes that class-uniform crops of the train split show in images of the pool as well:"
        " wall,fence.",
    ),
    "data.pool.boost_until_epoch": Field(
        0, _EPOCH, "The first epoch without boosted classes; 0 has them to the end."
    ),
    "augment.brightness": Field(
        0.25,
        _SHARE,
        "Largest relative change of the brightness: x draws factors from [1 - x, 1 + x].",
    ),
    "augment.contrast": Field(
        0.25,
        _SHARE,
        "Largest relative change of the contrast: x draws factors from [1 - x, 1 + x].",
    ),
    "augment.saturation": Field(
        0.25,
        _SHARE,
        "Largest relative change of the saturation: x draws factors from [1 - x, 1 + x].",
    ),
    "augment.hue": Field(
        0.25,
        number("a number in [0, 0.5]", lambda v: 0 <= v <= 0.5),
        "The largest turn of the hue in either direction, as a part of the circle.",
    ),
    "augment.blur": Field(True, flag(), "Whether every crop is blurred, by a random width."),
    "model.trunk": Field(
        "w48",
        one_of(lambda: trunks.TRUNKS.names()),
        "The trunk: an HRNet, which OCR follows, or a ResNet, which DeepLabV3+ follows.",
    ),
    "model.attention": Field(
        "hierarchical",
        one_of(lambda: attentions.ATTENTIONS.names()),
        "How attention weighs the scales of an image. 'hierarchical' weighs each scale against all"
        " higher ones, so that the scales of the evaluation are free. 'explicit' weighs all scales"
        " of the training at once. 'none' is for training on one scale.",
    ),
    "model.semantic_head": Field(
        "paper",
        one_of(lambda: heads.SEMANTIC_HEADS),
        "The head that predicts the classes. 'paper' has two 3x3 convolutions before the last one,"
        " and 'published' has none after OCR.",
    ),
    "model.ocr_channels": Field(
        512, _CHANNELS, "Channels of the object-contextual features of OCR (paper: 512)."
    ),
    "model.ocr_key_channels": Field(
        256, _CHANNELS, "Channels in which OCR compares pixels with regions (paper: 256)."
    ),
    "model.head_channels": Field(
        256,
        _CHANNELS,
        "Hidden channels of the semantic head and of the attention head (paper: 256).",
    ),
    "model.dropout": Field(
        0.05,
        _BELOW_ONE,
        "Probability that training drops a channel of what OCR returns (paper: 0.05).",
    ),
    "model.initialization": Field(
        "published",
        one_of(lambda: initialization.INITIALIZATIONS),
        "How decoder and heads are drawn: 'published' as PyTorch draws them, 'he' as the trunk is"
        " drawn.",
        before="he",
    ),
    "model.dtype": Field(
        "bfloat16",
        one_of(lambda: ("bfloat16", "float32")),
        "The type that the network computes in. Parameters, statistics, softmax and losses are"
        " float32 either way.",
    ),
    "model.remat": Field(
        "none",
        one_of(lambda: remat.POLICIES),
        "What the backward pass computes again, for less memory and more time. 'modules' keeps only"
        " what goes into each module of the trunk, into the decoder and into the heads."
        " 'dots_saveable' also keeps what convolutions return, so that only cheap operations are"
        " done twice: on TPUs, by the model of their compiler, less memory and less time than with"
        " 'none', which keeps everything.",
        free=True,
    ),
    "model.batch_norm_group": Field(
        0,
        whole(0),
        "Images whose BatchNorm statistics are taken together, on however many devices; 0 takes all"
        " of a batch. With optimizer.accumulate a batch is one of its parts.",
    ),
    "objective.scales": Field(
        (0.5, 1.0),
        tuple_of(float, "a tuple of positive scales, 1.0 among them, like (0.5, 1.0)", _are_scales),
        "The scales of the training.",
    ),
    "objective.fusion_resolution": Field(
        "features",
        _RESOLUTION,
        "Where training multiplies logits by attention: 'features' at the resolution of the heads"
        " (the paper), 'image' at that of the scaled image (the published code), in sixteen times"
        " the memory.",
    ),
    "objective.main_loss": Field(
        "rmi",
        one_of(lambda: objective.LOSSES.names()),
        "The loss of the fused prediction. 'rmi' (the paper) mixes region mutual information with"
        " binary cross-entropy.",
    ),
    "objective.aux_loss": Field(
        "cross_entropy",
        one_of(lambda: objective.auxiliary_losses()),
        "The loss of the auxiliary head of OCR. It is 'cross_entropy' in the paper and"
        " 'binary_cross_entropy' in the published code.",
    ),
    "objective.rmi.weight": Field(
        0.5,
        _SHARE,
        "Share of region mutual information in the main loss. The rest is binary cross-entropy.",
    ),
    "objective.rmi.radius": Field(
        3, whole(1, 9), "Rows and columns of a region, in pixels of the reduced maps."
    ),
    "objective.rmi.pool": Field(
        4, whole(1, 64), "Factor by which probabilities and labels are reduced first."
    ),
    "objective.rmi.pooling": Field(
        "average", one_of(lambda: rmi.POOLINGS), "How probabilities and labels are reduced."
    ),
    "objective.aux_weight": Field(
        0.4, _AT_LEAST_ZERO, "Weight of the auxiliary loss; 0 for a trunk without auxiliary head."
    ),
    "objective.scale_weight": Field(
        0.0,
        _AT_LEAST_ZERO,
        "Weight of each scale's own loss (published code: 0.05 on Cityscapes). That is the main"
        " loss, but binary cross-entropy alone where the main loss is 'rmi'.",
    ),
    "objective.class_weights": Field(
        (),
        tuple_of(
            float,
            "a tuple of numbers, each 0 or from 0.000001 to 1000000, not all 0, or () for none",
            _are_class_weights,
        ),
        "How much a pixel of each class counts in 'cross_entropy', one number a class in the order"
        " of the classes; () counts all the same. Only ratios matter, for the sum is divided by"
        " that of the weights of the labelled pixels.",
        before=(),
    ),
    "objective.mean_over": Field(
        "images",
        one_of(lambda: objective.MEANS),
        "What the cross-entropies are averaged over. 'images': the mean of the losses of the"
        " images, as where every GPU has one image. 'pixels': the mean over all labelled pixels of"
        " the batch, in which an image with few of them counts less. Region mutual information is a"
        " mean over images either way.",
        before="pixels",
    ),
    "optimizer.name": Field(
        "sgd",
        one_of(lambda: optimizer.OPTIMIZERS.names()),
        "'sgd' (the paper) or 'adamw', which takes a learning rate of about 0.001 and a weight"
        " decay of about 0.01.",
        before="sgd",
    ),
    "optimizer.learning_rate": Field(0.01, _AT_LEAST_ZERO, "The learning rate of the first step."),
    "optimizer.poly_exponent": Field(
        2.0,
        _AT_LEAST_ZERO,
        "Exponent of the schedule: learning_rate x (1 - step / steps) ^ poly_exponent.",
    ),
    "optimizer.momentum": Field(
        0.9, _BELOW_ONE, "Share of an update that goes into the next one; of 'adamw' beta 1."
    ),
    "optimizer.weight_decay": Field(
        5e-4,
        _AT_LEAST_ZERO,
        "Share of a parameter that is added to its gradient, as in PyTorch. With 'adamw' it is"
        " multiplied by the learning rate and subtracted from the parameter.",
    ),
    "optimizer.decay_vectors": Field(
        True, flag(), "Whether biases and the scales of BatchNorm decay, too."
    ),
    "optimizer.frozen": Field(
        (),
        tuple_of(
            str,
            lambda: f"a tuple of some, not all, of {multiscale.COMPONENTS}",
            lambda names: set(names) < set(multiscale.COMPONENTS),
        ),
        "Components of the network that are not trained, such as trunk. The running statistics of"
        " their BatchNorm go on moving.",
    ),
    "optimizer.accumulate": Field(
        1,
        _POSITIVE,
        "Equal parts of a batch that a step does one after the other, to save memory.",
    ),
    "optimizer.ema_decay": Field(
        0.0,
        _BELOW_ONE,
        "Decay of a moving average of the weights and the running statistics of BatchNorm, which is"
        " evaluated and used in their place; 0.0 for none.",
    ),
    "mesh.data": Field(
        -1,
        Kind(
            lambda v: is_whole(v) and (v == -1 or 1 <= v <= 10**9),
            f"-1 or a whole number from 1 to {10**9}",
            int,
        ),
        "Devices that share out the images of a batch; -1 takes all that mesh.spatial leaves.",
    ),
    "mesh.spatial": Field(1, _POSITIVE, "Devices that share out the rows of each image."),
    "mesh.wait_minutes": Field(
        30.0,
        number("a number above 0, a week at most: 10080", lambda v: 0 < v <= 10080),
        "How long processes wait for others that still prepare data or compile. Other waits last 5"
        " minutes at most.",
        free=True,
    ),
    "checkpoint.every": Field(500, _POSITIVE, "Steps from one checkpoint to the next.", free=True),
    "checkpoint.keep": Field(
        2, _POSITIVE, "Checkpoints that are kept, the newest ones.", free=True
    ),
    "checkpoint.keep_every": Field(
        0,
        whole(0),
        "Steps from one checkpoint that is kept for good to the next, a multiple of"
        " checkpoint.every; 0 keeps none but the newest and the best.",
        free=True,
    ),
    "checkpoint.keep_best": Field(
        "",
        text("'', or one of evaluate.protocols, like hierarchical:0.5,1,2", _is_protocol_or_none),
        "The protocol of evaluate.protocols by whose mean IoU the best checkpoint is kept, too. It"
        " is what `--step=best` takes; '' keeps none.",
        free=True,
    ),
    "evaluate.every": Field(
        0,
        Kind(_is_interval, lambda: length.EXPECTED, _read_interval, is_of_one_type=False),
        "Steps from one evaluation while training to the next, or epochs: '5 epochs'. 0 evaluates"
        " after the last step alone.",
        free=True,
    ),
    "evaluate.patience": Field(
        0,
        whole(0),
        "Evaluations one after the other without a better mean IoU by checkpoint.keep_best, after"
        " which training ends; 0 trains to the last step.",
        free=True,
    ),
    "evaluate.without_average": Field(
        False,
        flag(),
        "Whether evaluations while training also score the weights by themselves, where"
        " optimizer.ema_decay has a moving average of them evaluated.",
        free=True,
    ),
    "evaluate.pictures": Field(
        4,
        whole(0, 32),
        "Images of the evaluation split, always the same, that go to the writers at each evaluation"
        " while training, with what is predicted; 0 for none, as where evaluate.every is 0.",
        free=True,
    ),
    "evaluate.fusion_resolution": Field(
        "features", _RESOLUTION, "As objective.fusion_resolution, for predictions.", free=True
    ),
    "evaluate.images_per_device": Field(
        1,
        _POSITIVE,
        "Images of a batch on each device; a CPU predicts them one after the other.",
        free=True,
    ),
    "evaluate.flip": Field(
        True,
        flag(),
        "Whether the logits are the mean of those of an image and of its mirror image.",
        free=True,
    ),
    "evaluate.canvases": Field(
        4,
        _POSITIVE,
        "The most shapes that are compiled for. Images of more sizes share canvases, which changes"
        " no prediction.",
        free=True,
    ),
    "evaluate.tile": Field(
        1024,
        Kind(
            lambda v: is_whole(v) and 0 < v <= _LONGEST and v % tile_grid.STEP == 0,
            lambda: f"a multiple of {tile_grid.STEP} up to {_LONGEST}",
            int,
        ),
        "Rows and columns of the tiles that predict and autolabel look at images in that have more"
        " than evaluate.tile_above pixels; neighbours share a quarter.",
        free=True,
    ),
    "evaluate.tile_above": Field(
        2**23,
        _POSITIVE,
        "The most pixels of an image that predict and autolabel look at as a whole.",
        free=True,
    ),
    "evaluate.protocols": Field(
        (
            "single",
            "average:0.5,1,2",
            "average:0.25,0.5,1,2",
            "max:0.5,1,2",
            "hierarchical:0.5,1,2",
            "hierarchical:0.25,0.5,1,2",
        ),
        tuple_of(
            str,
            lambda: f"a tuple of strings {protocol.expected()}",
            _are_protocols,
            separator=r",(?=\s*[^\W\d])",
        ),
        "What an evaluation compares: methods and their scales. 'single' predicts at scale 1,"
        " 'average' and 'max' combine scales without attention, 'hierarchical' and 'explicit' with"
        " the attention of that name. Those that the network has no attention for are left out.",
        free=True,
    ),
    "evaluate.metrics": Field(
        ("boundary", "calibration"),
        tuple_of(
            str, lambda: f"a tuple of some of {metrics.METRICS.names()}, none twice", _are_metrics
        ),
        "What an evaluation computes besides the confusion matrices. 'boundary' is boundary IoU and"
        " the F-score of contours, 'calibration' the expected calibration error.",
        free=True,
    ),
}

BEFORE: dict[str, Any] = {n: f.before for n, f in FIELDS.items() if f.before is not None}
"""What runs did that are older than a field."""
