"""What the fields of an experiment are, for a reader: as a list, one by one, and as a page."""

import textwrap
from collections.abc import Iterable

from hmsa_jax.config import schema
from hmsa_jax.config.field import Field
from hmsa_jax.config.fields import FIELDS, GROUPS

COMMAND = "python main.py fields --markdown > docs/configuration.md"
_WIDEST_DEFAULT = 20  # characters, in the list
_MAY_CHANGE = "it may change whenever the run goes on or is used"
_IS_FIXED = "it stays as it was, because training depends on it"


def find(word: str) -> list[str]:
    """The fields that a word stands for: a name, a group, or what names, meanings and options hold.

    Args:
      word: any text. Whether letters are capital does not matter.

    Raises:
      ValueError: no field has anything to do with it; the message names the nearest one.
    """
    word = word.strip().lower()
    if word in FIELDS:
        return [word]
    in_group = [name for name in FIELDS if word and name.startswith(f"{word}.")]
    named = in_group or [
        name for name, field in FIELDS.items() if word in name or word in field.meaning.lower()
    ]
    # The options last: to know them, the registries have to be imported.
    found = named or [name for name, field in FIELDS.items() if word in field.expected.lower()]
    if not found:
        near = schema.nearest(word)
        hint = f"did you mean {near}?" if near else "`python main.py fields` lists all"
        raise ValueError(f"no field has {word!r} in its name or in its meaning; {hint}")
    return found


def listing(width: int) -> str:
    """All fields by groups, each with its default and the first sentence of its meaning.

    Args:
      width: of a line, in characters.
    """
    parts = []
    for group in GROUPS:
        fields = _fields_of(group)
        names = max(map(len, fields)) + 2
        defaults = max(len(_default(field)) for field in fields.values()) + 2
        lines = [
            _hanging(
                f"  {name:{names}}{_default(field):{defaults}}",
                field.meaning.partition(". ")[0].rstrip("."),
                width,
            )
            for name, field in fields.items()
        ]
        parts.append("\n".join([_hanging("", _heading(group), width), *lines]))
    return "\n\n".join(parts)


def explanation(names: Iterable[str], width: int) -> str:
    """All that is known of some fields.

    Args:
      names: of the fields.
      width: of a line, in characters.
    """
    parts = []
    for name in names:
        field = FIELDS[name]
        facts = {
            "default": repr(field.default),
            "may be": field.expected,
            "of a run": _MAY_CHANGE if field.free else _IS_FIXED,
        }
        if field.before is not None:
            facts["before"] = f"{field.before!r} in runs that are older than the field"
        lines = [_hanging("  ", field.meaning, width)]
        lines += [_hanging(f"  {key + ':':10}", text, width) for key, text in facts.items()]
        parts.append("\n".join([name, *lines]))
    return "\n\n".join(parts)


def page() -> str:
    """The page docs/configuration.md."""
    parts = [_INTRODUCTION]
    for group in GROUPS:
        rows = [f"## {group or 'The run'}", "", GROUPS[group], "", *_HEADER]
        rows += [_row(name, field) for name, field in _fields_of(group).items()]
        parts.append("\n".join(rows))
    return "\n\n".join(parts)


_INTRODUCTION = f"""\
# Configuration

An experiment is a file in [configs/](../configs/) that changes some of the fields below. The
defaults are those of [configs/base.py](../configs/base.py), the paper's where the paper names one.
On the command line `--config.GROUP.FIELD=VALUE` changes a field: `--config.data.batch_size=8`,
`--config.objective.scales=0.5,1`. `python main.py fields WORD` explains the fields that a word
stands for.

A field marked *free* may change whenever a run goes on or is used; the others stay as they were,
because training depends on them. *Before* is what runs did that are older than the field.

This page is made from [fields.py](../hmsa_jax/config/fields.py) by
`{COMMAND}`."""
_HEADER = ("| field | default | may be | meaning |", "|---|---|---|---|")


def _row(name: str, field: Field) -> str:
    notes = [field.meaning]
    notes += ["*Free.*"] if field.free else []
    notes += [] if field.before is None else [f"*Before:* `{field.before!r}`."]
    return f"| `{name}` | `{field.default!r}` | {field.expected} | {' '.join(notes)} |"


def _fields_of(group: str) -> dict[str, Field]:
    return {name: field for name, field in FIELDS.items() if name.rpartition(".")[0] == group}


def _heading(group: str) -> str:
    return f"{group}: {GROUPS[group]}" if group else GROUPS[group]


def _default(field: Field) -> str:
    text = repr(field.default)
    return text if len(text) <= _WIDEST_DEFAULT else f"{text[:_WIDEST_DEFAULT]}..."


def _hanging(start: str, text: str, width: int) -> str:
    """A paragraph after a start, with all further lines below its first one."""
    return textwrap.fill(
        text, max(width, len(start) + 20), initial_indent=start, subsequent_indent=" " * len(start)
    )
