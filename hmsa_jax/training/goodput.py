"""The share of the time since a run began in which it did steps that count."""

import time

_SECONDS = "time/in_steps"


class Goodput:
    """Counts the time of steps, over all starts of a run.

    Args:
      began: when the run was started first, in seconds since 1970.
      earlier: the figures of the step that this start goes on from, if it wrote some.
    """

    def __init__(self, began: float, earlier: dict[str, float]):
        self._began = began
        self._seconds = earlier.get(_SECONDS, 0.0)

    def figures(self, seconds: float) -> dict[str, float]:
        """Figures of the log after steps that took so long.

        Returns:
          `time/in_steps`, in seconds, of all steps up to now but those that were done again; and
          `time/goodput`, their share of the time since the run began.
        """
        self._seconds += seconds
        share = self._seconds / max(time.time() - self._began, self._seconds)
        return {_SECONDS: self._seconds, "time/goodput": share}
