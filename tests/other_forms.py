"""Layers in the forms that they have on GPUs and TPUs, which a CPU runs as well."""

import contextlib
from types import ModuleType

import jax
import pytest


@contextlib.contextmanager
def taken(module: ModuleType, **attributes: object):
    """What is traced within has these attributes of the module, what is traced later has not."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in attributes.items():
            patch.setattr(module, name, value)
        jax.clear_caches()
        yield
    jax.clear_caches()
