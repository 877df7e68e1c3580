"""What compiled programs say of themselves, and the command that asks them."""

import json
import math
import signal
import subprocess
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import NamedSharding, PartitionSpec

from configs import street_scenes
from hmsa_jax.distributed import sharding
from hmsa_jax.experiment import backends, compile_report, experiment
from hmsa_jax.models import multiscale
from hmsa_jax.performance import chips, compiled, flops, modelled_time
from hmsa_jax.performance import target as target_lib
from hmsa_jax.report import backends as report

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
    assert modelled_time.cycles_of(TPU_PROGRAM) == (130, 530)
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


def convolution(x, kernel, stride=1, padding=((1, 1), (1, 1))):
    numbers = ("NHWC", "HWIO", "NHWC")
    return jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=numbers
    )


def count_of(function, *shapes, **options):
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes]
    return flops.count(jax.jit(function).trace(*arguments).jaxpr, **options)


def pairs(size, stride):
    """Results and taps of a 3x3 kernel with one pixel of padding that meet a pixel, on one axis."""
    return sum(
        0 <= result * stride + tap - 1 < size
        for result in range(math.ceil(size / stride))
        for tap in range(3)
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_work_of_a_network_and_its_gradient(stride):
    """Two convolutions and a product: known by hand; each gradient costs as much as the product."""

    def loss(kernels, x):
        y = jax.nn.relu(convolution(x, kernels[0], stride))
        return (convolution(y, kernels[1]).mean((1, 2)) @ kernels[2]).sum()

    height, width = 12, 10
    kernels = [(3, 3, 5, 6), (3, 3, 6, 7), (7, 4)]
    first = 2 * 2 * pairs(height, stride) * pairs(width, stride) * 5 * 6
    h, w = math.ceil(height / stride), math.ceil(width / stride)
    second = 2 * 2 * pairs(h, 1) * pairs(w, 1) * 6 * 7
    last = 2 * 2 * 7 * 4
    forward = count_of(lambda x, *ks: loss(ks, x), (2, height, width, 5), *kernels)
    assert forward == first + second + last
    # The images have no gradient.
    both = count_of(lambda x, *ks: jax.value_and_grad(loss)(ks, x), (2, height, width, 5), *kernels)
    assert both == 2 * first + 3 * (second + last)


def test_work_in_loops_branches_and_inner_programs():
    square = (8, 8)
    once = 2 * 8**3

    def loop(x):
        return jax.lax.scan(lambda y, _: (jax.jit(jnp.matmul)(y, x), None), x, length=5)[0]

    assert count_of(loop, square) == 5 * once
    by_device = lambda x: jax.lax.platform_dependent(  # noqa: E731
        x, tpu=lambda y: y @ y @ y, default=lambda y: y @ y
    )
    assert count_of(by_device, square) == once
    choice = lambda x: jax.lax.cond(x[0, 0] > 0, lambda y: y @ y @ y, lambda y: y @ y, x)  # noqa: E731
    assert count_of(choice, square) == 2 * once
    grouped = lambda x, k: jax.lax.conv_general_dilated(  # noqa: E731
        x, k, (1,), ((0, 0),), dimension_numbers=("NHC", "HIO", "NHC"), feature_group_count=4
    )
    assert count_of(grouped, (1, 9, 8), (1, 2, 12)) == 2 * 9 * 2 * 12


def test_results_that_nobody_reads_do_not_count():
    both = jax.jit(lambda x: (x @ x, x @ x @ x))
    once = 2 * 8**3
    assert count_of(lambda x: both(x), (8, 8)) == 3 * once
    assert count_of(lambda x: both(x)[0], (8, 8)) == once
    assert count_of(lambda x: jax.lax.cond(x[0, 0] > 0, both, both, x)[0], (8, 8)) == once
    assert count_of(lambda x: (x @ x, x)[1], (8, 8)) == 0


def test_recomputed_work_is_no_use():
    architecture = multiscale.Architecture(
        "w18_small", 3, ocr_channels=8, ocr_key_channels=4, head_channels=4
    )

    def work(graphdef, params, stats):
        def loss(params, images):
            key = jax.random.key(0)
            outputs, _ = multiscale.apply(
                graphdef, params, stats, images, (1.0,), train=True, dropout_key=key
            )
            return outputs[1.0].logits.sum()

        images = jax.ShapeDtypeStruct((1, 64, 64, 3), jnp.float32)
        return flops.count(jax.jit(jax.grad(loss)).trace(params, images).jaxpr)

    plain, *variables = multiscale.initialize(architecture, dtype="float32", remat="none", seed=0)
    remat, *_ = multiscale.initialize(architecture, dtype="float32", remat="modules", seed=0)
    assert isinstance(plain, nnx.GraphDef)
    assert work(remat, *variables) > 1.1 * work(plain, *variables)
    assert work(flops.without_recomputation(remat, *variables), *variables) == work(
        plain, *variables
    )
    assert flops.without_recomputation(plain, *variables) is plain


@pytest.mark.parametrize(
    ("text", "name", "devices"),
    [
        ("cpu", "cpu:1", 1),
        ("cpu:8", "cpu:8", 8),
        ("v5e", "v5e:1x1", 1),
        (" v5p:2x2x1", "v5p:2x2x1", 4),
        ("tpu7x:2x2x1", "tpu7x:2x2x1", 8),
        ("h100:16", "h100:16", 16),
    ],
)
def test_targets(text, name, devices):
    target = target_lib.parse(text)
    assert (target.name, target.devices) == (name, devices)
    assert target_lib.parse(target.name) == target


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v9:2x2", r"'v9:2x2'; expected one of cpu, v4, v5e"),
        ("v5e:4", r"2 numbers, like v5e:2x2"),
        ("v5p:2x2", r"3 numbers, like v5p:2x2x1"),
        ("h100:2x4", r"1 number, like h100:8"),
        ("v5e:0x2", r"expected a topology"),
        ("a100:12", r"up to 8 GPUs, or a multiple of 8"),
        ("", r"--targets is ''"),
    ],
)
def test_wrong_targets_say_what_is_right(text, message):
    with pytest.raises(ValueError, match=message):
        target_lib.parse_all(text)


