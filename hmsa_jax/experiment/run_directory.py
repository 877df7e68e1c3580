"""The directory of a run: the config and the classes that it belongs to, and what was promised it.

config.json      the config of the run, written when the directory is claimed
classes.json     its classes, in the form of data/folder.py
weights_of.json  the file whose weights `convert --from` makes its step 0
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict

from data import folder
from data.label_spec import LabelSpec, differing_labels, differing_names
from hmsa_jax.config import schema
from hmsa_jax.config.fields import BEFORE, RETIRED
from hmsa_jax.distributed import hosts
from hmsa_jax.runtime import storage
from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.runtime.progress import tell

_CONFIG = "config.json"
_CLASSES = "classes.json"
_PROMISE = "weights_of.json"


def exists(workdir: pathlib.Path) -> bool:
    """Whether a directory holds the config of a run."""
    return (workdir / _CONFIG).is_file()


def read_config(workdir: pathlib.Path) -> ConfigDict:
    """The config of a run; a field that is younger than the run says what the run did.

    Fields that are no more are left out.

    Raises:
      ValueError: it is damaged, or has a field that is unknown here.
    """
    stored = _stored_fields(workdir)
    if unknown := sorted(stored.keys() - schema.FIELDS.keys()):
        raise ValueError(
            f"{workdir / _CONFIG} has fields that this version does not know: {', '.join(unknown)};"
            " use the version that made the run"
        )
    try:
        return schema.unflatten(BEFORE | stored)
    except ValueError as error:
        raise ValueError(
            f"{workdir / _CONFIG} is damaged ({error}); restore it from a copy"
        ) from error


def resolve(
    workdir: pathlib.Path, file: ConfigDict | None, overrides: Mapping[str, Any]
) -> ConfigDict:
    """The config for a command on a run: the run's own, but for free fields that were changed.

    Of a file only that counts which it does not leave at the field's default: all files hold all
    fields.

    Args:
      workdir: directory of the run, which `exists`.
      file: the config that `--config` names, if it is given.
      overrides: fields that were typed -> their values.

    Raises:
      ValueError: the file is no config that can be run; or what was typed, or the file, has another
        value in a field that may not change; each is listed with both.
    """
    config = read_config(workdir)
    ours = schema.flatten(config)
    of_file = {}
    if file is not None:
        file = schema.override(file, overrides)
        schema.check(file)
        of_file = {
            name: value
            for name, value in schema.flatten(file).items()
            if name not in overrides and value != ours[name] and not _says_nothing(name, value)
        }
    changes = of_file | dict(overrides)
    refused = [
        f"{name}: {ours[name]!r} there, {value!r} here"
        for name, value in changes.items()
        if value != ours[name] and not schema.FIELDS[name].free
    ]
    if refused:
        raise ValueError(
            f"{workdir} belongs to another config; name another --workdir, or undo:\n  "
            + "\n  ".join(refused)
        )
    if of_file:
        lines = [f"{name}: {value!r}, not {ours[name]!r}" for name, value in of_file.items()]
        tell(f"Taken from --config, where {workdir} has other values:\n  " + "\n  ".join(lines))
    return schema.override(config, changes)


def _says_nothing(name: str, value: Any) -> bool:
    """Whether a file leaves a field alone that may change: files hold all fields."""
    return schema.FIELDS[name].free and value == schema.FIELDS[name].default


def check(workdir: pathlib.Path, config: ConfigDict, label_spec: LabelSpec) -> None:
    """Makes sure that a directory belongs to a config and its classes, or to none; writes nothing.

    Names and order of the classes must be those of the run: its network has an output for each.
    Numbers in the labels, colours and ignored values may be others, as of another copy of the data;
    they are listed.

    Args:
      workdir: directory of the run; it may be missing.
      config: a checked config.
      label_spec: of its data set.

    Raises:
      ValueError: the directory belongs to another config or to other classes, and all that differs
        is listed; or it cannot be one.
    """
    _refuse_another(workdir, config, label_spec)
    theirs = classes_of(workdir)
    differing = [] if theirs is None else differing_labels(theirs, label_spec)
    if differing:
        tell(
            f"The classes are those of {workdir}, but their labels are others; what is read and"
            " written now has those here:\n  " + "\n  ".join(differing)
        )


def claim(
    workdir: pathlib.Path,
    config: ConfigDict,
    label_spec: LabelSpec,
    *,
    weights_of: pathlib.Path | None = None,
) -> None:
    """Writes config and classes into a directory that has none; the last step before the work.

    Args:
      workdir: directory of the run, which is made if it is missing; of several processes the first
        one makes it.
      config: a checked config.
      label_spec: of its data set.
      weights_of: the file that the run is about to get its first weights from, for `check_promise`.

    Raises:
      ValueError: as in `check`; or it is another directory for each process.
    """
    with hosts.first_before_others("workdir"):
        if jax.process_index() == 0:
            _claim(workdir, config, label_spec, weights_of)
        elif not (workdir / _CLASSES).exists():
            raise ValueError(
                f"process {jax.process_index()} does not find {workdir / _CLASSES}, which process 0"
                " wrote; name a --workdir on a file system that they share"
            )


def _claim(
    workdir: pathlib.Path,
    config: ConfigDict,
    label_spec: LabelSpec,
    weights_of: pathlib.Path | None,
) -> None:
    _refuse_another(workdir, config, label_spec)  # another process may have claimed it meanwhile
    storage.make_directory(workdir)
    if weights_of is not None:  # first of all: without the others it is only a promise
        _write(workdir / _PROMISE, {"file": str(weights_of.absolute())})
    is_new = not (workdir / _CONFIG).exists()
    if is_new:
        _write(workdir / _CONFIG, _placed(schema.flatten(config)))
    if not (workdir / _CLASSES).exists():
        write_atomically(workdir / _CLASSES, folder.classes_text(label_spec))
        if not is_new:
            tell(
                f"{workdir} did not say which classes it has. Those of"
                f" data.name={config.data.name!r} are written to {workdir / _CLASSES} now."
            )


def _placed(fields: dict[str, Any]) -> dict[str, Any]:
    """The fields, whose directories of data mean the same in whatever directory one works."""
    relative = {
        name: str(pathlib.Path(fields[name]).absolute())
        for name in ("data.dir", "data.pool.dir", "data.cache_dir")
        if fields[name] and not fields[name].startswith("~") and "://" not in fields[name]
    }
    return fields | relative


def _refuse_another(workdir: pathlib.Path, config: ConfigDict, label_spec: LabelSpec) -> None:
    if not (workdir / _CONFIG).exists():
        storage.check_place(workdir, "--workdir")
    else:
        differing = _differing_fields(_stored_fields(workdir), schema.flatten(config))
        if differing:
            raise ValueError(
                f"{workdir} belongs to another config; name another --workdir, or undo:\n  "
                + "\n  ".join(differing)
            )
    theirs = classes_of(workdir)
    differing = [] if theirs is None else differing_names(theirs.names, label_spec.names)
    if differing:
        raise ValueError(
            f"{workdir} has other classes than data.name={config.data.name!r}, data.dir="
            f"{config.data.dir!r}, so that they would be mistaken for each other; name a data set"
            " with the same classes in the same order, or another --workdir:\n  "
            + "\n  ".join(differing)
        )


def classes_of(run: pathlib.Path) -> LabelSpec | None:
    """The classes of a run; None where it does not say, as runs of earlier versions.

    Raises:
      ValueError: its list of classes is damaged.
    """
    path = run / _CLASSES
    return folder.read_classes(path) if path.exists() else None


def check_promise(workdir: pathlib.Path) -> None:
    """Raises ValueError if a run without checkpoints was to begin with the weights of a file."""
    path = workdir / _PROMISE
    if path.exists():
        source = _read(path).get("file")
        raise ValueError(
            f"{workdir} was to begin with the weights of {source}, but holds no whole checkpoint:"
            " `convert --from` did not end. Give that command again; or name another --workdir to"
            " train without them."
        )


def _differing_fields(theirs: dict, ours: dict) -> list[str]:
    """A line for each field that has a part in the result and differs."""
    # Theirs, read from a file, have lists where others have tuples.
    theirs, ours = (json.loads(json.dumps(each)) for each in (BEFORE | theirs, ours))
    return [
        f"{name}: {_value(theirs, name)} there, {_value(ours, name)} here"
        for name in sorted(ours.keys() | theirs.keys())
        if not (name in schema.FIELDS and schema.FIELDS[name].free)
        and (name in ours, ours.get(name)) != (name in theirs, theirs.get(name))
    ]


def _value(fields: dict, name: str) -> str:
    return repr(fields[name]) if name in fields else "missing"


def _write(path: pathlib.Path, content: dict) -> None:
    write_atomically(path, json.dumps(content, indent=2) + "\n")


def _stored_fields(workdir: pathlib.Path) -> dict:
    """The fields of a run as they are in its file, without those that are no more."""
    return {k: v for k, v in _read(workdir / _CONFIG).items() if k not in RETIRED}


def _read(path: pathlib.Path) -> dict:
    try:
        content = json.loads(path.read_text())
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is damaged ({error}); restore it from a copy") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is damaged: expected a JSON object; restore it from a copy")
    return content
