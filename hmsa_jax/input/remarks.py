"""What is to be known of a data set's files, in a line; `check-data` has the list."""

from data.builder import SegmentationBuilder
from hmsa_jax.progress import console


def tell(builder: SegmentationBuilder) -> None:
    """Prints the remarks of the check of a data set that is built; nothing if there are none."""
    if builder.found.remarks:
        console.print(
            f"{builder.name}: {'; '.join(builder.found.remarks)} (`python main.py check-data` lists"
            " them).",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