def test_chips_are_what_they_are_called():
    assert chips.of_kind("TPU v5 lite").name == "v5e"
    assert chips.of_kind("TPU v5").peak == 459e12
    assert chips.of_kind("cpu") is None
    for chip in chips.CHIPS:
        assert chip.source
        assert chips.named(chip.name) is chip


@pytest.fixture
def config():
    config = street_scenes.get_config()
    config.data.crop_size = (64, 64)
    config.model.ocr_channels = 8
    config.model.ocr_key_channels = 4
    config.model.head_channels = 4
    config.evaluate.images_per_device = 2
    config.evaluate.protocols = ("single",)
    return config


def failing(*arguments, **options):
    raise AssertionError("this row was there")


def test_command_measures_and_goes_on(config, tmp_path, monkeypatch):
    """The evaluation step in a process of its own; the same command again compiles nothing."""
    options = {"targets": "cpu:2", "steps": "evaluate", "command": "python main.py backends"}
    config.steps = config.get_ref("log_every") * 10  # recipes have references to other fields
    (row,) = backends.backends(config, tmp_path, **options)
    assert row["status"] == "fits", row["message"]
    assert (row["devices"], row["images"]) == (2, 4)
    assert row["time"]["kind"] == "measured"
    assert row["time"]["lower_quartile"] <= row["time"]["median"] <= row["time"]["upper_quartile"]
    # The confusion matrix of 11 classes is all that the devices add up.
    assert row["collectives"] == {
        "all-reduce": {"count": 1, "bytes": 2 * 11 * 11 * 4},  # the counts, in two words
        "all-gather": {"count": 1, "bytes": row["images"]},  # which images have finite logits
    }
    assert "mfu" not in row
    text = (tmp_path / "backends.md").read_text()
    assert "| cpu:2 | evaluate | 4 | yes |" in text
    assert "python main.py backends\n" in text
    assert "cpu:1 evaluate" in (tmp_path / "backends.svg").read_text()

    monkeypatch.setattr(backends, "_report_apart", failing)
    assert backends.backends(config, tmp_path, **options) == [row]
    config.evaluate.protocols = ("single", "max:1,2")
    with pytest.raises(ValueError, match=r"differs in evaluate\.protocols; name another --out"):
        backends.backends(config, tmp_path, **options)


def test_command_goes_on_with_part_of_the_rows(config, tmp_path, monkeypatch):
    started = []

    def reported(config, target, step, images_per_device, environment):
        started.append((target.name, step))
        row = {"target": target.name, "step": step, "status": "fits", "message": ""}
        if step == "train" and len(started) == 2:
            row |= {"status": "failed", "message": "for once"}
        return row | {"compiler": target_lib.compiler_version(target)}

    monkeypatch.setattr(backends, "_report_apart", reported)
    backends.backends(config, tmp_path, targets="cpu:1")
    assert started == [("cpu:1", "train"), ("cpu:1", "evaluate")]
    path = tmp_path / "backends.json"
    part = json.loads(path.read_text())
    del part["rows"][0]
    path.write_text(json.dumps(part))
    rows = backends.backends(config, tmp_path, targets="cpu:1,cpu:2")
    assert started[2:] == [("cpu:1", "train"), ("cpu:2", "train"), ("cpu:2", "evaluate")]
    assert [row["status"] for row in rows] == ["fits"] * 4
    assert len(json.loads(path.read_text())["rows"]) == 4


