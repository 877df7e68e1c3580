"""What a step of a config takes on a target: compiled, and run where the devices are there.

Each step is compiled in a process of its own, `python -m hmsa_jax.experiment.compile_report ROW`,
which reads a request from standard input and writes the row of the report to the file ROW.
Compilers read environment variables as the process starts, and only its end returns their memory.
"""

import copy
import dataclasses
import functools
import json
import os
import pathlib
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.sharding import NamedSharding

from hmsa_jax.config import schema
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment.experiment import Experiment, assemble, check_batch
from hmsa_jax.performance import breakdown, compiled, flops, hlo
from hmsa_jax.performance import target as target_lib
from hmsa_jax.performance.modelled_time import modelled_seconds
from hmsa_jax.performance.target import Target
from hmsa_jax.report import step_breakdown
from hmsa_jax.runtime.files import write_atomically

STEPS = ("train", "evaluate")
_WARM_UP = 2
_RUNS = 10
_PATIENCE = 120.0  # seconds, after which three runs are enough; one, if it takes as long
_OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"


@dataclasses.dataclass(frozen=True)
class Program:
    """A step that can be compiled.

    Attributes:
      step: the jitted function.
      useful: the same function without recomputation, whose work is counted.
      arguments: abstract arguments of both.
      images: of a batch, on all devices together.
      run: `(executable, state, batch) -> (state, result)`.
    """

    step: jax.stages.Wrapped
    useful: jax.stages.Wrapped
    arguments: tuple
    images: int
    run: Callable


def of_step(
    config: ml_collections.ConfigDict,
    target: Target,
    step: str,
    *,
    images_per_device: int,
    breaks_down: bool = False,
) -> dict:
    """Compiles a step for a target and says what it takes.

    Args:
      config: of the experiment.
      target: what to compile for.
      step: one of `STEPS`.
      images_per_device: of the train step, for each device on the mesh axis 'data' and each part
        of an accumulated batch; the evaluation step has `evaluate.images_per_device`.
      breaks_down: whether to say where time, traffic and operations go.

    Returns:
      A row, which JSON can hold: `target`, `step`, `status` ('fits', 'does not fit' or 'failed')
      and `message`; as far as it got `device`, `devices`, `mesh`, `images`, `image_size`,
      `memory` (bytes on a device), `useful_flops` (of all devices), `time` (seconds, measured or
      modelled), `mfu`, `collectives`, `lower_seconds`, `compile_seconds` and `breakdown`, as
      `step_breakdown.to_rows` makes it.
    """
    row: dict[str, Any] = {"target": target.name, "step": step, "status": "failed", "message": ""}
    row["compiler"] = target_lib.compiler_version(target)
    try:
        _compile(row, config, target, step, images_per_device, breaks_down)
    except jax.errors.JaxRuntimeError as error:
        row["message"] = str(error).splitlines()[0]
        if _OUT_OF_MEMORY in row["message"]:
            row["status"] = "does not fit"
            sizes = compiled.sizes_of_failure(str(error))
            if sizes:
                row["memory"] = {"peak": sizes[0], "limit": sizes[1]}
    except (ValueError, target_lib.CompilerMissingError) as error:
        row["message"] = str(error)
    return row


def _compile(
    row: dict[str, Any],
    config: ml_collections.ConfigDict,
    target: Target,
    step: str,
    images_per_device: int,
    breaks_down: bool,
) -> None:
    """Fills the row as far as it gets."""
    present = target_lib.present_devices(target)
    devices = target_lib.described_devices(target) if present is None else present
    experiment = assemble(config, devices)
    make = train_program if step == "train" else evaluation_program
    program = make(experiment, images_per_device)
    row |= {
        "device": devices[0].device_kind,
        "devices": len(devices),
        "mesh": dict(experiment.mesh.shape),
        "images": program.images,
        "image_size": list(config.data.crop_size),
        "useful_flops": flops.count(program.useful.trace(*program.arguments).jaxpr),
    }
    begin = time.monotonic()
    lowered = program.step.lower(*program.arguments)
    row["lower_seconds"] = round(time.monotonic() - begin, 2)
    begin = time.monotonic()
    executable = lowered.compile()
    row["compile_seconds"] = round(time.monotonic() - begin, 2)
    _read(row, executable, target)
    if breaks_down:
        places = breakdown.of_program(hlo.read(executable.as_text() or ""))
        row["breakdown"] = step_breakdown.to_rows(places, row.get("time", {}).get("median"))
    if present is not None:
        row["time"] = measured(program, executable, experiment)
    _rate(row, target)


