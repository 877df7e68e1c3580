"""HRNet and ResNet with each kind of layer once, for what no longer network tells better."""

from hmsa_jax.models.trunks import hrnet, resnet

# Every path between HRNet's branches is in one module of its last stage.
HRNET = hrnet.trunk(hrnet.HRNetSize((4, 4, 8, 8), (0, 0, 1), 1, 1, 4))
RESNET = resnet.trunk(resnet.ResNetSize((1, 1, 1, 1), channels=4))
