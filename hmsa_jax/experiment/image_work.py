"""What it takes to predict an image: FLOPs that are counted, seconds that are measured."""

import dataclasses
import functools
import json
from collections.abc import Hashable, Mapping
from typing import TypeVar

import jax
import numpy as np

from hmsa_jax.distributed import hosts, sharding
from hmsa_jax.experiment.experiment import Experiment
from hmsa_jax.inference.predictor import most_probable
from hmsa_jax.inference.protocol import Protocol
from hmsa_jax.input.layout import Size
from hmsa_jax.performance import flops, interleaved
from hmsa_jax.runtime import machine
from hmsa_jax.runtime.progress import tell, track
from hmsa_jax.training.state import TrainState

Name = TypeVar("Name", bound=Hashable)


@dataclasses.dataclass(frozen=True)
class ImageWork:
    """Batches of images of one size, and a network that looks at them.

    Attributes:
      experiment: its `evaluate.images_per_device` are the images of a batch.
      state: of the network, on the devices.
      size: rows and columns.
    """

    experiment: Experiment
    state: TrainState
    size: Size

    @property
    def machine(self) -> str:
        """What it runs on, in words."""
        devices = jax.devices()
        return f"{machine.describe()}, {len(devices)} x {devices[0].device_kind}"

    def prediction(self, protocol: Protocol) -> jax.stages.Wrapped:
        """The step that predicts the class of each pixel by a protocol."""

        def classes_of(outputs, _):
            return most_probable(outputs[0].logits)[0]

        predictor = self.experiment.predictor((protocol,))
        return predictor.step(classes_of, sharding.whole_images(self.experiment.mesh))

    def flops_of(self, step: jax.stages.Wrapped) -> int:
        """Floating-point operations of a step for each image.

        Args:
          step: `(params, batch_stats, batch)`, with `image` in the batch alone.
        """
        images = self._images()
        shape = jax.ShapeDtypeStruct(images.shape, images.dtype)
        params, batch_stats = self._weights()
        traced = step.trace(params, batch_stats, {"image": shape})
        return flops.count(traced.jaxpr) // len(images)

    def seconds_of(self, steps: Mapping[Name, jax.stages.Wrapped], what: str) -> dict[Name, float]:
        """The median time of each step for an image, all steps in turn; of the first process.

        Args:
          steps: name -> a step as of `flops_of`.
          what: they are, in words.
        """
        images = self._images()
        where = sharding.whole_images(self.experiment.mesh)
        arguments = (*self._weights(), {"image": sharding.put_equal(images, where)})
        programs = {}
        for name, step in track(steps.items(), len(steps), f"compile {what}"):
            programs[name] = step.lower(*arguments).compile()
        tell(f"Measuring {len(steps)} {what} ...")
        times = interleaved.seconds_of(
            {name: functools.partial(program, *arguments) for name, program in programs.items()}
        )
        seconds = [time / len(images) for time in times.values()]
        of_first = json.loads(hosts.from_first(f"times of {what}", lambda: json.dumps(seconds)))
        return dict(zip(times, of_first, strict=True))

    def _weights(self) -> tuple[dict, dict]:
        return self.state.eval_params, self.state.eval_batch_stats

    def _images(self) -> np.ndarray:
        """Random ones, the same in all processes."""
        number = self.experiment.config.evaluate.images_per_device * self.experiment.mesh.size
        rng = np.random.default_rng(0)
        return rng.integers(0, 256, (number, *self.size, 3), np.uint8)
