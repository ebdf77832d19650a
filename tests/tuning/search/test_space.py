# SPDX-License-Identifier: Apache-2.0
"""Search spaces: every legal variant, nothing else, and one name per knob everywhere."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest

import tuning
from cmsisnn_x import BASELINE, Variant
from cmsisnn_x.affine import Affine, AffineClamp
from cmsisnn_x.graph import Graph
from cmsisnn_x.layers import Layer
from cmsisnn_x.op import device_variant_problem, device_variants
from cmsisnn_x.steps import Step
from cmsisnn_x.variant import WINOGRAD
from helpers.affine_layers import weighted
from helpers.cores import PLAIN
from helpers.plans import chain
from tuning import ModelError
from tuning.calibrate.fit import grid
from tuning.emit import render
from tuning.emit.macros import layer_macros
from tuning.load import load_model
from tuning.model import Model
from tuning.model.schema_fields import KNOBS
from tuning.schemas import published
from tuning.search.space import DIMENSIONS, baseline_of, kernel_key, places, search_space
from tuning.target import load_target

LAYERS = [layer for layer in grid() if layer.row.has_knobs][::5]


@pytest.fixture(scope="module")
def model() -> Model:
    return load_model("cifar10")


def test_a_knob_has_one_name_everywhere(model: Model) -> None:
    """Key of the model file = field of the dataclass = search dimension = key of the schema = macro in lower case."""
    names = {field.name for field in fields(Variant)}
    layer = model.layers[0]
    without = layer_macros(model.layers[1], None, "L")
    macros = {name.removeprefix("L_").lower() for name in layer_macros(layer, Variant(), "L")}
    schema = published("model-1")["$defs"]["Conv2d"]["properties"]["variant"]["anyOf"][0]["properties"]
    plan = layer_macros(layer, BASELINE, "L")
    assert set(DIMENSIONS) == set(KNOBS) == names == set(schema)
    assert names <= macros
    assert set(without) == set(plan)
    geometry = (
        "in_h in_w in_ch out_h out_w out_ch kernel_h kernel_w stride_y stride_x pad_top pad_left bias_shift out_shift"
    )
    assert macros - names >= set(geometry.split()) | {"scratch_bytes"}


@pytest.mark.parametrize("core", PLAIN)
def test_every_variant_of_a_space_is_legal_and_no_legal_one_is_missing(core: str) -> None:
    target = load_target(core)
    for layer in LAYERS:
        space = search_space(layer, target)
        legal = [
            v
            for v in device_variants(layer.python_op, layer.dtype, target.features)
            if device_variant_problem(layer, v, target.features) is None
        ]
        assert list(space) == legal
        assert len(set(space.variants)) == len(space) > 0
        assert baseline_of(space) in legal


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m7"])
def test_points_and_indices_are_inverse(core: str) -> None:
    for layer in LAYERS:
        space = search_space(layer, load_target(core))
        for index in range(0, len(space), 7):
            assert space.find([np.asarray(value)[()] for value in space.point(index)]) == index
        assert space.find([object()] * len(space.dimensions)) is None
        assert all(len(values) > 1 for values in space.dimensions.values())


def test_operations_with_one_kernel_have_an_empty_space(model: Model) -> None:
    space = search_space(model.layers[1], load_target("cortex-m4"))
    assert len(space) == 0
    assert baseline_of(space) is None


def test_pins_leave_what_they_allow(model: Model) -> None:
    layer = replace(model.layers[0], variant={"unroll": 2, "lowering": "im2col", "im2col_cols": 4})
    space = search_space(layer, load_target("cortex-m4"))
    assert len(space)
    assert {(v.unroll, v.lowering, v.im2col_cols) for v in space} == {(2, "im2col", 4)}


@pytest.mark.parametrize(
    ("pins", "expected"),
    [
        (
            {"lowering": "direct"},
            "layer 'conv1': variant.lowering: no kernel of conv2d on cortex-m4 has 'direct' for this layer; expected",
        ),
        (
            {"block_rows": 1, "weight_layout": "interleaved"},
            "layer 'conv1': variant: no kernel of conv2d on cortex-m4 has {block_rows: 1, weight_layout",
        ),
    ],
)
def test_pins_that_no_kernel_satisfies_name_the_layer(model: Model, pins: dict[str, object], expected: str) -> None:
    with pytest.raises(ModelError) as caught:
        search_space(replace(model.layers[0], variant=pins), load_target("cortex-m4"))
    assert expected in str(caught.value)


def test_cores_without_dsp_have_no_dsp_kernels(model: Model) -> None:
    dsp, plain = (set(search_space(model.layers[0], load_target(core))) for core in ("cortex-m4", "cortex-m3"))
    assert "asm_dual" not in {v.inner for v in dsp | plain}, "the dual-issue schedule is for M7"
    assert {v.weight_layout for v in plain if v.lowering not in WINOGRAD} <= {"plain", "interleaved"}
    assert dsp - plain


def test_layers_share_a_kernel_when_only_names_and_weights_differ(model: Model) -> None:
    layer = model.layers[0]
    twin = replace(layer, name="other", weights=None, bias=None)
    key = kernel_key(Step((layer,), BASELINE))
    assert key == kernel_key(Step((twin,), BASELINE))
    assert key != kernel_key(Step((replace(layer, out_shift=3),), BASELINE))
    assert key != kernel_key(Step((layer,), replace(BASELINE, unroll=2)))
    assert key != kernel_key(Step((layer,), BASELINE), (True, False))


@pytest.mark.parametrize("field", [field.name for field in fields(Layer)])
def test_whatever_else_differs_is_another_kernel(model: Model, field: str) -> None:
    """A field that is new counts until somebody says that kernels do not depend on it."""
    layer = model.layers[0]
    # What a scheme and a table are to a kernel is in the macros of layers that have one: the test below.
    same = field in ("name", "weights", "bias", "variant", "ceil_mode", "scheme", "table")
    changed = replace(layer, **{field: {"variant": {}, "dtype": "q15"}.get(field, "other")})
    assert (kernel_key(Step((layer,), BASELINE)) == kernel_key(Step((changed,), BASELINE))) == same


def test_layers_with_zero_points_share_a_kernel_where_only_their_records_differ() -> None:
    layer = weighted("conv2d", (6, 5, 4), out_channels=4, kernel=3)
    assert isinstance(layer.scheme, Affine)
    key = kernel_key(Step((layer,), BASELINE))

    def other(**numbers: object) -> Hashable:
        return kernel_key(Step((replace(layer, name="other", scheme=replace(layer.scheme, **numbers)),), BASELINE))

    assert other(multiplier=tuple(one ^ 2 for one in layer.scheme.multiplier)) == key
    assert other(output_zero_point=layer.scheme.output_zero_point ^ 2) != key
    assert other(low=-5) != key
    table = Layer("t", "look_up", "int8", (4,), (4,), table=np.zeros(256, np.int8), scheme=AffineClamp(-128, 127))
    assert kernel_key(Step((table,))) == kernel_key(Step((replace(table, name="u", table=np.ones(256, np.int8)),)))
    assert kernel_key(Step((table,))) != kernel_key(Step((replace(table, input_shape=(5,), output_shape=(5,)),)))


def test_a_pair_is_another_kernel_than_its_convolution_and_depends_on_both() -> None:
    layer, after = chain((9, 9, 4), "q7", {"op": "conv2d", "out": 4, "kernel": 3}, {"op": "max_pool2d", "kernel": 2})
    fused = replace(BASELINE, fused_pool=True)
    other = replace(after, op="avg_pool2d")
    keys = {kernel_key(Step.of(layer, fused, behind)) for behind in (after, replace(after, name="x"), other)}
    assert len(keys) == 2
    assert kernel_key(Step.of(layer, BASELINE, after)) == kernel_key(Step.of(layer, BASELINE)) not in keys


def test_where_a_layer_stands_says_what_is_aligned() -> None:
    """The network's own input and output may lie anywhere; what a convolution and its pooling share lies inside."""
    layers = chain((9, 9, 4), "q7", {"op": "conv2d", "out": 4, "kernel": 3}, {"op": "max_pool2d", "kernel": 2})
    conv, pool = places(Graph.chain(layers), load_target("cortex-m4").features)
    assert (conv.layer, conv.follower, pool.follower) == (layers[0], layers[1], None)
    fused = replace(BASELINE, fused_pool=True)
    assert (conv.aligned(BASELINE), conv.aligned(fused), pool.aligned(None)) == (
        (False, True), (False, False), (True, False),
    )  # fmt: skip
    assert conv.step(fused).layers == layers
    assert conv.step(BASELINE).layers == layers[:1]


def test_the_layers_at_the_ends_have_kernels_of_their_own() -> None:
    """The caller's buffers may lie anywhere: their kernels are compiled without that promise, and counted apart."""
    twins = chain((8,), "q7", *[{"op": "relu"}] * 4)
    model = tuning.Model("net", "q7", (8,), twins, {"sram": None, "flash": None}, None, "0", Path("net.yaml"))
    plan = tuning.tune(model, load_target("cortex-m4"))
    text = render(plan)["net.c"]
    one = plan.layers[0].flash_bytes
    assert text.count("#define CXN_KERNEL") == 3
    assert plan.totals["flash_bytes"] == 3 * one
