"""Where a step's work goes: of written programs, and of a compiled one beside its jaxpr."""

import pathlib
import re

import jax
import jax.numpy as jnp
import pytest

from hmsa_jax.losses.objective import Objective
from hmsa_jax.models import multiscale
from hmsa_jax.models.layers import convolution
from hmsa_jax.models.trunks import TRUNKS
from hmsa_jax.performance import breakdown, flops, hlo
from hmsa_jax.performance.breakdown import Place, Work
from hmsa_jax.report import step_breakdown
from tests import least_networks, other_forms

FIXTURES = pathlib.Path(__file__).parents[1] / "fixtures"
TPU_PROGRAM = (FIXTURES / "tpu_program.txt").read_text()
X, K, Y = 2 * 8 * 16 * 4, 2 * 9 * 4 * 6, 2 * 8 * 16 * 6  # bytes
BRANCH = "trunk/stage_2/branch_0"


def test_work_of_a_written_program():
    places = breakdown.of_program(hlo.read(TPU_PROGRAM))
    assert places == {
        # To the memory on the chip, from which the convolution reads it.
        Place(BRANCH, "copy", False): Work(0, K, 0, 1),
        # A window of 3 x 3 meets 22 rows and 46 columns of 8 x 16 pixels; the rest is padding.
        Place(BRANCH, "convolution", False): Work(100, X + 4 * 6 + Y, 2 * 6 * 4 * 22 * 46, 1),
        # A copy that has no name is its reader's.
        Place("semantic_head", "copy", True): Work(20, 2 * Y, 0, 1),
        Place("semantic_head", "product", True): Work(0, 2 * Y + 4 * 36, 2 * 36 * 128, 1),
        Place("optimizer", "elementwise", False): Work(5 * 7, 5 * 3 * 32, 0, 5),
    }
    rows = step_breakdown.to_rows(places, seconds=0.155)
    assert sum(row["seconds"] for row in rows) == pytest.approx(0.155)
    text = step_breakdown.to_markdown(
        {"target": "v5e", "step": "train", "device": "TPU v5e", "breakdown": rows}
    )
    assert "| convolution | 100.00 | 0.00 | 64.5% |" in text
    assert f"| {BRANCH} | 100.00 | 0.00 | 64.5% |" in text
    rows = step_breakdown.to_rows(places, seconds=None)  # little optimised, or for a GPU
    text = step_breakdown.to_markdown(
        {"target": "cpu", "step": "train", "device": "cpu", "breakdown": rows}
    )
    assert "| product | 0.0 | 0.00 | 1 |" in text


PRODUCT_AS_CONVOLUTION = """
ENTRY %main (k: f32[6,5,1], g: f32[4,8,5]) -> f32[4,8,6] {
  %k = f32[6,5,1]{2,1,0} parameter(0)
  %g = f32[4,8,5]{2,1,0} parameter(1)
  ROOT %c = f32[4,8,6]{2,1,0} convolution(%k, %g), WINDOW, dim_labels=bf0_0oi->0fb
}
""".replace("WINDOW", "window={size=4 pad=3_3 rhs_reversal=1}")


def test_a_product_that_is_written_as_a_convolution():
    """Each of the four samples meets the only number of the image by one of its four taps."""
    (work,) = breakdown.of_program(hlo.read(PRODUCT_AS_CONVOLUTION)).values()
    assert work.flops == 2 * (4 * 8) * 5 * 6


GPU_PROGRAM = (FIXTURES / "gpu_program.txt").read_text()


def test_library_calls_of_a_gpu_are_convolutions_and_products():
    (work,) = breakdown.of_program(hlo.read(GPU_PROGRAM)).values()
    assert work.count == 4
    assert work.flops == 3 * (2 * 256 * 6 * 36) + 2 * 16 * 256


@pytest.fixture(scope="module")
def loss(request):
    """`loss_of` the trunk that the parameter names."""
    return loss_of(request.param)