def test_killed_compiler_is_a_row_with_a_hint(config, tmp_path, monkeypatch):
    killed = subprocess.CompletedProcess([], -signal.SIGKILL, stderr=b"a warning")
    monkeypatch.setattr(backends.subprocess, "run", lambda *arguments, **options: killed)
    (row,) = backends.backends(config, tmp_path, targets="cpu:1", steps="train")
    assert row["status"] == "failed"
    assert "memory is spent" in row["message"]
    assert "--quick" in row["message"]


def test_quick_is_for_tpus_and_not_mixed_with_others(config, tmp_path, monkeypatch):
    levels = {}

    def reported(config, target, step, images_per_device, environment):
        levels[target.name] = environment.get("JAX_OPTIMIZATION_LEVEL")
        return {"target": target.name, "step": step, "status": "fits", "message": ""}

    monkeypatch.setattr(backends, "_report_apart", reported)
    monkeypatch.setattr(backends, "_kinds_here", lambda wanted: [])
    monkeypatch.setattr(report, "verdict", lambda row: "")
    options = {"targets": "cpu:1,v5e,h100:1", "steps": "train"}
    backends.backends(config, tmp_path, quick=True, **options)
    assert levels == {"cpu:1": None, "v5e:1x1": "O1", "h100:1": None}
    assert "little optimisation" in (tmp_path / "backends.md").read_text()
    with pytest.raises(ValueError, match="differs in quick; name another --out"):
        backends.backends(config, tmp_path, **options)


def test_train_step_is_the_one_of_the_config(config):
    """On two of the simulated devices: the batch, the mesh and the work are as asked for."""
    config.model.attention = "none"  # and one scale: half as much to compile
    config.objective.scales = (1.0,)
    row = compile_report.of_step(config, target_lib.parse("cpu:2"), "train", images_per_device=3)
    assert row["status"] == "fits", row["message"]
    assert row["mesh"] == {"data": 2, "spatial": 1}
    assert row["images"] == 6
    assert row["memory"]["aliased"] > 0.9 * row["memory"]["outputs"]
    params = experiment.assemble(config, jax.devices()[:2]).params
    parameters = 4 * sum(np.size(leaf) for leaf in jax.tree.leaves(params))
    assert row["collectives"]["all-reduce"]["bytes"] > parameters  # the gradient, and BatchNorm
    config.mesh.data = 3
    row = compile_report.of_step(config, target_lib.parse("cpu:2"), "train", images_per_device=1)
    assert row["status"] == "failed"
    assert "mesh.data x mesh.spatial is 3 x 1" in row["message"]


def test_missing_compiler_is_a_row_with_a_hint(config, monkeypatch):
    monkeypatch.setattr(target_lib, "compiler_version", lambda target: None)
    for name in ("v5e:2x2", "h100:8"):
        row = compile_report.of_step(config, target_lib.parse(name), "train", images_per_device=1)
        assert row["status"] == "failed"
        assert "pip install -r requirements-targets.txt" in row["message"]
        assert "pip install" in report.verdict(row)
        assert f"{name} train" in report.to_markdown(
            {"command": "", "machine": "", "jax": ""}, [row]
        )


def test_program_that_does_not_fit_is_a_row_with_both_sizes(config, monkeypatch):
    def refuse(*arguments):
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Ran out of memory on HBM, the total memory required for HLO"
            " temporaries (20.00G) exceeds available HBM (15.75G)."
        )

    monkeypatch.setattr(compile_report, "_compile", refuse)
    row = compile_report.of_step(config, target_lib.parse("v5e"), "train", images_per_device=1)
    assert row["status"] == "does not fit"
    assert report.verdict(row).startswith("does not fit, 20 GiB / 15.75 GiB on a device")


@pytest.mark.parametrize("name", ["v5e", "v5e:2x2", "h100:2"])
def test_compiles_for_chips_that_are_not_here(config, name, tmp_path):
    target = target_lib.parse(name)
    if target_lib.compiler_version(target) is None:
        pytest.skip(f"the compiler for {name} is not installed: {target_lib.HINT}")
    (row,) = backends.backends(config, tmp_path, targets=name, steps="evaluate")
    assert row["status"] == "fits", row["message"]
    assert row["device"] in target.chip.kinds
    assert row["devices"] == target.devices
    assert row["collectives"]["all-reduce"]["bytes"] >= 11 * 11 * 4
    assert ("mfu" in row) == (target.platform == "tpu")
