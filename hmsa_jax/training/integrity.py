"""Whether arrays are what they were, and finite."""

import hashlib
from collections.abc import Mapping
from concurrent import futures
from typing import Any

import jax
import numpy as np

_THREADS = 4  # hashing leaves Python's lock to the others
_BYTES = 16  # of a digest


def by_name(tree: Any) -> dict[str, Any]:
    """The leaves of a tree, by the keys that lead to them, joined by dots."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {".".join(_key(key) for key in path): leaf for path, leaf in leaves}


def digests(arrays: Mapping[str, np.ndarray]) -> dict[str, str]:
    """BLAKE2b of the dtype, shape and bytes of each array, in hexadecimal digits, by name."""
    with futures.ThreadPoolExecutor(_THREADS) as pool:
        return dict(zip(arrays, pool.map(_digest, arrays.values()), strict=True))


def digest_of_all(digests: Mapping[str, str]) -> str:
    """One digest of all arrays, in hexadecimal digits, from `digests`."""
    text = "".join(f"{name} {digest}\n" for name, digest in sorted(digests.items()))
    return hashlib.blake2b(text.encode(), digest_size=_BYTES).hexdigest()


def digest_of_tree(tree: Any) -> str:
    """One digest of all arrays of a tree, and of their names."""
    return digest_of_all(digests(by_name(tree)))


def first_not_finite(arrays: Mapping[str, np.ndarray]) -> str | None:
    """The name of the first array that holds NaN or infinity; None without one."""
    for name, array in arrays.items():
        if jax.numpy.issubdtype(array.dtype, np.inexact) and not np.isfinite(array).all():
            return name
    return None


def _digest(array: np.ndarray) -> str:
    digest = hashlib.blake2b(f"{array.dtype} {array.shape}".encode(), digest_size=_BYTES)
    digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _key(key: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(key, attribute):
            return str(getattr(key, attribute))
    raise TypeError(f"{key!r} is no key of a tree")
