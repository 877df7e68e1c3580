"""The protocols that a config's network can do."""

import math

from ml_collections import ConfigDict

from hmsa_jax.inference import protocol as protocol_lib
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.inference.tile_grid import STEP
from hmsa_jax.inference.tiles import Tiling
from hmsa_jax.models import fusion
from hmsa_jax.models.attentions import ATTENTIONS
from hmsa_jax.runtime.progress import tell


def of_evaluation(config: ConfigDict) -> tuple[Protocol, ...]:
    """The protocols of the config that its network can do.

    Raises:
      ValueError: every protocol needs attention of a kind that the network does not have.
    """
    protocols = tuple(
        protocol
        for protocol in protocol_lib.parse_all(config.evaluate.protocols)
        if protocol.fusion.attention in (None, config.model.attention)
    )
    if not protocols:
        raise ValueError(
            f"evaluate.protocols need attention of another kind than model.attention="
            f"{config.model.attention!r}; name 'single', 'average:...' or 'max:...'"
        )
    return protocols


def tell_left_out(config: ConfigDict) -> None:
    """Prints which protocols of the config its network cannot do; ValueError if it can do none."""
    possible = of_evaluation(config)
    left_out = [
        protocol.name
        for protocol in protocol_lib.parse_all(config.evaluate.protocols)
        if protocol not in possible
    ]
    if left_out:
        tell(
            f"Of evaluate.protocols these are left out, for model.attention is"
            f" {config.model.attention!r}: {', '.join(left_out)}."
        )


def of_prediction(text: str | None, config: ConfigDict) -> Protocol:
    """The protocol that is asked for or, without one, the paper's.

    Args:
      text: as in `evaluate.protocols`; None for the scales 0.5, 1 and 2 (paper section 4), or those
        of the training where attention is explicit.
      config: of the network.

    Raises:
      ValueError: the network cannot do it.
    """
    attention = config.model.attention
    if text is None:
        method = ATTENTIONS.get(attention).default_fusion
        return Protocol(method, fixed_scales(method, config) or (0.5, 1.0, 2.0))
    protocol = protocol_lib.parse(text, "--protocol")
    if protocol.fusion.attention not in (None, attention):
        raise ValueError(
            f"--protocol is {text}, but the run's model.attention is {attention!r}; name"
            " single, average:... or max:..., or a protocol of that attention"
        )
    trained = fixed_scales(protocol.method, config)
    if trained is not None and protocol.scales != trained:
        raise ValueError(
            f"--protocol is {text}, but its {attention} attention weighs exactly the scales"
            f" it was trained on, objective.scales={trained}; name those, or another method"
        )
    return protocol


def fixed_scales(method: str, config: ConfigDict) -> tuple[float, ...] | None:
    """The only scales, ascending, that a method combines with the config's network; None: any.

    Explicit attention weighs exactly the scales of the training.
    """
    attention = fusion.FUSIONS.get(method).attention
    if attention is None or not ATTENTIONS.get(attention).weighs_together:
        return None
    return tuple(sorted(config.objective.scales))


def methods_of(config: ConfigDict) -> tuple[str, ...]:
    """The methods that the config's network can do, its own first."""
    attention = config.model.attention
    possible = [
        name
        for name in fusion.FUSIONS.names()
        if fusion.FUSIONS.get(name).attention in (None, attention)
    ]
    return tuple(sorted(possible, key=lambda name: fusion.FUSIONS.get(name).attention is None))


def tiling_of(protocol: Protocol, config: ConfigDict, side: int | None = None) -> Tiling:
    """Which images are looked at in tiles; none where a protocol needs them as a whole.

    These weigh the features of all scales together, or choose where to look at the highest one.

    Args:
      protocol: how they are predicted.
      config: of the network.
      side: of the tiles, for all images that are larger than one; None: as the config says.

    Raises:
      ValueError: there are no such tiles, or the protocol cannot do with tiles.
    """
    settings, needs = config.evaluate, protocol.fusion.attention
    why = None
    if needs is not None and ATTENTIONS.get(needs).weighs_together:
        why = "weighs the features of all scales together, which tiles keep apart"
    elif protocol.is_selective:
        why = "chooses among the places of a whole image, which tiles keep apart"
    if side is None:
        return Tiling(settings.tile, math.inf if why else settings.tile_above)
    if side <= 0 or side % STEP:
        raise ValueError(f"--tile is {side}; expected a multiple of {STEP}")
    if why:
        raise ValueError(
            f"--tile is {side}, but {protocol.name} {why}; leave --tile out, or name another"
            " --protocol"
        )
    return Tiling(side, side * side)
