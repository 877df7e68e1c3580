"""Where faults are tried: a small set of pictures, a small network, and commands on them."""

import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import resource
import runpy
import shlex
import signal
import subprocess
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable

import cv2
import jax
import numpy as np

ROOT = pathlib.Path(__file__).parents[3]
CLASSES = {"classes": [{"name": "ground"}, {"name": "sky"}], "ignore": [255]}
STEPS = 8
_SETTINGS = {
    "steps": STEPS,
    "log_every": 1,
    "data.name": "folder",
    "data.batch_size": 2,
    "data.crop_size": (64, 64),
    "data.class_uniform_tile": 64,
    "model.trunk": "tiny",
    "model.ocr_channels": 16,
    "model.ocr_key_channels": 8,
    "model.head_channels": 8,
    "model.dtype": "float32",
    # With more, so small a crop soon trains to activations that overflow.
    "objective.main_loss": "cross_entropy",
    "optimizer.learning_rate": 1e-4,
    "checkpoint.every": 2,
    "evaluate.flip": False,
    "evaluate.protocols": ("single",),
}
_XLA_FLAGS = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
PATIENCE = 600  # seconds until a command hangs, on a machine that does other work, too
_MOST_LINES = 12  # of a refusal
_LAST_WORDS = 5  # seconds in which they arrive, after the end of a child


@dataclasses.dataclass(frozen=True)
class Ran:
    """How a command ended.

    Attributes:
      status: as a shell has it, but negative for a signal; None if it did not end in time.
      output: all that it printed.
    """

    status: int | None
    output: str

    def trouble(self, *names: str, statuses: tuple[int, ...] = (0, 1, 2)) -> str:
        """What falls short: '' for a success, and for a short refusal that says one of `names`.

        Status 2 is a refusal of what was typed.
        """
        if self.status is None:
            return "hangs"
        if "Traceback (most recent call last)" in self.output:
            return "traceback"
        if self.status not in statuses:
            return f"status {self.status}"
        if self.status not in (1, 2):
            return ""
        lines = self.output.strip().splitlines()
        refusal = [i for i, line in enumerate(lines) if "Error: " in line]
        if refusal and len(lines) - refusal[-1] > _MOST_LINES:
            return f"a refusal of {len(lines) - refusal[-1]} lines"
        # What a console wraps is joined again.
        said = "".join(self.output.split())
        if names and not any("".join(name.split()) in said for name in names):
            return f"the refusal names none of {names}"
        return ""


