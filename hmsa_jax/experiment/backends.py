"""The command `backends`: what the steps of a config take on targets, here or not."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import ml_collections

from data import registry
from hmsa_jax.config import schema
from hmsa_jax.experiment import feasibility, protocols
from hmsa_jax.experiment.compile_report import STEPS
from hmsa_jax.performance import target as target_lib
from hmsa_jax.performance.target import Target
from hmsa_jax.report import backends as report
from hmsa_jax.report import memory_figure, step_breakdown
from hmsa_jax.runtime import machine
from hmsa_jax.runtime.files import write_atomically
from hmsa_jax.runtime.locks import occupied
from hmsa_jax.runtime.progress import console, tell

_ROOT = pathlib.Path(__file__).parents[2]
_FACTS = ("jax", "images_per_device", "quick")  # as the config, one for all rows
_FREE = (
    "data.dir",
    "data.cache_dir",
    "data.built",
    "data.encoding",
    "data.workers",
    "log_every",
    "profile",
)
_KINDS = "import jax; print(*(d.device_kind for d in jax.devices()), sep='\\n')"


def backends(
    config: ml_collections.ConfigDict,
    out: pathlib.Path,
    *,
    targets: str,
    steps: str = ",".join(STEPS),
    images_per_device: int = 1,
    quick: bool = False,
    breaks_down: bool = False,
    command: str = "",
) -> list[dict]:
    """compiles each step for each target, and runs it where the devices are there.

    `OUT/backends.json` is written after each of them. The same command goes on where it was
    stopped; rows that failed are tried again. The data set is not read: images are random.

    Args:
      config: of the experiment; `data.crop_size` is the size of the images.
      out: directory of `backends.json`, `backends.md` and `backends.svg`.
      targets: names with commas between them, as `target.parse_all` reads them.
      steps: some of `STEPS`, with commas between them.
      images_per_device: of the train step.
      quick: compile for TPUs with little optimisation, in minutes: memory, which is rather more
        than it would be, work and communication, but no time.
      breaks_down: write `breakdown.md`, too: where the time, the traffic and the operations of each
        step go, by layer and by kind.
      command: what a reader has to type to get the same.

    Returns:
      The rows, as `compile_report.of_step` describes them, in the order of targets and steps.

    Raises:
      ValueError: a flag or the config is wrong, or `out` holds rows of another config.
      FileNotFoundError: the data set's classes are listed in a directory that is not there.
    """
    schema.check(config)
    data = config.data
    dataset = registry.get(data.name, data.dir or None, data.cache_dir, data.built)
    feasibility.check_widths(config.model)
    feasibility.check_class_weights(config, dataset.label_spec)
    wanted = [(t, s) for t in target_lib.parse_all(targets) for s in _parse_steps(steps)]
    if images_per_device < 1:
        raise ValueError(f"--images_per_device is {images_per_device}; expected 1 or more")
    _check_possible(config, {step for _, step in wanted}, images_per_device)
    facts = {
        "command": command,
        "machine": machine.describe(),
        "jax": jax.__version__,
        "images_per_device": images_per_device,
        "quick": quick,
        "config": json.loads(json.dumps(schema.flatten(config))),
    }
    out.mkdir(parents=True, exist_ok=True)
    with occupied(out):
        rows = _earlier_rows(out / "backends.json", facts)
        kinds = _kinds_here(wanted)
        for target, step in wanted:
            if _is_done(rows.get((target.name, step)), target, kinds, breaks_down):
                tell(f"{target.name} {step}: done before")
                continue
            tell(f"{target.name} {step}: compiling ...")
            environment = _environment(target, kinds, quick)
            row = _report_apart(config, target, step, images_per_device, breaks_down, environment)
            rows[target.name, step] = row
            tell(f"{target.name} {step}: {report.verdict(row)}", style=_style(row))
            _write(out, facts, rows.values())
        _write(out, facts, rows.values())
    chosen = [rows[target.name, step] for target, step in wanted]
    console.print(report.to_table(chosen))
    for path in ("backends.json", "backends.md", "backends.svg", "breakdown.md"):
        if (out / path).exists():
            tell(str(out / path))
    return chosen


def _check_possible(
    config: ml_collections.ConfigDict, steps: set[str], images_per_device: int
) -> None:
    """Refuses what no network and no device can do; the rows tell what each device can do."""
    size = config.data.crop_size
    if "train" in steps:
        scales = config.objective.scales
        feasibility.check_scales("objective.scales", scales, size)
        feasibility.check_crop(config)
        feasibility.check_any_device(
            f"--images_per_device={images_per_device}", images_per_device, size, scales
        )
    if "evaluate" in steps:
        protocols.tell_left_out(config)
        wanted = protocols.of_evaluation(config)
        scales = {scale for protocol in wanted for scale in protocol.scales}
        feasibility.check_scales("evaluate.protocols", scales, size)
        images = config.evaluate.images_per_device
        feasibility.check_any_device(f"evaluate.images_per_device={images}", images, size, scales)


def _parse_steps(text: str) -> list[str]:
    steps = [step.strip() for step in text.split(",") if step.strip()]
    if not steps or not set(steps) <= set(STEPS):
        raise ValueError(f"--steps is {text!r}; expected some of {','.join(STEPS)}")
    return steps


def _earlier_rows(path: pathlib.Path, facts: dict) -> dict[tuple[str, str], dict]:
    """The rows that an earlier start of the same command wrote."""
    if not path.exists():
        return {}
    try:
        earlier = json.loads(path.read_text())
        rows = {(row["target"], row["step"]): row for row in earlier["rows"]}
        fields = dict(earlier["config"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is damaged, or no file of `backends` ({error!r}); remove it, or name another"
            " --out"
        ) from error
    differing = [name for name in _FACTS if earlier.get(name) != facts[name]]
    differing += [
        name
        for name in sorted(fields.keys() | facts["config"].keys())
        if name not in _FREE and fields.get(name) != facts["config"].get(name)
    ]
    if differing:
        raise ValueError(
            f"{path} is of another run, which differs in {', '.join(differing)}; name another --out"
        )
    return rows


def _is_done(row: dict | None, target: Target, kinds: list[str], breaks_down: bool) -> bool:
    """Whether a row is final: it did not fail, and this machine cannot measure more."""
    if row is None or row["status"] == "failed":
        return False
    if breaks_down and row["status"] == "fits" and "breakdown" not in row:
        return False
    is_measured = row.get("time", {}).get("kind") == "measured"
    could_be = _is_here(target, kinds) and row["status"] == "fits"
    same_compiler = row["compiler"] == target_lib.compiler_version(target)
    return same_compiler and (is_measured or not could_be)


def _is_here(target: Target, kinds: list[str]) -> bool:
    """Whether this machine has the accelerators of a target."""
    count = sum(kind in target.chip.kinds for kind in kinds) if target.chip else 0
    return target.chip is not None and count >= target.devices


def _kinds_here(wanted: Iterable[tuple[Target, str]]) -> list[str]:
    """The kinds of the accelerators here; a process of its own asks JAX, then releases them."""
    if all(target.platform == "cpu" for target, _ in wanted):
        return []
    process = subprocess.run([sys.executable, "-c", _KINDS], capture_output=True, text=True)
    return process.stdout.splitlines() if process.returncode == 0 else []


def _report_apart(
    config: ml_collections.ConfigDict,
    target: Target,
    step: str,
    images_per_device: int,
    breaks_down: bool,
    environment: Mapping[str, str],
) -> dict[str, Any]:
    """`compile_report.of_step` in a process of its own; a crash becomes a row, too."""
    request = {
        "config": schema.flatten(config),
        "target": target.name,
        "step": step,
        "images_per_device": images_per_device,
        "breaks_down": breaks_down,
    }
    with tempfile.TemporaryDirectory() as scratch:
        result = pathlib.Path(scratch) / "row.json"
        process = subprocess.run(
            [sys.executable, "-m", "hmsa_jax.experiment.compile_report", str(result)],
            input=json.dumps(request).encode(),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=environment,
        )
        if result.exists():
            return json.loads(result.read_text())
    last = process.stderr.decode(errors="replace").strip().splitlines()[-1:]
    message = f"the process ended with status {process.returncode}: {''.join(last)}"
    if process.returncode == -signal.SIGKILL:
        message = (
            "the compiler was killed, as when this machine's memory is spent: leave more of it"
            " free, or try --quick"
        )
    return {
        "target": target.name,
        "step": step,
        "status": "failed",
        "message": message,
        "compiler": target_lib.compiler_version(target),
    }


def _environment(target: Target, kinds: list[str], quick: bool) -> dict[str, str]:
    path = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
    # Without the cache, so that the time of compiling is that.
    environment = {**os.environ, "PYTHONPATH": path, "JAX_ENABLE_COMPILATION_CACHE": "false"}
    if not _is_here(target, kinds):
        environment |= target_lib.environment(target)
    if quick and target.platform == "tpu":
        environment["JAX_OPTIMIZATION_LEVEL"] = "O1"
    if target.platform == "cpu":
        flag = f"--xla_force_host_platform_device_count={target.devices}"
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flag}".strip()
    return environment


def _write(out: pathlib.Path, facts: dict, rows: Iterable[dict]) -> None:
    rows = list(rows)
    write_atomically(out / "backends.json", json.dumps({**facts, "rows": rows}, indent=2) + "\n")
    write_atomically(out / "backends.md", report.to_markdown(facts, rows))
    write_atomically(out / "backends.svg", memory_figure.to_svg(rows))
    if broken_down := [step_breakdown.to_markdown(row) for row in rows if "breakdown" in row]:
        write_atomically(out / "breakdown.md", "\n".join(["# Where a step goes\n", *broken_down]))
    else:
        (out / "breakdown.md").unlink(missing_ok=True)


def _style(row: dict) -> str:
    return {"fits": "green", "does not fit": "yellow"}.get(row["status"], "red")
