# SPDX-License-Identifier: Apache-2.0
"""Every operation has a cost, every part a term, a count and a price: three lists of names, held against each other."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from cmsisnn_x import Variant
from cmsisnn_x.buffers import layer_scratch_bytes
from cmsisnn_x.isa import Features
from cmsisnn_x.layers import Layer
from cmsisnn_x.op import MODEL_OPS, OPS
from cmsisnn_x.packing import pack_device_weights
from cmsisnn_x.scheme import AFFINE_TYPES
from helpers.cores import PLAIN
from helpers.samples import one_in
from tuning.calibrate.grid import grid
from tuning.cost import TERMS, estimate_space, ops
from tuning.cost.loops import Counts, Knobs, by_lowering, without_knobs
from tuning.cost.ops.activation import ACTIVATION
from tuning.search.space import search_space
from tuning.target import load_target

LAYERS = grid()
WITH_KNOBS = [name for name, row in OPS.items() if row.has_knobs]
WITHOUT_COST = {"multiply": "no model file reaches it"}


def space(layer: Layer, core: str) -> tuple[Variant | None, ...]:
    return search_space(layer, load_target(core)).variants or (None,)


def some(op: str, step: int = 1) -> list[Layer]:
    return [layer for layer in LAYERS if layer.python_op == op][::step]


def test_every_operation_has_a_cost_or_a_reason_to_have_none() -> None:
    assert set(ops.OPS) == {row.name for row in OPS.values() if row.is_pow2} - set(WITHOUT_COST)
    assert {row.name for row in MODEL_OPS.values()} == set(ops.OPS)
    with_zero_points = {row.name for row in OPS.values() if any(types[0] in AFFINE_TYPES for types in row.types)}
    by_twin = {row.name for row in OPS.values() if row.is_weighted or row.is_windowed}
    assert set(ops.AFFINE) == with_zero_points - by_twin


@pytest.mark.parametrize("op", ops.OPS)
def test_every_part_belongs_to_a_term(op: str) -> None:
    """`memory` is what boards add."""
    assert set(ops.OPS[op].parts.values()) <= set(TERMS) - {"memory"}


@pytest.mark.parametrize("core", PLAIN)
@pytest.mark.parametrize("op", ops.OPS)
def test_every_part_has_a_price_and_no_other(op: str, core: str) -> None:
    target, met = load_target(core), 0
    for layer in some(op, 15):
        for variant in space(layer, core)[::5]:
            costs = ops.OPS[op].price(layer, variant, target.features, target.timing)
            assert costs.keys() == ops.OPS[op].parts.keys()
            met += 1
    assert met > 0


@pytest.mark.parametrize("op", one_in(2, ops.OPS))
def test_every_part_runs_somewhere(op: str) -> None:
    """A part that nothing counts would have a coefficient that nothing fits."""
    parts = ops.OPS[op].parts
    seen = np.zeros(len(parts))
    for core in ("cortex-m0plus", "cortex-m4"):
        for layer in some(op, 3):
            chosen = space(layer, core)
            counts = ops.count(layer, chosen, load_target(core).features)
            assert counts.shape == (len(chosen), len(parts))
            assert (counts >= 0).all()
            seen += counts.sum(axis=0)
    idle = {part for part, times in zip(parts, seen, strict=True) if not times}
    # Only relu has words, and elements that fill none; only averages are divided.
    known = {name: {"rest"} for name, cost in ops.OPS.items() if cost is ACTIVATION and name != "relu"}
    assert idle == (known | {"max_pool": {"averages"}}).get(op, set())


def test_a_count_of_no_part_is_an_error() -> None:
    def extra(layer: Layer, knob: Knobs, features: Features) -> Counts:
        return {"steps": knob("unroll"), "stepz": 1}

    layer, features = some("convolve")[0], load_target("cortex-m4").features
    assert by_lowering(layer, [Variant()], features, ["stepz", "steps"], {"im2col": extra}).tolist() == [[1, 4]]
    with pytest.raises(KeyError, match="stepz"):
        by_lowering(layer, [Variant()], features, ["steps"], {"im2col": extra})
    with pytest.raises(KeyError, match="stepz"):
        without_knobs({"stepz": 1}, [None], ["steps"])


@pytest.mark.parametrize("op", WITH_KNOBS)
def test_operations_with_knobs_say_how_many_layers_calibration_gives_them(op: str) -> None:
    effort = ops.OPS[op].effort
    assert effort is not None
    assert effort.often >= effort.sometimes > effort.hardly > 0
    ranks = set()
    for core in ("cortex-m0plus", "cortex-m4"):
        features = load_target(core).features
        for layer in some(op, 9):
            ranks |= {effort.rank(variant, features) for variant in space(layer, core) if variant is not None}
    assert ranks == {"often", "sometimes", "hardly"}


def test_operations_without_knobs_are_emulated_on_all_layers() -> None:
    assert {op for op, cost in ops.OPS.items() if cost.effort is None} == set(ops.OPS) - set(WITH_KNOBS)


def packed_bytes(layer: Layer, variants: Iterable[Variant]) -> list[int]:
    assert layer.bias is not None
    return [pack_device_weights(layer, variant).nbytes + layer.bias.nbytes for variant in variants]


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("op", WITH_KNOBS)
def test_knobs_that_bytes_do_not_depend_on_leave_them_alone(op: str, core: str) -> None:
    """Estimates share scratch and weights among variants that differ in other knobs only: each alone has the same."""
    for number, layer in enumerate(layer for layer in some(op, 10) if layer.macs < 30_000):
        variants = [variant for variant in space(layer, core) if variant is not None]
        table = estimate_space(layer, variants, load_target(core))
        assert table.scratch_bytes.tolist() == [layer_scratch_bytes(layer, variant) for variant in variants]
        assert table.weights_bytes.tolist()[number % 7 :: 7] == packed_bytes(layer, variants[number % 7 :: 7])
