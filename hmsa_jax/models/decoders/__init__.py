"""The decoders by name. A new one is a file beside these and a line here."""

from hmsa_jax.models.decoders import deeplab, ocr
from hmsa_jax.models.decoders.decoder import Decoder
from hmsa_jax.runtime.registry import Registry

DECODERS: Registry[Decoder] = Registry("decoder", {"ocr": ocr.DECODER, "deeplab": deeplab.DECODER})
