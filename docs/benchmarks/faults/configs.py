"""Configs and class lists that cannot be used."""

import json
import shutil
from collections.abc import Iterator

import numpy as np

from faults import damage
from faults.bench import CLASSES, Bench
from faults.trial import Trial
from hmsa_jax.config import schema

_FILES = {
    "": "no get_config",
    "def get_config(:\n": "syntax error",
    "def get_config():\n    return None\n": "returns None",
    "def get_config():\n    return {'steps': 1}\n": "returns a dict",
    "def get_config():\n    return 1 / 0\n": "raises",
    "import no_such_module\n": "imports what is absent",
    "raise SystemExit(3)\n": "leaves",
    "def get_config(a, b, c):\n    return a\n": "wants arguments",
}
_VALUES = (
    *("", "x", "nan", "inf", "-1", "0", "1e400", str(10**20), str(10**400), "None", "True"),
    *("()", "(0, 0)", "([],)", "('a',)", "(1,", "{}", "[1]", "1.5", "\x00", "\udcff", "ß" * 500),
)
_IMPOSSIBLE = {  # what `train` has to refuse before it starts
    "evaluate__images_per_device": 10**20,
    "evaluate__canvases": 10**20,
    "evaluate__eval_split": "x",
    "data__eval_split": "nowhere",
    "data__train_split": "train[:0%]",
    "data__batch_size": 10**7,
    "data__workers": 10**20,
    "data__crop_size": (10**9, 10**9),
    "model__ocr_channels": 10**8,
    "evaluate__protocols": ("explicit:0.5,1",),
    "init_from": "/nowhere",
}


def fields(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """A file, a field or a value that cannot be is refused by its name."""
    names = sorted(schema.FIELDS)
    for number in range(count):
        if number % 4 == 0:
            yield _file(bench, number // 4)
        elif number % 4 == 1:
            yield _train(bench, number // 4)
        else:
            name, value = names[rng.integers(len(names))], _VALUES[rng.integers(len(_VALUES))]
            if number % 16 == 2:
                name += "x"
            ran = bench.call([*bench.arguments("check-data"), f"--config.{name}={value}"])
            yield Trial(f"{name}={value[:20]!a}", ran.trouble(name), ran.output)


def class_lists(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """A class list is read, or refused by its path."""
    whole = json.dumps(CLASSES).encode()
    for number in range(count):
        place = bench.place()
        shutil.copytree(bench.pictures, place / "set")
        path = place / "set" / "classes.json"
        if number % 2:
            fault = damage.hurt(path, rng)
        else:
            text = _LISTS[number // 2 % len(_LISTS)]
            fault = text[:30]
            path.write_text(text)
        ran = bench.call(
            bench.arguments("check-data", data__dir=place / "set", data__cache_dir=place / "data")
        )
        trouble = ran.trouble("classes.json", statuses=(0, 1) if number % 2 else (1,))
        yield Trial(fault, trouble, f"{whole!r}\n{path.read_bytes()[:999]!r}\n{ran.output}")


def renamed(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """A run does not go on, score or label with other classes than its own."""
    for number in range(count):
        place = bench.place()
        shutil.copytree(bench.pictures, place / "set")
        shutil.copytree(bench.run, place / "run")
        verb = ("evaluate", "autolabel", "train")[number % 3]
        ground, sky = CLASSES["classes"]
        if number % 2:
            fault, changed = "in another order", [sky, ground]
        else:
            fault, changed = "renamed", [ground, {"name": f"sky{rng.integers(100)}"}]
        path = place / "set" / "classes.json"
        path.write_text(json.dumps(CLASSES | {"classes": changed}))
        flags = [f"--workdir={place / 'run'}"]
        if verb == "autolabel":
            flags += ["--images=folder/train", f"--out={place / 'out'}", "--protocol=single"]
        ran = bench.call(bench.arguments(verb, *flags, data__dir=place / "set"))
        yield Trial(f"{verb}, {fault}", ran.trouble("sky", statuses=(1,)), ran.output)


_LISTS = (
    *("", "[]", "{}", "null", '{"classes": []}', '{"classes": 1}', '{"classes": [1]}'),
    *('{"classes": [{"name": 1}]}', '{"classes": [{"name": "a"}, {"name": "a"}]}'),
    *('{"classes": [{"name": "a", "id": 256}]}', '{"classes": [{"name": "a", "id": 1e999}]}'),
    *("[" * 100_000, '{"classes": [{"name": "a\\ud800"}]}', '{"classes": [{"name": "a\\nb"}]}'),
)


def _file(bench: Bench, number: int) -> Trial:
    path = bench.place() / "config.py"
    texts = [*_FILES, None]
    text = texts[number % len(texts)]
    if text is not None:
        path.write_text(text)
    workdir = path.parent / "run"
    ran = bench.call(["train", f"--config={path}", f"--workdir={workdir}"])
    trouble = ran.trouble(str(path), statuses=(1,))
    fault = "absent" if text is None else _FILES[text]
    return Trial(f"config file: {fault}", trouble or _made(workdir), ran.output)


def _train(bench: Bench, number: int) -> Trial:
    key, value = list(_IMPOSSIBLE.items())[number % len(_IMPOSSIBLE)]
    name, workdir = key.replace("__", "."), bench.place() / "run"
    ran = bench.call(bench.arguments("train", f"--workdir={workdir}", **{key: value}))
    trouble = ran.trouble(name, statuses=(1, 2))
    return Trial(f"train, {name}={value}", trouble or _made(workdir), ran.output)


def _made(workdir) -> str:
    return "the work directory was made" if workdir.exists() else ""
