"""Hierarchical multi-scale attention for semantic segmentation, in JAX and Flax."""

__version__ = "0.1.0"
