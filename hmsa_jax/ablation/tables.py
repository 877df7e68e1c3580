"""The rows of the paper's Tables 1 and 2, with the paper's figures beside them."""

import dataclasses

from hmsa_jax.ablation.networks import FOUR, THREE


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes:
      title: what the paper calls it.
      network: a key of `NETWORKS`.
      protocol: by which it is scored, as in `evaluate.protocols`.
      paper_iou: mean IoU in the paper, percent.
      paper_flops: of a training step in the paper, relative to the first row; None: not given.
      paper_seconds: of a minibatch of the training in the paper, on a V100.
    """

    title: str
    network: str
    protocol: str
    paper_iou: float
    paper_flops: float | None = None
    paper_seconds: float | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
      title: what it shows.
      rows: in the order of the paper.
      paper: what the figures of the paper are of.
    """

    title: str
    rows: tuple[Row, ...]
    paper: str


AVERAGE, AVERAGE_4 = f"average:{THREE}", f"average:{FOUR}"
HIERARCHICAL, HIERARCHICAL_4 = f"hierarchical:{THREE}", f"hierarchical:{FOUR}"

TABLES = (
    Table(
        "Table 1: ways to blend scales",
        (
            Row("Single scale", "single", "single", 47.7, 1.0, 0.80),
            Row("Average pooling", "single", AVERAGE, 49.4, 1.0, 0.80),
            Row("Average pooling", "single", AVERAGE_4, 48.7, 1.0, 0.80),
            Row("Explicit", "explicit", f"explicit:{THREE}", 51.4, 5.25, 3.08),
            Row("Hierarchical", "hierarchical", HIERARCHICAL, 51.6, 1.25, 1.17),
            Row("Hierarchical", "hierarchical", HIERARCHICAL_4, 52.2, 1.25, 1.17),
        ),
        "Mapillary Vistas, DeepLabV3+ on ResNet-50",
    ),
    Table(
        "Table 2: attention and auto-labels",
        (
            Row("Coarse labels", "single_coarse", AVERAGE, 84.9),
            Row("Coarse labels, attention", "hierarchical_coarse", HIERARCHICAL, 85.4),
            Row("Auto-labels", "single_auto", AVERAGE, 86.0),
            Row("Auto-labels, attention", "hierarchical_auto", HIERARCHICAL, 86.3),
        ),
        "Cityscapes, HRNet-OCR",
    ),
)
"""Tables 1 and 2 (sections 3.2 and 5.1.1)."""
