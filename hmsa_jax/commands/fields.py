"""`fields`: lists the fields of an experiment, or explains those that a word stands for."""

import shutil

from hmsa_jax.experiment import field_guide


def run(word: str | None, *, markdown: bool = False) -> None:
    """Prints what a user asks of the fields.

    Args:
      word: what to explain; None lists all fields.
      markdown: whether to print docs/configuration.md instead.

    Raises:
      ValueError: no field has anything to do with the word; or both are asked.
    """
    if markdown and word is not None:
        raise ValueError(f"fields prints a page of all with --markdown; leave {word!r} out")
    width = shutil.get_terminal_size(fallback=(100, 24)).columns
    if markdown:
        print(field_guide.page())
    elif word is None:
        print(field_guide.listing(width))
        print("\n`python main.py fields WORD` explains; `--config.GROUP.FIELD=VALUE` changes.")
    else:
        print(field_guide.explanation(field_guide.find(word), width))