def loss_of(trunk, remat="none"):
    """The loss of a network with that trunk, and its arguments."""
    architecture = multiscale.Architecture(
        trunk, 4, ocr_channels=16, ocr_key_channels=8, head_channels=8, dropout=0.0
    )
    graphdef, params, stats = multiscale.initialize(
        architecture, dtype="float32", remat=remat, seed=0
    )
    objective = Objective(
        main_loss="cross_entropy",
        aux_weight=0.4 if architecture.decoder.has_auxiliary_head else 0,
        scale_weight=0.1,
    )

    def of_network(params, images, labels):
        outputs, _ = multiscale.apply(
            graphdef, params, stats, images, (0.5, 1.0), train=True, dropout_key=jax.random.key(0)
        )
        with jax.named_scope("losses"):
            return objective(outputs, labels)[0]

    images, labels = jnp.zeros((1, 64, 64, 3)), jnp.zeros((1, 64, 64), jnp.uint8)
    return of_network, (params, images, labels)


KINDS_OF_ONE_DEVICE = set(breakdown.KINDS) - {"collectives"}
SCOPES = {
    "tiny": """trunk/stem trunk/stage_1 trunk/transition_2 trunk/stage_2/branch_1
        trunk/stage_4/branch_3 trunk/stage_4/exchange trunk/concatenation decoder/aux_head
        decoder/features decoder/regions decoder/context decoder/output semantic_head
        attention_head losses/main/fusion losses/aux losses/scales""",
    "resnet50": """trunk/stem trunk/stage_1 trunk/stage_4 decoder/pyramid decoder/output
        semantic_head attention_head losses/main/fusion losses/scales""",
}


@pytest.mark.parametrize("loss", SCOPES, indirect=True)
def test_scopes_name_the_layers_of_profiles_and_tables(loss, request):
    function, arguments = loss
    text = jax.jit(function).lower(*arguments).as_text(debug_info=True)
    found = {breakdown.place_of(name) for name in re.findall(r'loc\("([^"]*)"', text)}
    missing = set(SCOPES[request.node.callspec.params["loss"]].split())
    assert not missing - {place.layer for place in found}
    assert {place.kind for place in found} >= KINDS_OF_ONE_DEVICE


def test_what_is_computed_again_is_of_its_layer():
    def layers(remat):
        function, arguments = loss_of("least", remat)
        text = jax.jit(jax.grad(function)).lower(*arguments).as_text(debug_info=True)
        found = {breakdown.place_of(name) for name in re.findall(r'loc\("([^"]*)"', text)}
        return {place.layer for place in found if place.is_backward}

    with TRUNKS.holding("least", least_networks.HRNET):
        assert layers("modules") == layers("none") >= {"trunk/stage_4/branch_3", "losses/main"}


@pytest.mark.parametrize("loss", ["short"], indirect=True)
def test_a_compiled_step_has_the_work_of_its_jaxpr(short_trunk, loss):
    function, arguments = loss
    step = jax.jit(jax.grad(function))
    # The products of a CPU multiply what lies beyond the edges, too, which is of no use.
    with other_forms.taken(convolution, gradients_by_products=convolution.gradients_of_windows):
        compiled = step.lower(*arguments).compile()
        useful = flops.count(step.trace(*arguments).jaxpr)
    places = breakdown.of_program(hlo.read(compiled.as_text()))
    total = sum(places.values(), Work())
    assert total.flops == pytest.approx(useful, rel=1e-3)  # the compiler simplifies a little
    both = {(kind, is_backward) for kind in KINDS_OF_ONE_DEVICE for is_backward in (False, True)}
    assert {(place.kind, place.is_backward) for place in places} >= both
    of_head = [w for p, w in places.items() if p.layer == "semantic_head" and p.is_backward]
    assert 0 < sum(of_head, Work()).flops < total.flops
