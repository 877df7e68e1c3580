"""The trunks by name. A new one is a file beside these and a line here."""

from hmsa_jax.models.trunks import hrnet, resnet
from hmsa_jax.models.trunks.trunk import Trunk
from hmsa_jax.runtime.registry import Registry

TRUNKS: Registry[Trunk] = Registry(
    "trunk",
    {
        **{name: hrnet.trunk(size) for name, size in hrnet.SIZES.items()},
        **{name: resnet.trunk(size) for name, size in resnet.SIZES.items()},
    },
)
