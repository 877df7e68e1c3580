"""A first `classes.json` for a directory that has none, to be looked at and edited."""

import json
import shlex
from pathlib import Path

import ml_collections
import rich.table

from data import checks, class_list, exports, mask_survey, problems, proposal, registry
from data.files import File
from data.folder import Folder
from data.problems import LEFT_OUT, Problems
from data.proposal import Proposal, Row
from hmsa_jax.config import schema
from hmsa_jax.experiment.check_data import tell_problems
from hmsa_jax.runtime import files
from hmsa_jax.runtime.progress import console, tell

_NAMES_SHOWN = 5


def propose(config: ml_collections.ConfigDict) -> bool:
    """Looks at the masks of the config's directory and writes its `classes.json`.

    A table tells what the masks hold and what each number or colour is proposed to be. Nothing is
    written where files are missing or damaged, which are listed then, nor where there is a
    `classes.json`.

    Args:
      config: of an experiment; its fields `data.name` and `data.dir` count.

    Returns:
      Whether it is written.

    Raises:
      ValueError: the config is wrong, there is a `classes.json`, or no such list can be made.
      FileNotFoundError: there are no masks in the directory.
      PermissionError: a folder may not be read.
    """
    schema.check(config)
    path = _path(config.data.name, config.data.dir or None)
    masks, found = _masks(path.parent)
    survey, unreadable = mask_survey.look(masks, len(masks))
    for text in unreadable:
        found.add(problems.UNREADABLE, text)
    tell_problems(found)
    if found:
        tell(f"{path} is not written.", "red")
        return False
    try:
        proposed = proposal.propose(survey, exports.read_label_map(path.parent))
    except ValueError as error:
        raise ValueError(f"No classes can be proposed for {path.parent}: {error}") from error
    text = class_list.text_of(proposed.class_list)
    _, wrong = class_list.parse(json.loads(text))
    if wrong:
        raise ValueError(f"No classes can be proposed for {path.parent}: {'; '.join(wrong)}")
    _tell(proposed, path.parent)
    _check_absent(path)  # again: somebody may have written one meanwhile
    files.store(path, text.encode())
    _tell_what_next(proposed, path)
    return True


def _path(name: str, directory: str | None) -> Path:
    """Of the `classes.json` to be written."""
    if not registry.lists_classes(name):
        raise ValueError(
            f"data.name is {name!r}, whose classes are known; --propose is for"
            " --config.data.name=folder."
        )
    source = registry.source_directory(name, directory)
    assert source is not None  # such a data set is built from one
    path = source / "classes.json"
    _check_absent(path)
    return path


def _check_absent(path: Path) -> None:
    if path.exists() or path.is_symlink():
        raise ValueError(
            f"{path} is there, and is never overwritten: leave --propose out, or rename the file."
        )


def _masks(directory: Path) -> tuple[list[File], Problems]:
    """The masks of all splits, and what has no counterpart or is left out."""
    tool = exports.hint(directory)
    try:
        listings, left_out = Folder.listing(directory)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{error} {tool}".strip()) from error
    found = Problems("", labels="8-bit grey, palette, RGB or RGBA PNG masks")
    for item in left_out:
        found.add(LEFT_OUT[item.reason], str(item.file))
    for listing in listings.values():
        checks.match(listing, found)
    masks = [file for listing in listings.values() for _, file in listing.labels or ()]
    if not masks:
        raise FileNotFoundError(
            f"{directory}: no mask in masks/{{{','.join(listings)}}}; put the masks there, PNG"
            f" files of the names of the images. {tool}".strip()
        )
    return masks, found


def to_table(rows: list[Row], directory: Path) -> rich.table.Table:
    """A row a number or colour: pixels, their share, masks that have it, an example, a meaning."""
    table = rich.table.Table()
    table.add_column("masks hold")
    for heading in ("pixels", "share, %", "masks"):
        table.add_column(heading, justify="right")
    table.add_column("first in (row, column)", overflow="fold")
    table.add_column("proposed", overflow="fold")
    total = sum(row.tally.pixels for row in rows)
    for row in rows:
        tally = row.tally
        where = File(tally.first.path.relative_to(directory))
        table.add_row(
            row.what,
            str(tally.pixels),
            f"{100 * tally.pixels / total:.3f}",
            str(tally.masks),
            f"{where} ({tally.row}, {tally.column})",
            row.meaning,
        )
    return table


def _tell(proposed: Proposal, directory: Path) -> None:
    console.print(to_table(proposed.rows, directory))
    for reason in proposed.reasons:
        tell(reason)


def _tell_what_next(proposed: Proposal, path: Path) -> None:
    tell(f"Written: {path}, {len(proposed.class_list.classes)} classes.", "green")
    if proposed.made_up:
        names = ", ".join(map(repr, proposed.made_up[:_NAMES_SHOWN]))
        more = len(proposed.made_up) - _NAMES_SHOWN
        tell(f"Give names to {names}" + (f" and {more} others there." if more > 0 else " there."))
    tell("Make sure that the list means what the masks mean, then look through all files:")
    tell(
        "  python main.py check-data --config.data.name=folder"
        f" --config.data.dir={shlex.quote(str(path.parent))}"
    )
