"""Flags of quick compilation, whose programs are slow: compiling is what most tests cost.

They are in XLA_FLAGS of all test processes, and of the processes that these start.
"""

import importlib.metadata

_JAXLIB = tuple(int(number) for number in importlib.metadata.version("jaxlib").split(".")[:2])

_OPTIONS = ["xla_backend_optimization_level=0", "xla_llvm_disable_expensive_passes=true"]
if _JAXLIB < (0, 12):  # which has no others, and ends at a flag that it does not know
    _OPTIONS.append("xla_cpu_use_fusion_emitters=false")  # they compile for twice as long
FLAGS = " ".join(f"--{option}" for option in _OPTIONS)
