# SPDX-License-Identifier: Apache-2.0
"""The registry is complete: every table that is keyed by operation has every operation, and no row contradicts itself.

Adding an operation is a row in `cmsisnn_x.registry`; these tests then name the tables that lack it.
"""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from types import ModuleType
from typing import get_args

import pytest

import cmsisnn_x
from cmsisnn_x import _simd, int8
from cmsisnn_x.affine.curves import Scheme
from cmsisnn_x.checks import SCHEMES
from cmsisnn_x.described import KINDS
from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.op import MODEL_OPS, NETWORK_OPS, OPS, TYPES, Op, device_variant_problem, device_variants, variants
from cmsisnn_x.scheme import AFFINE_TYPES, POW2_TYPES
from cmsisnn_x.variant import HOST_FAMILIES, KNOBS, Variant
from helpers import int8_graph, reference
from helpers.layers import make_layer
from helpers.plans import chain, make_plan
from tuning.calibrate.drawn import COUNTS
from tuning.calibrate.grid import grid
from tuning.check.accumulators import SUMS
from tuning.cost import ops as costs
from tuning.emit import render
from tuning.model import schema
from tuning.plan.affine_fields import affine_fields, affine_problem
from tuning.quantize import forward
from tuning.schemas import published
from tuning.target.cores import CORES

INCLUDE = Path(cmsisnn_x.__file__).parent / "include"
SCHEME_KEYS = {"bias_shift", "out_shift", "activation", "weights_dtype", "variant"}
"""Of operations with weights, besides their own attributes."""
ROWS = pytest.mark.parametrize("row", OPS.values(), ids=OPS)
MOVES = {"concat", "copy", "look_up", "pad", "resize_nearest"}
"""Operations of networks with zero points that NumPy has functions for."""
POW2 = [row for row in OPS.values() if row.is_pow2]
AFFINE = [row for row in OPS.values() if any(types[0] in AFFINE_TYPES for types in row.types)]
WITH_KNOBS = pytest.mark.parametrize("row", [row for row in OPS.values() if row.has_knobs], ids=lambda row: row.name)


def lacking() -> dict[str, set[str]]:
    """Table -> the operations that it lacks, or has and should not; tables that are complete are left out."""
    networks = {row.name for row in MODEL_OPS.values()}
    weighted = {name for name, row in OPS.items() if row.is_weighted}
    pow2 = {name for name, row in OPS.items() if row.is_pow2}
    affine = {name for name, row in OPS.items() if any(types[0] in AFFINE_TYPES for types in row.types)}
    tables = {
        "host functions, cmsisnn_x": (pow2, {name for name in pow2 if hasattr(cmsisnn_x, name)}),
        "host functions, cmsisnn_x.int8": (affine - MOVES, {name for name in affine if hasattr(int8, name)} - MOVES),
        "schemes, cmsisnn_x/checks.py": (affine, set(SCHEMES)),
        "oracles, tests/helpers/int8_graph.py": (affine, {NETWORK_OPS[name].name for name in int8_graph.OPS}),
        "device headers": (set(OPS), {name for name, row in OPS.items() if (INCLUDE / row.header).is_file()}),
        "oracles, tests/helpers/reference.py": (pow2, set(reference.ORACLES)),
        "vector kernels, _simd": (weighted, {name for name in weighted if hasattr(_simd, name)}),
        "accumulators, tuning/check/accumulators.py": (weighted, set(SUMS)),
        "model files, tuning/model/schema.py": (networks, _names(schema.OPS)),
        "float networks, tuning/quantize/forward.py": (networks, _names(forward.OPS)),
        "calibration grid, tuning/calibrate/grid.py": (networks, {layer.python_op for layer in grid(["q7"])}),
        "drawn layers, tuning/calibrate/drawn.py": (networks | affine, {NETWORK_OPS[name].name for name in COUNTS}),
        "costs, tuning/cost/ops": (networks | affine, set(costs.OPS) | set(costs.AFFINE)),
    }
    return {table: wanted ^ found for table, (wanted, found) in tables.items() if wanted != found}


def _names(table: dict[str, object]) -> set[str]:
    """Python names of a table that is keyed by names of model files."""
    return {MODEL_OPS[name].name if name in MODEL_OPS else name for name in table}


def test_every_table_has_every_operation() -> None:
    found = [f"{table}: {', '.join(sorted(names))}" for table, names in lacking().items()]
    assert not found, "\n".join(["tables that lack an operation, or have one too many:", *found])


