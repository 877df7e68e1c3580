"""What predictions are compared with labels by; `METRICS` are those that an evaluation may add."""

from hmsa_jax.metrics import boundary, calibration
from hmsa_jax.metrics.metric import Metric
from hmsa_jax.runtime.registry import Registry

METRICS: Registry[Metric] = Registry(
    "metric",
    {
        "boundary": boundary.METRIC,
        "calibration": calibration.METRIC,
    },
)