def train_program(experiment: Experiment, images_per_device: int) -> Program:
    """The train step, with another batch; arguments as for `of_step`."""
    config, mesh = copy.deepcopy(experiment.config), experiment.mesh
    images = images_per_device * mesh.shape["data"] * config.optimizer.accumulate
    config.data.batch_size = images
    check_batch(config, mesh)
    experiment = dataclasses.replace(experiment, config=config)
    batch = _batch(images, config, sharding.training_batch(mesh))
    # Where arrays are only described there are none.
    hyperparameters = functools.cache(experiment.hyperparameters_on_devices)
    return Program(
        step=experiment.train_step(),
        useful=experiment.without_recomputation().train_step(),
        arguments=(
            jax.eval_shape(experiment.initial_state),
            jax.eval_shape(experiment.hyperparameters_on_devices),
            batch,
        ),
        images=images,
        run=lambda step, state, batch: step(state, hyperparameters(), batch),
    )


def evaluation_program(experiment: Experiment, images_per_device: int) -> Program:
    """The evaluation step, with the batch that it has; arguments as for `of_step`."""
    del images_per_device
    config, mesh = experiment.config, experiment.mesh
    images = config.evaluate.images_per_device * mesh.size
    batch = _batch(images, config, sharding.evaluation_batch(mesh))
    state = jax.eval_shape(experiment.initial_state)
    return Program(
        step=experiment.evaluation_step(),
        useful=experiment.without_recomputation().evaluation_step(),
        arguments=(state.eval_params, state.eval_batch_stats, batch),
        images=images,
        run=lambda step, state, batch: (
            state,
            step(state.eval_params, state.eval_batch_stats, batch),
        ),
    )


def _batch(
    images: int, config: ml_collections.ConfigDict, shardings: dict[str, NamedSharding]
) -> dict[str, jax.ShapeDtypeStruct]:
    shape = (images, *config.data.crop_size)
    return {
        "image": jax.ShapeDtypeStruct((*shape, 3), jnp.uint8, sharding=shardings["image"]),
        "label": jax.ShapeDtypeStruct(shape, jnp.uint8, sharding=shardings["label"]),
    }


def _read(row: dict[str, Any], executable: jax.stages.Compiled, target: Target) -> None:
    """Adds memory, communication and modelled time, as the compiled program tells them."""
    text = executable.as_text() or ""
    memory = compiled.memory_of(executable)
    if memory is not None:
        limit = target.chip.memory if target.chip else _host_memory() // target.devices
        row["memory"] = dataclasses.asdict(memory) | {"peak": memory.peak, "limit": limit}
        row["status"] = "fits" if memory.peak <= limit else "does not fit"
    row["collectives"] = {
        kind: dataclasses.asdict(traffic)
        for kind, traffic in sorted(compiled.collectives_of(text).items())
    }
    # Of a program that is little optimised the compiler models a time that it will not reach.
    level = jax.config.values["jax_optimization_level"]
    if target.platform == "tpu" and level != "O1":
        seconds = modelled_seconds(executable)
        if seconds is not None:
            row["time"] = {"kind": "modelled", "median": seconds}


def measured(
    program: Program, executable: jax.stages.Compiled, experiment: Experiment
) -> dict[str, Any]:
    """Runs a step on random images, on the devices of the experiment.

    Args:
      program: the step.
      executable: it, compiled.
      experiment: whose state it is given first.

    Returns:
      `median`, `lower_quartile` and `upper_quartile` of the seconds of the `runs` after a warm-up.
    """
    rng = np.random.default_rng(0)
    image, label = (program.arguments[-1][name] for name in ("image", "label"))
    batch = {
        "image": rng.integers(0, 256, image.shape, np.uint8),
        "label": rng.integers(0, len(experiment.classes), label.shape, np.uint8),
    }
    batch = jax.device_put(batch, {"image": image.sharding, "label": label.sharding})
    state = experiment.initial_state()
    times = []
    for _ in range(_WARM_UP + _RUNS):
        begin = time.perf_counter()
        state, result = program.run(executable, state, batch)
        jax.block_until_ready((state, result))
        times.append(time.perf_counter() - begin)
        if times[0] > _PATIENCE or (sum(times) > _PATIENCE and len(times) >= _WARM_UP + 3):
            break
    times = times[_WARM_UP:] or times  # so slow a step needs no warm-up: it is compiled already
    low, median, high = (float(value) for value in np.percentile(times, [25, 50, 75]))
    figures = {"median": median, "lower_quartile": low, "upper_quartile": high}
    return {"kind": "measured", **figures, "runs": len(times)}


def _rate(row: dict[str, Any], target: Target) -> None:
    """Adds the share of the chip's bfloat16 peak that the useful operations reach."""
    if target.chip is not None and "time" in row:
        rate = row["useful_flops"] / row["devices"] / row["time"]["median"]
        row["mfu"] = rate / target.chip.peak


def _host_memory() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def main() -> None:
    """Reads a request, in JSON, from standard input and writes the row to the file it is given."""
    request = json.load(sys.stdin)
    row = of_step(
        schema.unflatten(request["config"]),
        target_lib.parse(request["target"]),
        request["step"],
        images_per_device=request["images_per_device"],
        breaks_down=request["breaks_down"],
    )
    write_atomically(pathlib.Path(sys.argv[1]), json.dumps(row))


if __name__ == "__main__":
    main()
