"""Finding the state dict in what the pickle of a checkpoint holds."""

from collections.abc import Iterator
from typing import Any

from hmsa_jax.weights.inert_pickle import Inert, Name
from hmsa_jax.weights.pytorch_pickle import Tensor

# The names that programs give it, the preferred one first; each may stand within another.
PLACES = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module"),
    *("weights", "model_ema", "ema", "ema_state_dict", "state_dict_ema", "ema_model"),
)
_DEPTH = 3  # of dictionaries in each other
_TENSORS = {  # that no array can stand for
    "torch._utils._rebuild_qtensor": "a quantized tensor",
    "torch._utils._rebuild_sparse_tensor": "a sparse tensor",
    "torch._utils._rebuild_meta_tensor_no_storage": "a tensor without values",
}
_LISTED = 8  # entries that a message lists


def find(checkpoint: Any) -> tuple[dict[str, Tensor], str, list[str]] | None:
    """The tensors by name, in what a checkpoint's pickle holds.

    Args:
      checkpoint: from `pytorch_pickle.load`.

    Returns:
      The state dict, its place like `model.state_dict` ('' where it is the whole checkpoint), and
      the places of others; None if there is none.
    """
    found = list(_state_dicts(checkpoint, "", _DEPTH, set()))
    if not found:
        return None
    (place, state), *others = found
    return state, place, [place for place, _ in others]


def describe(checkpoint: Any) -> str:
    """What stands in a checkpoint without a state dict, in a few words."""
    if type(checkpoint) is not dict:
        return _sort(checkpoint)
    entries = list(checkpoint.items())
    texts = [f"{_shown(key)}: {_sort_with_entries(value)}" for key, value in entries[:_LISTED]]
    more = f" and {len(entries) - _LISTED} more" if len(entries) > _LISTED else ""
    return f"a mapping ({', '.join(texts)}{more})" if entries else "an empty mapping"


def _sort_with_entries(value: Any) -> str:
    if type(value) is not dict or not value:
        return _sort(value)
    strange = [name for name, x in value.items() if type(x) is not Tensor]
    if len(strange) == len(value):
        return f"a mapping of {len(value)}"
    if strange:
        name = strange[0]
        return f"a mapping with {_sort(value[name])} among its tensors, {_shown(name)}"
    return f"{len(value)} tensors"


def _sort(value: Any) -> str:
    """The type of a value; never its content, which may be endless."""
    if type(value) is Tensor:
        return "a tensor"
    if type(value) is dict:
        return "a mapping" if value else "an empty mapping"
    if type(value) is Inert:
        return _TENSORS.get(value.kind) or f"an object of type {value.kind:.60}"
    if type(value) is Name:
        return f"the name {value.full_name:.60}"
    return f"an object of type {type(value).__name__}"


def _shown(key: str | int) -> str:
    return repr(key[:40] if type(key) is str else key)


def _state_dicts(
    value: Any, place: str, depth: int, seen: set[int]
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yields the place and the state dict of each, the preferred one first.

    A mapping may stand in many places, and in itself: each is visited once.
    """
    if type(value) is not dict or not value or id(value) in seen:
        return
    seen.add(id(value))
    if _is_state_dict(value):
        yield place, value
        return
    if depth:
        for key in PLACES:
            yield from _state_dicts(value.get(key), f"{place}.{key}".lstrip("."), depth - 1, seen)


def _is_state_dict(value: dict) -> bool:
    return all(type(name) is str and type(x) is Tensor for name, x in value.items())
