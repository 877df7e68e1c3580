"""Options of quick compilation, whose programs are slow: compiling is what most tests cost.

`OPTIONS` are for a program, `FLAGS` for all programs of a process, in its XLA_FLAGS.
"""

import functools

import jax

OPTIONS = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
FLAGS = " ".join(f"--{name}={str(value).lower()}" for name, value in OPTIONS.items())

quick_jit = functools.partial(jax.jit, compiler_options=OPTIONS)
