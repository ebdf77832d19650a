# SPDX-License-Identifier: Apache-2.0
"""Cycles of a layer alone are those that it has in the firmware, for every variant of a batch, and always the same."""

import shutil
from dataclasses import replace

import pytest

import tuning
from cmsisnn_x import Variant
from cmsisnn_x.steps import Step
from helpers.plans import chain, make_plan
from helpers.samples import one_in
from tuning.cost import estimate
from tuning.emulate import ToolchainError, find_toolchain
from tuning.emulate.elf import Symbol
from tuning.measure import folder
from tuning.measure.bench import Bench
from tuning.measure.layers import code_sizes, evaluate, evaluate_many, layer_unit
from tuning.model import with_layers

pytestmark = pytest.mark.emulated
FLAGS = ("-O3", "-fno-schedule-insns")
COMPILERS = ["clang", *(["gcc"] if shutil.which("arm-none-eabi-gcc") else [])]
CONV, POOL, RELU, DENSE = chain(
    (8, 9, 4),
    "q7",
    {"op": "conv2d", "out": 6, "kernel": 3, "pad": 1, "out_shift": 9},
    {"op": "max_pool2d", "kernel": 2, "stride": 2},
    {"op": "relu"},
    {"op": "fully_connected", "out": 5, "out_shift": 9},
)
VARIANTS = (
    Variant(unroll=1, block_rows=1, block_cols=1, im2col_cols=1),
    Variant(unroll=2, block_rows=2, block_cols=2, im2col_cols=2),
    Variant(unroll=4, block_rows=2, block_cols=2, im2col_cols=4),
)


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("core", one_in(3, ["cortex-m7", "cortex-m0plus", "cortex-m4"]))
def test_a_batch_gives_what_single_evaluations_give(core, compiler):
    steps = [Step((CONV,), variant) for variant in VARIANTS]
    together = evaluate_many(steps, core, FLAGS, compiler=compiler)
    assert [found.step for found in together] == steps
    assert len({found.cycles for found in together}) == len(VARIANTS)
    for found, step in zip(together, steps, strict=True):
        alone = evaluate(step, core, FLAGS, compiler=compiler)
        # Where constants lie changes an instruction here and there, not more.
        assert abs(alone.cycles - found.cycles) <= 0.01 * found.cycles
        assert found.instructions > CONV.macs / 8
        assert found.code_bytes > 40
    assert evaluate_many(steps, core, FLAGS, compiler=compiler) == together


def test_a_kernel_that_writes_over_its_input_is_measured_as_such():
    (layer,) = chain((8, 9, 4), "q7", {"op": "conv2d", "out": 4, "kernel": 1, "out_shift": 9})
    apart, over = (Step((layer,), VARIANTS[1], in_place) for in_place in (False, True))
    texts = [layer_unit(step, "candidate0", True, True) for step in (apart, over)]
    assert [text.count("CANDIDATE0_IN_PLACE") for text in texts] == [0, 1]
    bench = Bench(tuning.load_target("cortex-m4"), FLAGS)
    assert bench.key(apart, (True, True)) != bench.key(over, (True, True))


@pytest.mark.parametrize("compiler", COMPILERS)
def test_cycles_are_those_of_the_firmware(compiler, tmp_path):
    layers = (CONV, POOL, RELU, DENSE)
    variant = VARIANTS[1]
    tuning.emit(make_plan("net", layers, variant=variant, cflags=FLAGS), tmp_path)
    firmware = folder.load(tmp_path)
    toolchain = find_toolchain(compiler)
    verified = folder.verify(firmware, toolchain, folder.draw_inputs(firmware, 1))
    assert verified.exact
    for index, (layer, result) in enumerate(zip(layers, verified.layers, strict=True)):
        ends = {"input_aligned": index > 0, "output_aligned": index < len(layers) - 1}
        own = variant if layer.weights is not None else None
        alone = evaluate_many([Step((layer,), own)], "cortex-m4", FLAGS, compiler=compiler, **ends)[0]
        # How the compiler reaches the arrays differs a little.
        assert abs(alone.cycles - result.cycles) <= 0.04 * result.cycles + 12, layer.name


def test_a_board_adds_its_memories_to_its_core():
    board = tuning.load_target("nucleo-l4r5zi")
    own, core = (evaluate(Step((CONV,), VARIANTS[1]), target, FLAGS).cycles for target in (board, "cortex-m4"))
    assert own > core
    estimated = estimate(CONV, VARIANTS[1], board).terms["memory"]
    assert abs(estimated - (own - core)) < 0.15 * own  # of so small a layer


def test_an_impossible_variant_is_a_compiler_error_that_says_why():
    with pytest.raises(ToolchainError, match=r"candidate0\.c.*(error|#error)"):
        evaluate(Step((CONV,), Variant(unroll=3)), "cortex-m4", FLAGS)


def test_a_plan_for_a_board_has_the_cycles_that_verification_finds(tmp_path):
    """Emulated scores have the board's memories in them, once."""
    model, board = tuning.load_model("digits"), tuning.load_target("nucleo-l4r5zi")
    # A loop in assembly is the same wherever it is compiled; GCC's own loops differ with what surrounds them.
    pinned = [replace(layer, variant={"inner": "asm"} if layer.op == "conv2d" else {}) for layer in model.layers]
    model = with_layers(model, tuple(pinned))
    plan = tuning.tune(model, board, score="emulate", trials=1)
    tuning.emit(plan, tmp_path)
    firmware = folder.load(tmp_path)
    verified = folder.verify(firmware, find_toolchain(), folder.draw_inputs(firmware, 1), target=board)
    planned = sum(layer.cycles for layer in plan.layers)
    assert sum(layer.cycles for layer in verified.layers) == pytest.approx(planned, rel=0.05)  # code lies elsewhere
    assert sum(verified.trace.added.values()) > 0.15 * planned


def test_code_has_the_static_functions_of_headers():
    def at(name, address, size):
        return Symbol(name, address, size, "STT_FUNC")

    functions = [at("candidate0", 20, 4), at("cxn_fill", 0, 8), at("candidate0_kernel", 8, 10)]
    functions += [at("cxn_divide.constprop.0", 30, 6), at("candidate1_kernel.isra.0", 40, 7), at("main", 60, 9)]
    assert code_sizes(functions) == {0: 22, 1: 13}
