"""Paths that a user may name, with characters that mean something elsewhere."""

import shutil
from collections.abc import Iterator

import numpy as np

from faults.bench import Bench
from faults.trial import Trial

_PARTS = (
    *(" ", "[", "]", "[a]", "*", "**", "?", "%s", "%20", "@", "'", '"', "\\", "$HOME", "~", "`"),
    *(
        "\n",
        "\t",
        ";",
        "&",
        "#",
        "{}",
        "{0}",
        "=",
        ",",
        ":",
        "ß",
        "日本",
        "\udcff",
        "-",
        "..",
        "e\u0301",
    ),
)


def tries(bench: Bench, rng: np.random.Generator, count: int) -> Iterator[Trial]:
    """A directory of that very name is used and no other made, or it is refused by its name."""
    for number in range(count):
        place = bench.place()
        name = "a" + "".join(rng.choice(_PARTS, 2)) + ("b" if number % 3 else "")
        path = place / name
        if number % 3 == 0:
            flags, changes, verb = [f"--from={bench.weights}", f"--workdir={path}"], {}, "convert"
        elif number % 3 == 1:
            shutil.copytree(bench.pictures, path)
            flags, changes, verb = [], {"data__dir": path}, "check-data"
        else:
            shutil.copytree(bench.pictures / "images" / "validation", path)
            flags = [f"--workdir={bench.run}", f"--images={path}", f"--out={place / name}-out"]
            flags, changes, verb = [*flags, "--protocol=single"], {}, "autolabel"
        ran = bench.call(bench.arguments(verb, *flags, **changes))
        # A path that is refused is printed with escapes.
        trouble = ran.trouble(str(path), ascii(str(path))[1:-1], repr(str(path))[1:-1])
        others = {path.name for path in place.iterdir()} - {name, f"{name}-out"}
        if not trouble and others:
            trouble = f"other files were made: {others}"
        if not trouble and verb == "convert" and (ran.status == 0) != path.exists():
            trouble = "the work directory is elsewhere"
        yield Trial(f"{verb} {name!a}", trouble, ran.output)