def test_a_table_without_an_operation_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above cannot pass by not looking: an operation that has nothing but a row is missing everywhere."""
    before = lacking()
    row = replace(OPS["fully_connected"], name="scaled", model_name="scaled")
    monkeypatch.setitem(OPS, "scaled", row)
    for table in (MODEL_OPS, NETWORK_OPS):
        monkeypatch.setitem(table, "scaled", row)
    found = lacking()
    assert len(found) == 13
    assert all(names - before.get(table, set()) == {"scaled"} for table, names in found.items())


@ROWS
def test_a_row_is_of_one_mind(row: Op) -> None:
    tensors = [role for role in row.roles if role not in ("weights", "bias", "table")]
    assert set(row.in_place) <= set(range(len(tensors)))
    assert all(len(types) == 1 + row.is_weighted for types in row.types)
    assert len(set(row.types)) == len(row.types)
    assert not row.is_pow2 or {types[0] for types in row.types} >= set(POW2_TYPES)


@pytest.mark.parametrize(
    ("row", "module"),
    [(row, cmsisnn_x) for row in POW2] + [(row, int8) for row in AFFINE if row.name not in MOVES],
    ids=lambda item: getattr(item, "name", item.__name__ if inspect.ismodule(item) else ""),
)
def test_a_function_takes_what_its_row_says(row: Op, module: ModuleType) -> None:
    parameters = tuple(inspect.signature(getattr(module, row.name)).parameters)
    assert parameters[: len(row.roles)] == row.roles


@pytest.mark.parametrize("row", MODEL_OPS.values(), ids=MODEL_OPS)
def test_a_model_file_has_the_keys_of_its_row(row: Op) -> None:
    keys = set(schema.OPS[row.model_name].model_fields) - {"name", "op", "inputs", "fraction"}
    assert keys == {*row.attributes, *(SCHEME_KEYS if row.is_weighted else ())}


@pytest.mark.parametrize("row", MODEL_OPS.values(), ids=MODEL_OPS)
def test_a_layer_asks_its_row(row: Op) -> None:
    layers = [layer for layer in grid() if layer.row is row]
    assert {layer.dtype for layer in layers} == set(TYPES)
    for layer in layers[:: max(len(layers) // 5, 1)]:
        assert bool(layer.weights_shape) == bool(layer.bias_shape) == bool(layer.macs) == row.is_weighted
        if layer.weights is not None and layer.bias is not None:
            assert layer.weights.shape == layer.weights_shape
            assert layer.bias.shape == layer.bias_shape == (layer.weights_shape[row.channel_axis],)


@pytest.mark.parametrize("row", MODEL_OPS.values(), ids=MODEL_OPS)
def test_emission_calls_every_operation_of_a_network(row: Op) -> None:
    own = {"kernel": 2} if row.is_windowed else {}
    own |= {"out": 4} if {"out_channels", "out_features"} & set(row.attributes) else {}
    files = render(make_plan("net", chain((4, 4, 4), "q7", {"op": row.model_name, **own})))
    assert f'#include "{row.header}"' in files["net.c"]
    assert ("#define CXN_TABLE" in files["net.c"]) == row.has_table


# ---------------------------------------------------------------- schemes with zero points


def test_every_scheme_has_a_name_in_files() -> None:
    assert set(KINDS.values()) == set(get_args(Scheme)) == {one for some in SCHEMES.values() for one in some if one}
    scheme = published("plan-2")["$defs"]["layer"]["properties"]["scheme"]
    assert scheme["properties"] == {"kind": {"enum": list(KINDS)}}


@pytest.mark.parametrize("row", AFFINE, ids=lambda row: row.name)
def test_plan_files_take_the_schemes_of_an_operation(row: Op) -> None:
    """They look at its numbers, by name, and do not refuse its kind; nor the second tensor of two."""
    kind_of = {made: name for name, made in KINDS.items()}
    types = [types[0] for types in row.types if types[0] in AFFINE_TYPES]
    for scheme in filter(None, SCHEMES[row.name]):
        names = [{"kind": "function"}.get(item.name, item.name) for item in fields(scheme)]
        entry = {"scheme": {"kind": kind_of[scheme], **dict.fromkeys(names)}}
        said = []
        for dtype in types:
            with pytest.raises(ValueError, match="scheme") as problem:
                affine_fields(Layer("x", row.model_name, dtype, (4, 4, 4), (4, 4, 4)), entry)
            said.append(str(problem.value))
        assert any(text.startswith("scheme.") for text in said), said
    if row.roles == ("a", "b"):
        assert affine_problem(Layer("x", row.model_name, types[0], (4,), (4,), more_inputs=((2,),))) is None


# ---------------------------------------------------------------- variants


@WITH_KNOBS
def test_every_type_has_variants(row: Op) -> None:
    for dtype in TYPES:
        assert variants(row.name, dtype)
        for core in CORES.values():
            on_core = device_variants(row.name, dtype, core.features)
            assert row.baseline in on_core
            assert set(on_core) <= set(device_variants(row.name, dtype, replace(core.features, schedule=None)))


@WITH_KNOBS
def test_no_two_families_give_the_same_variant(row: Op) -> None:
    for dtype in TYPES:
        for features in {core.features for core in CORES.values()} | {Features(isa) for isa in Isa}:
            families = [f for f in row.device_families() if f.dtype == dtype and f.suits(features)]
            counted = Counter(variant for family in families for variant in family.variants())
            assert [str(variant) for variant, count in counted.items() if count > 1] == []


@WITH_KNOBS
def test_families_have_legal_values_and_say_where_they_win(row: Op) -> None:
    for family in (*row.device_families(), *HOST_FAMILIES):
        assert family.wins
        for variant in family.variants():
            assert all(getattr(variant, name) in values for name, values in KNOBS.items())
    assert list(KNOBS) == [field.name for field in fields(Variant)]


@ROWS
def test_every_constraint_is_a_rule_in_words(row: Op) -> None:
    assert row.has_knobs or not row.constraints
    names = [rule.__name__ for rule in row.constraints]
    assert len(set(names)) == len(names)
    for rule in row.constraints:
        assert (rule.__doc__ or "").strip().endswith("."), rule.__name__


def test_every_constraint_refuses_something() -> None:
    """A rule that no layer can break would be a rule for nobody."""
    layers = [*grid(), *chain((1, 9, 1400), "q7", {"op": "conv2d", "kernel": (1, 3), "out": 4})]
    layers += [
        Layer("around", "conv2d", "q7", (3, 3, 4), (5, 5, 2), (1, 1), padding=((1, 1), (1, 1)), weights_dtype="q7"),
        Layer("few", "conv2d", "q7", (3, 3, 1), (3, 3, 2), weights_dtype="q7"),
        Layer("long", "conv2d", "q7", (9, 9, 1000), (3, 3, 2), (7, 7), weights_dtype="q7"),
        Layer("wide", "depthwise_conv2d", "q7", (9, 9, 4), (1, 1, 4), (9, 9), weights_dtype="q7"),
        Layer("high", "depthwise_conv2d", "q7", (40, 40, 4), (1, 1, 4), (40, 40), weights_dtype="q7"),
        Layer("far", "conv2d", "int8", (9, 9, 4), (5, 5, 2), (3, 3), dilation=(2, 2), weights_dtype="int8"),
        Layer("apart", "depthwise_conv2d", "int8", (9, 9, 4), (5, 5, 4), (3, 3), dilation=(2, 2), weights_dtype="int8"),
        *(
            Layer("accurate", op, "int16", (9, 9, 4), (9, 9, 4), weights_dtype="int8")
            for op in ("conv2d", "depthwise_conv2d", "fully_connected")
        ),
        make_layer("fully_connected", (600,), out_channels=5, extreme=True),
    ]
    idle = {rule.__name__ for row in OPS.values() for rule in row.constraints}
    for row in OPS.values():
        types = {types[0] for types in row.types} if row.has_knobs else ()
        registered = {v for dtype in types for isa in Isa for v in device_variants(row.name, dtype, Features(isa))}
        for rule in row.constraints:
            if any(rule(layer, v) for layer in layers if layer.row is row for v in registered):
                idle.discard(rule.__name__)
    assert idle == set()


def test_an_unregistered_variant_is_refused_by_name() -> None:
    layer = Layer("c", "conv2d", "q7", (4, 4, 4), (4, 4, 4), weights_dtype="q7")
    assert device_variant_problem(layer, Variant(8, 4, 2, 4, tile=4), Features(Isa.DSP)) == (
        "no DSP kernel of convolve q7 is registered as 4x2 unroll 8 cols 4 tile 4"
    )
