"""Every field of an experiment, with the paper's values; the other configs change some of them."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed = 0
    config.steps = 1000
    config.log_every = 20
    config.profile = ""  # steps to trace into WORKDIR/profile, the first and the last: "20:25"
    # A run directory, of this network or another, whose weights a new run starts from where names
    # and shapes match; '' starts from drawn weights.
    config.init_from = ""
    config.convert_partial = False  # whether `convert --from` may leave tensors of either side out

    config.data = ConfigDict()
    config.data.name = "street_scenes"
    config.data.dir = ""  # for a data set that comes from a directory
    config.data.cache_dir = "~/.cache/hmsa_jax/data"  # where built data sets are kept
    config.data.train_split = "train"  # or several or parts: 'train+validation', 'train[:90%]'
    config.data.eval_split = "validation"
    config.data.batch_size = 16  # of all devices together
    config.data.crop_size = (1024, 2048)  # rows, columns
    config.data.scale_range = (0.5, 2.0)
    config.data.flip = True
    # How images are scaled: 'bicubic', antialiased as published, or 'bilinear' without a filter, in
    # half the time.
    config.data.resampling = "bicubic"
    # Where crops lie. 'published': smaller images in the middle; a class-uniform crop is drawn
    # round its centroid and then moved into the image. 'even': smaller images at the top left; of
    # all crops in the image that hold the centroid each is equally likely.
    config.data.placement = "published"
    # This share of the crops shows all classes equally often, the rest all images.
    config.data.class_uniform_share = 0.5
    config.data.class_uniform_tile = 1024  # side of a tile, which has a centroid a class
    config.data.class_uniform_until_epoch = 0  # no such crops from this epoch on; 0: to the end
    config.data.workers = 0  # processes that read; 0: threads of this one

    # A second data set with the same classes: coarse or auto-labelled images; '' for none.
    config.data.pool = ConfigDict()
    config.data.pool.name = ""
    config.data.pool.dir = ""
    config.data.pool.split = "train"
    config.data.pool.share = 0.5  # of the crops, the class-uniform ones among them
    config.data.pool.until_epoch = 0  # no crops of the pool from this epoch on; 0: to the end
    # Class-uniform crops of the train split show these classes in the pool's images, too.
    config.data.pool.boost_classes = ()
    config.data.pool.boost_until_epoch = 0  # as until_epoch

    # Colours, on the device. A factor is uniform in [1 - x, 1 + x], the hue turns by up to x of the
    # circle, and blur blurs every image; 0.0 and False are off.
    config.augment = ConfigDict()
    config.augment.brightness = 0.25
    config.augment.contrast = 0.25
    config.augment.saturation = 0.25
    config.augment.hue = 0.25
    config.augment.blur = True

    config.model = ConfigDict()
    config.model.trunk = "w48"  # an HRNet, followed by OCR; or resnet50, followed by DeepLabV3+
    config.model.attention = "hierarchical"  # or explicit, or none
    config.model.semantic_head = "paper"
    config.model.ocr_channels = 512
    config.model.ocr_key_channels = 256
    config.model.head_channels = 256
    config.model.dropout = 0.05
    # How decoder and heads are drawn: 'published', as PyTorch does, or 'he', as the trunk is.
    config.model.initialization = "published"
    config.model.dtype = "bfloat16"
    # What the backward pass computes again, for less memory and more time. 'modules' keeps only
    # what each module of the trunk, and decoder and heads, are given; 'dots_saveable' also what
    # the convolutions return, so that only what is cheap is done twice; 'none' keeps everything.
    config.model.remat = "none"
    # Images whose BatchNorm statistics are taken together; 0 for all of a batch, on whatever number
    # of devices. With optimizer.accumulate a batch is one of the parts.
    config.model.batch_norm_group = 0

    config.objective = ConfigDict()
    config.objective.scales = (0.5, 1.0)
    config.objective.fusion_resolution = "features"
    config.objective.main_loss = "rmi"
    config.objective.aux_loss = "cross_entropy"
    config.objective.rmi = ConfigDict()
    config.objective.rmi.weight = 0.5  # the rest is binary cross-entropy
    config.objective.rmi.radius = 3
    config.objective.rmi.pool = 4
    config.objective.rmi.pooling = "average"
    config.objective.aux_weight = 0.4
    config.objective.scale_weight = 0.0
    # 'images': the mean of the images' losses, as where every GPU has an image. 'pixels': that of
    # all labelled pixels of the batch, among which an image with few of them counts less.
    config.objective.mean_over = "images"

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 0.01
    config.optimizer.poly_exponent = 2.0
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 5e-4

    config.optimizer.decay_vectors = True  # biases and scales of BatchNorm decay, too
    config.optimizer.frozen = ()  # parts that are not trained, such as ("trunk",)
    config.optimizer.accumulate = 1  # parts of a batch that a step does one after the other
    config.optimizer.ema_decay = 0.0  # of a moving average of the weights; 0 for none

    config.mesh = ConfigDict()
    config.mesh.data = -1  # all devices that 'spatial' leaves
    config.mesh.spatial = 1

    config.checkpoint = ConfigDict()
    config.checkpoint.every = 500
    config.checkpoint.keep = 2

    config.evaluate = ConfigDict()
    config.evaluate.fusion_resolution = "features"
    config.evaluate.images_per_device = 1
    config.evaluate.flip = True  # the mean of the logits of an image and of its mirror image
    # Images are padded in black, as crops are, to rows and columns that this divides, so that few
    # sizes have to be compiled; 1 pads nothing.
    config.evaluate.size_multiple = 1
    config.evaluate.protocols = (
        "single",
        "average:0.5,1,2",
        "average:0.25,0.5,1,2",
        "max:0.5,1,2",
        "hierarchical:0.5,1,2",
        "hierarchical:0.25,0.5,1,2",
    )
    return config