class Bench:
    """A directory for all tries, with a set of pictures and the programs that are compiled.

    Args:
      scratch: is made; what is tried lies below it.
    """

    def __init__(self, scratch: pathlib.Path):
        self.scratch = scratch
        self.commands: list[str] = []  # of the try that is going on
        self._count = 0
        os.environ |= {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(scratch / "compiled"),
            "XLA_FLAGS": _XLA_FLAGS,
        }
        jax.config.update("jax_platforms", "cpu")
        jax.config.update("jax_compilation_cache_dir", str(scratch / "compiled"))
        warnings.filterwarnings("ignore", r"os\.fork", RuntimeWarning)  # no thread runs here
        cv2.setNumThreads(0)
        self.pictures = paint_set(scratch / "pictures")

    @functools.cached_property
    def run(self) -> pathlib.Path:
        """A run that was trained to its end, with checkpoints of two steps."""
        return self._made("train", self.scratch / "run", "--workdir={}")

    @functools.cached_property
    def weights(self) -> pathlib.Path:
        """The weights of `run` as a PyTorch file."""
        file = self.scratch / "weights.pth"
        return self._made("convert", file, f"--workdir={self.run}", "--to={}")

    def _made(self, verb: str, result: pathlib.Path, *flags: str) -> pathlib.Path:
        ran = self.call(self.arguments(verb, *(flag.format(result) for flag in flags)))
        if ran.status:
            raise RuntimeError(f"{verb} ends with {ran.status}: {ran.output}")
        return result

    def place(self) -> pathlib.Path:
        """A new empty directory."""
        self._count += 1
        place = self.scratch / f"place-{self._count}"
        place.mkdir()
        return place

    def arguments(self, verb: str, *flags: str, **changes) -> list[str]:
        """A command's arguments; `changes` are fields, with '__' for a dot."""
        changed = {name.replace("__", "."): value for name, value in changes.items()}
        settings = _SETTINGS | {
            "data.dir": self.pictures,
            "data.cache_dir": self.scratch / "data",
            **changed,
        }
        base = [] if any(flag.startswith("--config=") for flag in flags) else ["configs/base.py"]
        return [
            verb,
            *(f"--config={path}" for path in base),
            *flags,
            *(f"--config.{name}={value}" for name, value in settings.items()),
        ]

    def start(
        self, arguments: list[str], program: tuple[str, ...] = ("main.py",), **environment: str
    ) -> subprocess.Popen:
        """Starts a command as a user does."""
        self.commands.append(shlex.join(["python", *program, *arguments]))
        return subprocess.Popen(
            [sys.executable, *program, *arguments],
            cwd=ROOT,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )

    def call(self, arguments: list[str], before: Callable[[], None] = lambda: None) -> Ran:
        """Runs a command in a child of this process, which has imported what takes seconds.

        Args:
          arguments: from `arguments`.
          before: called in the child.
        """
        self.commands.append(shlex.join(["python", "main.py", *arguments]))

        def body():
            before()
            os.chdir(ROOT)
            sys.argv = ["main.py", *arguments]
            runpy.run_path(str(ROOT / "main.py"), run_name="__main__")

        return self.isolated(body)

    def trouble_of(self, compare: Callable[..., str], *directories: pathlib.Path) -> str:
        """What `compare` returns, called in a child: what it starts is not forked later."""
        mark = "What differs:"  # other lines may be printed, too
        ran = self.isolated(lambda: print(mark, compare(*directories)))
        lines = [line for line in ran.output.splitlines() if line.startswith(mark)]
        return lines[0].removeprefix(mark).strip() if lines else ran.output[-500:] or "no word"

    def isolated(
        self, body: Callable[[], None], gibibytes: float = 0, seconds: float = PATIENCE
    ) -> Ran:
        """Calls a function in a child of this process.

        Args:
          body: what it prints is the output.
          gibibytes: it may take beyond what this process has; 0 for any number.
          seconds: after which it hangs.
        """
        # A pipe, which no limit to the size of files cuts off.
        read_end, write_end = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        child = os.fork()
        if not child:
            os.close(read_end)
            _become(body, write_end, gibibytes)
        os.close(write_end)
        received = bytearray()
        reader = threading.Thread(target=_read, args=(read_end, received), daemon=True)
        reader.start()
        status = _wait(child, seconds)
        reader.join(_LAST_WORDS)  # what the child started may hold the pipe open
        return Ran(status, received.decode(errors="replace"))


def finish(process: subprocess.Popen) -> Ran:
    """Waits for what `Bench.start` started."""
    try:
        output, _ = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        return Ran(None, process.communicate()[0])
    return Ran(process.returncode, output)


def paint_set(directory: pathlib.Path) -> pathlib.Path:
    """A `folder` set: 4 images of 64 x 96 pixels to train on and 2 to validate, two classes."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 4), ("validation", 2)):
        for kind in ("images", "masks"):
            (directory / kind / split).mkdir(parents=True)
        for number in range(count):
            # Smooth, so that what a JPEG holds is near to what was painted.
            image = cv2.resize(rng.integers(0, 128, (4, 6, 3), np.uint8), (96, 64))
            mask = np.zeros((64, 96), np.uint8)
            edge = rng.integers(20, 50)
            image[:edge] += 127
            mask[:edge] = 1
            suffix = ".jpg" if number % 2 else ".png"
            cv2.imwrite(str(directory / "images" / split / f"{split}{number}{suffix}"), image)
            cv2.imwrite(str(directory / "masks" / split / f"{split}{number}.png"), mask)
    (directory / "classes.json").write_text(json.dumps(CLASSES))
    return directory


def contents(directory: pathlib.Path) -> dict[str, str]:
    """A digest of each file below a directory, by its path there."""
    return {
        str(path.relative_to(directory)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def _read(descriptor: int, received: bytearray) -> None:
    with open(descriptor, "rb", buffering=0) as pipe:
        while some := pipe.read(2**16):
            received += some


def _become(body, write_end, gibibytes) -> None:
    """The life of a child: never returns."""
    status = 1
    try:
        os.dup2(write_end, 1)
        os.dup2(write_end, 2)
        os.close(write_end)
        if gibibytes:
            pages = int(pathlib.Path("/proc/self/statm").read_text().split()[0])
            limit = pages * resource.getpagesize() + int(gibibytes * 2**30)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        body()
        status = 0
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            print(leaving.code)
        status = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _wait(child: int, seconds: float) -> int | None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None
