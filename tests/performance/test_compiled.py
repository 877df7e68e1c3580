"""Collectives, memory and modelled time of programs, by their text and by the compiler."""

import types

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from hmsa_jax.distributed import sharding
from hmsa_jax.performance import chips, compiled, hlo, modelled_time

HLO = """
HloModule jit_step

%wrapped (p: f32[8,4]) -> f32[8,4] {
  ROOT %all-to-all.1 = f32[8,4]{1,0:T(8,128)S(1)} all-to-all(%p), replica_groups={}
}

ENTRY %main {
  %all-reduce.3 = f32[16]{0:T(128)} all-reduce(%x), channel_id=1, to_apply=%add
  %all-reduce.4 = (bf16[3,3,8]{2,1,0}, f32[]) all-reduce(%a, %b), channel_id=2
  %all-reduce-start.1 = f32[10]{0} all-reduce-start(%c), channel_id=3
  %all-reduce-done.1 = f32[10]{0} all-reduce-done(%all-reduce-start.1)
  %all-gather-start = (f32[2,4]{1,0}, f32[8,4]{1,0:T(8,128)}) all-gather-start(%d), dimensions={0}
  %all-gather-done = f32[8,4]{1,0} all-gather-done(%all-gather-start)
  %permute = (u8[5]{0}, u8[5]{0}, u32[]{:S(2)}, u32[]) collective-permute-start(%e)
  %done = u8[5]{0} collective-permute-done(%permute)
  ROOT %reduce-scatter.1 = pred[7]{0} reduce-scatter(%all-reduce.3), metadata={op_name="sum"}
  %fusion = f32[8] fusion(%all-reduce.3), kind=kLoop, calls=%wrapped
}
"""


def test_collectives_of_a_written_program():
    assert compiled.collectives_of(HLO) == {
        "all-to-all": compiled.Traffic(1, 8 * 4 * 4),
        "all-reduce": compiled.Traffic(3, 16 * 4 + (72 * 2 + 4) + 10 * 4),
        "all-gather": compiled.Traffic(1, 8 * 4 * 4),
        "collective-permute": compiled.Traffic(1, 5),
        "reduce-scatter": compiled.Traffic(1, 7),
    }


TPU_PROGRAM = """
HloModule jit_step, is_scheduled=true

%fused (p: f32[8]) -> f32[8] {
  ROOT %add = f32[8]{0:T(128)} add(%p, %p)
}

%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %fusion.1 = f32[8] fusion(%x), calls=%fused, backend_config={"estimated_cycles":"100"}
}

%condition (p: (s32[], f32[8])) -> pred[] {
  %constant.7 = s32[]{:T(128)} constant(5)
  ROOT %compare = pred[]{:T(512)} compare(%i, %constant.7), direction=LT
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %fusion.2 = f32[8] fusion(%p), calls=%fused, backend_config={"estimated_cycles":"30"}
  %while.1 = (s32[], f32[8]) while(%tuple), condition=%condition, body=%body
  %custom-call = f32[8] custom-call(%a, %b), custom_call_target="ConcatBitcast"
  %custom-call.1 = f32[8] custom-call(), custom_call_target="AllocateBuffer"
  %custom-call.2 = f32[2,2] custom-call(%c), custom_call_target="Cholesky"
  %custom-call.3 = f32[2,2] custom-call(%c), custom_call_target="InvertDiagBlocksLowerTriangular"
}
"""


def test_rounds_of_a_loop_are_in_the_modelled_time():
    assert modelled_time.cycles_of(hlo.read(TPU_PROGRAM)) == (130, 530)
    program = types.SimpleNamespace(
        as_text=lambda: TPU_PROGRAM, cost_analysis=lambda: {"optimal_seconds": 0.26 - 3}
    )
    assert modelled_time.modelled_seconds(program) == pytest.approx(0.26 * 530 / 130)
    for cost in (None, {}, {"optimal_seconds": -3.5}):
        program.cost_analysis = lambda cost=cost: cost
        assert modelled_time.modelled_seconds(program) is None


@pytest.fixture(scope="module")
def column_sums():
    """A compiled program of eight devices that sums the rows of `[64, 100]` float32."""
    mesh = sharding.make_mesh(8, 1)
    rows = NamedSharding(mesh, PartitionSpec("data"))
    step = jax.jit(
        lambda x: x.sum(0), in_shardings=rows, out_shardings=NamedSharding(mesh, PartitionSpec())
    )
    return step.lower(jax.ShapeDtypeStruct((64, 100), jnp.float32)).compile()


def test_collectives_of_a_compiled_program(column_sums):
    assert compiled.collectives_of(column_sums.as_text()) == {
        "all-reduce": compiled.Traffic(1, 100 * 4)
    }


def test_memory_of_a_compiled_program(column_sums):
    memory = compiled.memory_of(column_sums)
    assert (memory.arguments, memory.outputs, memory.aliased) == (8 * 100 * 4, 100 * 4, 0)
    assert memory.peak == memory.arguments + memory.outputs + memory.temporaries

    reused = jax.jit(lambda x: x + 1, donate_argnums=0)
    memory = compiled.memory_of(reused.lower(jax.ShapeDtypeStruct((1000,), jnp.float32)).compile())
    assert memory.aliased == memory.outputs == 4000
    assert memory.peak == 4000 + memory.temporaries


@pytest.mark.parametrize(
    ("message", "sizes"),
    [
        (
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO"
            " temporaries (128.00G) exceeds available HBM (15.75G).",
            (128 * chips.GIB, 15.75 * chips.GIB),
        ),
        ("Ran out of memory. Used 17.5G of 15.75G hbm.", (17.5 * chips.GIB, 15.75 * chips.GIB)),
        ("INTERNAL: something else", None),
    ],
)
def test_sizes_of_a_program_that_does_not_fit(message, sizes):
    assert compiled.sizes_of_failure(message) == sizes
