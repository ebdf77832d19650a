# SPDX-License-Identifier: Apache-2.0
"""Fully connected layers: their row, their device kernels, what they ask of a layer, and their scratch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from math import prod
from typing import Any

import numpy as np

from ..channels import channels_of, start_of
from ..isa import Isa
from ..layers import Layer
from ..op import Case, Op, Shape
from ..packing_dense import COUPLED_ROWS, couples, pack_dense
from ..variant import BASELINE, UNROLLS, Family, Variant
from ._shared import (
    AFFINE_WEIGHTS,
    SCHEDULES,
    channel_macros,
    channel_operands,
    cores_of,
    round_up_even,
    scratch_of,
)

DENSE_BASELINE = replace(BASELINE, block_cols=1, im2col_cols=1)


def _families() -> Iterator[Family]:
    for dtype, lowering, wins in (
        ("q7", "im2col", "the paper's knobs"),
        ("q7", "direct", "cores without DSP; a single row; no scratch"),
        ("q15", "im2col", "cores without DSP; a single row; the input is read where it lies"),
    ):
        row = partial(Family, dtype, UNROLLS, lowering=lowering, wins=wins)
        yield row(blocks=((1, 1), (2, 1)), im2col_cols=(1,))
        yield row(blocks=((4, 2),), im2col_cols=(2,))
    for dtype, layout, wins in (
        ("q7", "interleaved", "two or three rows"),
        ("q15", "interleaved", "q15 weights; q7 weights when flash is short"),
        ("q15", "widened", "q7 weights with flash to spare"),
    ):
        for rows, cols in ((2, 1), (4, 2)):
            yield Family(dtype, UNROLLS, ((rows, cols),), wins, (cols,), "direct", layout, least=Isa.DSP)
    for inner, schedules in SCHEDULES:
        yield Family(
            "q7", UNROLLS, ((4, 2),), f"four rows and more on {cores_of(schedules)}", (2,),
            "direct", "interleaved", inner=inner, least=Isa.DSP, schedules=schedules,
        )  # fmt: skip
        yield Family(
            "q7", (2, 4, 8), ((COUPLED_ROWS, 1),), f"five rows and more on {cores_of(schedules)}", (1,),
            "im2col", "coupled", inner=inner, least=Isa.DSP, schedules=schedules,
        )  # fmt: skip
    for dtype in ("q7", "q15"):
        yield Family(
            dtype, (1,), ((1, 1),), f"wherever there are vectors: {cores_of(('helium',))}", (1,), "direct", "lanes",
            inner="helium", least=Isa.HELIUM,
        )  # fmt: skip


def _q7_weights(layer: Layer, variant: Variant) -> str | None:
    """`weight_layout: widened` needs q7 weights."""
    if variant.weight_layout != "widened" or (layer.weights_dtype or layer.dtype) != "q15":
        return None
    return "weight_layout 'widened' needs q7 weights, got q15"


def _wide_accumulator(layer: Layer, variant: Variant) -> str | None:
    """int16 activations need the baseline, whose accumulators have 64 bits, or vectors."""
    if layer.dtype != "int16" or variant == DENSE_BASELINE or variant.inner == "helium":
        return None
    return f"int16 activations need the variant {DENSE_BASELINE}, or one of vectors; got {variant}"


def _coupled_rows(layer: Layer, variant: Variant) -> str | None:
    """`weight_layout: coupled` needs five rows, up to 65535, and up to 13000 columns."""
    rows, columns = prod(layer.output_shape), prod(layer.input_shape)
    if variant.weight_layout != "coupled" or (COUPLED_ROWS <= rows <= 65535 and columns <= 13000):
        return None
    return f"weight_layout 'coupled' needs 5..65535 rows and up to 13000 columns, got {rows} and {columns}"


def _coupled_range(layer: Layer, variant: Variant) -> str | None:
    """`weight_layout: coupled` needs couples of weights within 16 bits, and accumulators below 2^23; with zero points
    below 2^22, where 2^8 times what is added to their products fits too.
    """
    if variant.weight_layout != "coupled" or layer.weights is None:
        return None
    halves = couples(layer.weights)
    if max(abs(int(halves.min()) + 0.5), abs(int(halves.max()) + 0.5)) > 2**15:
        return "weight_layout 'coupled' needs no weight of -128 behind a negative one"
    weights = layer.weights.astype(np.int64)
    reach = int((np.abs(start_of(layer)) + 128 * np.abs(weights).sum(1)).max())
    bits = 22 if layer.type.is_affine else 23
    return None if reach < 2**bits else f"weight_layout 'coupled' needs accumulators below 2^{bits}, got {reach}"


def _samples(case: Case, variant: Variant) -> int:
    """The samples that are widened to q15 at a time; q15 samples are read where they are."""
    if case.dtype == "q15":
        return 0
    if variant.weight_layout == "coupled":  # two words of each four columns, and two more
        return 8 * (-(-prod(case.image) // 4) + 1)
    return min(variant.im2col_cols, case.samples) * round_up_even(prod(case.image)) * 2


def _sums(case: Case, variant: Variant) -> int:
    """Sums of all rows, where vectors make them, and one in front: of 16-bit activations they may have 64 bits."""
    if variant.inner != "helium":
        return 0
    return (1 + -(-case.out_channels // 4) * 4) * (8 if case.dtype == "q15" else 4)


FOOTPRINTS = {"im2col": _samples, "direct": _sums}


def _infer(shape: Shape, attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {"output_shape": (attributes["out_features"],)}


def _constants(layer: Layer) -> dict[str, Shape]:
    return {"weights": (prod(layer.output_shape), prod(layer.input_shape)), "bias": (layer.output_image[2],)}


def _macs(layer: Layer) -> int:
    return layer.samples * prod(layer.input_shape) * prod(layer.output_shape)


def _is_uniform(layer: Layer) -> bool:
    """Whether all outputs are made alike of accumulators."""
    factors = channels_of(layer).records[:, 1:]
    return layer.type.bits == 8 and bool((factors == factors[0]).all())


def _macros(layer: Layer) -> dict[str, int | str]:
    return {**channel_macros(layer), "RESCALE_UNIFORM": int(_is_uniform(layer))}


def _operands(layer: Layer, variant: Variant | None) -> dict[str, np.ndarray]:
    """Of coupled weights, which know where accumulators start, one record for all where they are alike."""
    operands = channel_operands(layer, variant)
    if variant is not None and variant.weight_layout == "coupled" and _is_uniform(layer):
        operands["channels"] = operands["channels"][:1]
    return operands


def _append(executor: Any, layer: Layer, constants: Mapping[str, np.ndarray]) -> None:
    executor.weighted(
        False,
        layer.type.bits == 16,
        (1, layer.samples, prod(layer.input_shape)),
        (1, layer.samples, prod(layer.output_shape)),
        (1, 1),
        (1, 1),
        (0, 0),
        layer.requant,
        constants["weights"],
        constants.get("bias"),
    )


FULLY_CONNECTED = Op(
    "fully_connected",
    "fully_connected",
    roles=("x", "weights", "bias"),
    types=(("q7", "q7"), ("q15", "q7"), ("q15", "q15"), *AFFINE_WEIGHTS),
    attributes=("out_features",),
    infer=_infer,
    constants=_constants,
    macs=_macs,
    device_families=_families,
    constraints=(_q7_weights, _wide_accumulator, _coupled_rows, _coupled_range),
    baseline=DENSE_BASELINE,
    scratch=partial(scratch_of, FOOTPRINTS),
    pack=pack_dense,
    macros=_macros,
    operands=_operands,
    append=_append,
)
