"""The config of an experiment: the base, the check, and values from the command line."""

import difflib
from collections.abc import Mapping
from typing import Any

from etils import epy
from ml_collections import ConfigDict, FieldReference

from hmsa_jax.config.fields import FIELDS
from hmsa_jax.runtime.paths import any_path, local_path

with epy.lazy_imports():  # making a config needs no network
    from hmsa_jax.config import contradictions

_SHOWN = 200  # characters of a value, in an error


def base_config() -> ConfigDict:
    """Every field with its default."""
    fields: dict[str, Any] = {}
    for name, field in FIELDS.items():
        *groups, last = name.split(".")
        place = fields
        for group in groups:
            place = place.setdefault(group, {})
        place[last] = field.default
        if not field.kind.is_of_one_type:
            place[last] = FieldReference(field.default, field_type=object)
    return ConfigDict(fields)


def flatten(config: ConfigDict) -> dict[str, Any]:
    """The config as `{"group.field": value}`."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            flat |= {f"{name}.{inner}": v for inner, v in flatten(value).items()}
        else:
            flat[name] = value
    return flat


def unflatten(values: Mapping[str, Any]) -> ConfigDict:
    """The config that `flatten` returned, also after JSON made lists of its tuples.

    Args:
      values: `{"group.field": value}`; fields that are left out have their defaults.

    Raises:
      ValueError: a field is unknown, or holds a value of another type than its default.
    """
    if unknown := sorted(values.keys() - FIELDS.keys()):
        raise ValueError(no_such_field(unknown[0]))
    tuples = {name: _with_tuples(value) for name, value in values.items()}
    return override(base_config(), tuples)


def override(config: ConfigDict, values: Mapping[str, Any]) -> ConfigDict:
    """The config with other values in some fields.

    Args:
      config: it changes, too.
      values: `{"group.field": value}`.

    Raises:
      ValueError: the config lacks a field, or holds a value of another type there.
    """
    for name, value in values.items():
        *groups, last = name.split(".")
        place = config
        for group in groups:
            place = place[group]
        try:
            place[last] = value
        except (KeyError, TypeError):
            raise ValueError(
                f"{name} is {_shown(value)}; expected {FIELDS[name].expected}"
            ) from None
    return config


def in_words(config: ConfigDict) -> dict[str, str]:
    """Every field as the user would write it, for comparison; `check` says whether it is possible.

    Nothing at all where a field cannot be computed from the others, of which `check` says why.
    """
    try:
        return {name: repr(value) for name, value in flatten(config).items()}
    except ZeroDivisionError:
        return {}


def parse(name: str, text: str) -> Any:
    """The value that a text of the command line gives a field, whether `check` passes it or not.

    Args:
      name: of the field, like `data.batch_size`.
      text: what follows `--config.NAME=`. A tuple may be written `(0.5, 1)` or `0.5,1`.

    Raises:
      ValueError: there is no such field, or the text stands for no value of its type.

    >>> parse("data.batch_size", "8")
    8
    >>> parse("objective.scales", "0.5,1,2")
    (0.5, 1.0, 2.0)
    >>> parse("evaluate.protocols", "single,average:0.5,1,2")
    ('single', 'average:0.5,1,2')
    """
    if name not in FIELDS:
        raise ValueError(no_such_field(name))
    field = FIELDS[name]
    try:
        return field.kind.read(text)
    except ValueError:
        raise ValueError(f"{name} is {_shown(text)}; expected {field.expected}") from None


def typed(value: Any) -> str:
    """The text of the command line that gives a field this value, for `parse`.

    >>> typed((0.5, 1.0, 2.0)), typed(True), typed("a b")
    ('0.5,1.0,2.0', 'True', 'a b')
    """
    return ",".join(map(typed, value)) if isinstance(value, tuple) else str(value)


def nearest(word: str) -> str | None:
    """The field whose name, with or without its group, is most like a word; None if none is."""
    by_last_part = {name.rpartition(".")[2]: name for name in reversed(FIELDS)}
    near = difflib.get_close_matches(word, [*FIELDS, *by_last_part], n=1, cutoff=0.5)
    return by_last_part.get(near[0], near[0]) if near else None


def no_such_field(name: str) -> str:
    """The error for a name that no field has, with what it may have meant."""
    near = nearest(name)
    hint = f"did you mean {near}?" if near else "`python main.py fields` lists the fields"
    return f"{name}: no such field; {hint}"


def check(config: ConfigDict) -> None:
    """Raises ValueError, listing every unknown, missing or impossible field at once."""
    try:
        flat = flatten(config)
    except ZeroDivisionError:  # recipes divide by the batch to find the number of steps
        raise ValueError(
            f"The config cannot be run:\n  data.batch_size is 0;"
            f" expected {FIELDS['data.batch_size'].expected}"
        ) from None
    problems = [no_such_field(name) for name in flat if name not in FIELDS]
    for name, field in FIELDS.items():
        if name not in flat:
            problems.append(f"{name}: missing; expected {field.expected}")
        elif not field.allows(flat[name]):
            problems.append(f"{name} is {_shown(flat[name])}; expected {field.expected}")
        elif field.is_path and flat[name]:
            problems += _problems_of_path(name, flat[name])
    problems = problems or contradictions.find(config)
    if problems:
        raise ValueError("The config cannot be run:\n  " + "\n  ".join(problems))


def _with_tuples(value: Any) -> Any:
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _shown(value: Any) -> str:
    """A value as it was written, or its beginning."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of over 4300 digits, a list in itself
        return f"a {type(value).__name__} that cannot be written"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _problems_of_path(name: str, text: str) -> list[str]:
    parse = any_path if FIELDS[name].kind.is_remote else local_path
    try:
        parse(text, name)
    except ValueError as error:
        return [str(error)]
    return []
