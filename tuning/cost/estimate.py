# SPDX-License-Identifier: Apache-2.0
"""Estimates of one variant, and of a whole space at once: counts x coefficients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import cache, partial
from math import prod
from operator import attrgetter

import numpy as np

from cmsisnn_x.isa import Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.steps import Step
from cmsisnn_x.variant import Variant

from ..base.options import Kind
from ..target import Target
from . import board, fitted, ops
from .fused import estimate_fused
from .ops.twins import RECORD_BYTES
from .table import TERMS, Estimate, Estimates

PASSES = ("steps", "straight_steps")
"""Parts that are passes of the inner loop; those of rows that are left over are named alike."""
LEAST_STEP = 0.4
"""Share of the instruction mix that a pass of the inner loop takes at least, whatever was fitted; assembly that keeps
everything in registers comes near the whole.
"""
TIMING_SHARE = 0.4
"""Of the cycles that a board's other instruction timing adds by the instruction mix, the share that emulation finds:
compilers seldom place loads side by side (the RP2040's, on the paper's network).
"""
CALL_BYTES = 14
"""Code in ``<model>_run`` of a layer's call: its arguments, their literals, the branch."""
STACK_MARGIN = 1.35
"""Times the deepest stack that was seen of a kernel that it may be on a layer of another shape."""
SHORT_ROW, DOUBT = 4, 0.04
"""Elements of a window's row up to which GCC writes all products of kernels in C out, in one shape better than in the
next: 12 to 17 % around the estimate, whatever of a shape it is told, 4 % more in the mean. The least of many such
estimates is chosen.
"""
BESIDE_VECTORS = {"conv2d": 1.3, "depthwise_conv2d": 1.1}
"""The same of convolutions in C beside vectors, which are faster but where windows are a single element, and of
depthwise layers of 16 bits, where on Cortex-M85 they are not always: a third around the estimate.
"""
UNSEEN_BESIDE_VECTORS = 2.0
"""The same of both, and of depthwise kernels, in C beside vectors, that nothing was emulated of on such a core: what
relatives tell is down to four tenths of what they take, and vectors are faster nearly always.
"""
BY_BYTES = {1: 6.0, 2: 10.0, 4: 13.0}
"""Cycles of an element that is loaded by bytes, on top of a halfword, by rows of a block: two loads for one, a shift
and an OR; of more rows what the compiler spills besides, between 6 and 16.
"""
UNKNOWN_SPREAD = 0.6
"""Of the logarithm of the size of code that was never compiled."""
LEAST_SPREAD = 0.5
"""The same at least: few layers of a family are alike by chance, and under a budget those are taken whose code is
estimated too short. On layers apart it is 0.35; finer coordinates, padding and what is left over by blocks among them,
did not make it less.
"""
NOT_IN_SCRATCH = ("inner", "fused_pool")
"""Knobs that change no scratch; the band of a fused pooling is counted in `fused`."""
NOT_IN_BYTES = ("unroll", *NOT_IN_SCRATCH)
"""Knobs that change no packed weights."""


def estimate(
    layer: Layer, variant: Variant | None, target: Target, follower: Layer | None = None, *, aligned: bool = True
) -> Estimate:
    """Estimate one variant.

    Parameters
    ----------
    layer : Layer
    variant : Variant or None
        ``None`` for operations with a single kernel.
    target : Target
    follower : Layer, optional
        The pooling that a variant with `fused_pool` takes in.
    aligned : bool
        Whether the input starts at a word boundary.
    """
    return estimate_space(layer, (variant,), target, follower, aligned=aligned)[0]


def estimate_space(
    layer: Layer,
    variants: Sequence[Variant | None],
    target: Target,
    follower: Layer | None = None,
    found: fitted.Coefficients | None = None,
    *,
    aligned: bool = True,
) -> Estimates:
    """Estimate many variants of one layer at once; an empty sequence stands for the single kernel of an
    operation without knobs. Those with `fused_pool` take in `follower`. `found` are the coefficients to estimate with.
    Default: those of the target's core. `aligned`: whether the input starts at a word boundary, as that of a network
    need not.

    Cycles = sum over the parts of a kernel of (how often it runs, `ops.count`) x (what one run costs). That cost was
    fitted on emulated runs of this kernel on this core; what the fit left over on layers that are alike corrects the
    sum (`neighbours`). It is scaled where the target's timing differs from the
    core's; for kernels that were never fitted it comes from the instruction mix (`ops.price`). Memory wait states of
    boards are a term of their own.
    """
    chosen: tuple[Variant | None, ...] = tuple(variants) or (None,)
    if any(variant is not None and variant.fused_pool for variant in chosen):
        steps = [Step.of(layer, variant, follower) for variant in chosen]
        return estimate_fused(steps, target, partial(estimate_space, found=found))
    features, found = target.features, found or fitted.coefficients(target.core)
    names = fitted.families(layer, chosen, features)
    families: dict[str, Variant | None] = {}
    for name, variant in zip(names, chosen, strict=True):
        families.setdefault(name, variant)
    counts, terms = _terms(layer, chosen, names, families, target, found)
    if not aligned:
        terms[:, TERMS.index("multiply_accumulate")] += _by_bytes(layer, chosen, counts, target)
    scratch, weights = _footprints(layer, chosen)
    known = {name: found.size_of(name) or _size(variant) for name, variant in families.items()}
    position = {name: at for at, name in enumerate(families)}
    longer = found.code.factors(layer, list(families))[[position[name] for name in names]]
    code = np.rint([known[name].code for name in names] * longer).astype(np.int64) + CALL_BYTES
    spread = code * np.array([max(known[name].spread, LEAST_SPREAD) for name in names])
    terms[:, TERMS.index("memory")] = board.added_cycles(layer, chosen, counts, weights, code, target)
    stacks = tuple(_deepest(known[name].most_stack) for name in names)
    # Rounded twice: the order of a sum depends on how many variants there are, and must not decide a half.
    whole = np.rint(np.round(terms, 6)).astype(np.int64)
    return Estimates(chosen, whole, scratch, weights, code, spread, stack_bytes=stacks)


def _terms(
    layer: Layer,
    chosen: tuple[Variant | None, ...],
    names: Sequence[str],
    families: Mapping[str, Variant | None],
    target: Target,
    found: fitted.Coefficients,
    known: dict[str, np.ndarray] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """How often each part runs, and the cycles of each cause but memory; a row per variant. `known` has what one run
    costs of families that are known already, and takes in the others.
    """
    counts = ops.count(layer, chosen, target.features)
    costs = {} if known is None else known
    if new := {name: variant for name, variant in families.items() if name not in costs}:
        costs.update(zip(new, _coefficients(layer, new, target, found), strict=True))
    position = {name: at for at, name in enumerate(families)}
    rows = [position[name] for name in names]
    of_part = counts * np.array([costs[name] for name in families])[rows]
    of_part *= found.neighbours.factors(layer, list(families))[rows, None]
    if layer.op == "conv2d" and layer.kernel[1] * layer.image[2] <= SHORT_ROW and target.features.isa < Isa.HELIUM:
        of_part *= np.array([1 + (v is not None and v.inner == "c") * DOUBT for v in chosen])[:, None]
    if layer.op in BESIDE_VECTORS and target.features.isa >= Isa.HELIUM:
        is_narrow = layer.op == "depthwise_conv2d" and layer.numpy_dtype.itemsize == 1
        seen = 1.0 if is_narrow else BESIDE_VECTORS[layer.op]
        doubt = [
            1.0 if fitted.VECTORS in name else seen if name in found.families else UNSEEN_BESIDE_VECTORS
            for name in names
        ]
        of_part *= np.array(doubt)[:, None]
    owner = list(ops.parts_of(layer).values())
    terms = np.zeros((len(chosen), len(TERMS)))
    for column, term in enumerate(TERMS):
        parts = [part for part, name in enumerate(owner) if name == term]
        if parts:
            terms[:, column] = of_part[:, parts].sum(axis=1)
    return counts, terms


def _by_bytes(
    layer: Layer, chosen: Sequence[Variant | None], counts: np.ndarray, target: Target
) -> np.ndarray | float:
    """What fully connected layers of 16 bits take more where they read the input by bytes, once per block of rows, as
    it may start anywhere: emulated, of 64 variants on five layers. What convolutions copy by bytes is a hundredth.
    """
    if layer.op != "fully_connected" or layer.numpy_dtype.itemsize == 1 or target.features.unaligned:
        return 0.0
    parts = list(ops.parts_of(layer))
    rows = np.array([v.block_rows if v else 1 for v in chosen])
    blocks = [counts[:, parts.index(name)] for name in ("blocks", "pair_blocks", "last_blocks")]
    own = np.array([BY_BYTES[n] for n in rows])
    return prod(layer.input_shape) * (blocks[0] * own + blocks[1] * BY_BYTES[2] + blocks[2] * BY_BYTES[1])


def estimate_rows(
    layer: Layer, whole: Estimates, target: Target, known: dict[str, np.ndarray] | None = None
) -> np.ndarray:
    """Cycles by cause of one call that computes `layer`, some rows of a layer whose estimates are `whole`: a row per
    variant, columns as `TERMS`. What one run of a part costs does not depend on how many rows there are: `known` keeps
    it from one number of rows to the next.
    """
    chosen, found = whole.variants, fitted.coefficients(target.core)
    names = fitted.families(layer, chosen, target.features)
    families: dict[str, Variant | None] = {}
    for name, variant in zip(names, chosen, strict=True):
        families.setdefault(name, variant)
    counts, terms = _terms(layer, chosen, names, families, target, found, known)
    added = board.added_cycles(layer, chosen, counts, whole.weights_bytes, whole.code_bytes, target)
    terms[:, TERMS.index("memory")] = added
    return np.round(terms, 6)


def expected_error(op: str, target: Target, dtype: str = "q7") -> tuple[float, float] | None:
    """Median relative error of estimates of `op` on `dtype`, and a bound that hardly any layer exceeds, by layers that
    were not fitted, of the variants that a plan chooses among: those within a quarter of the fastest. None where no
    such kernel was judged. `dtype` is followed by that of the weights, where it is another, and by ``fused``, where a
    convolution takes in its pooling.
    """
    found = fitted.coefficients(target.core).errors.get("held out", {}).get(f"{op} {dtype}")
    return (found["near_median"], found["bound"]) if found else None


def fitted_compiler(target: Target) -> Kind | None:
    """Whose code the estimates of a core were fitted on; None where nothing was."""
    found = fitted.coefficients(target.core).compiler
    return ("clang" if "clang" in found else "gcc") if found else None


FEW_INPUTS, FEW_ROWS, LONGEST = 16, (1, 2, 4, 8, 16), 16
"""Of layers whose loops the compiler writes out in ways of their own, and of which hardly any was emulated: fully
connected ones of up to so many inputs took up to 1.7 times what was estimated, means over so many rows as little as
0.6 times, depthwise convolutions over windows that are longer in some direction up to three times.
"""


def is_guess(layer: Layer) -> bool:
    """Whether nothing can be said of the error: of pools of one element the compiler makes a copy, or a loop; products
    of few inputs and means of few rows are written out, and of long depthwise windows some loops are.
    """
    if layer.op == "fully_connected":
        return prod(layer.input_shape) <= FEW_INPUTS
    if layer.op == "mean":
        return prod(layer.input_shape) // prod(layer.output_shape) in FEW_ROWS
    if layer.op == "depthwise_conv2d":
        return max(layer.kernel) > LONGEST
    return layer.row.is_windowed and not layer.row.is_weighted and layer.kernel == (1, 1)


def _coefficients(
    layer: Layer, families: Mapping[str, Variant | None], target: Target, found: fitted.Coefficients
) -> np.ndarray:
    """Cycles of one run of each part, a row per family; of each, one variant stands for all."""
    core, features = target.core_timing or target.timing, target.features
    own = target.timing == core
    prices = np.array([ops.price(layer, variant, features, core) for variant in families.values()])
    priors = prices
    if not own:
        priors = np.array([ops.price(layer, variant, features, target.timing) for variant in families.values()])
    table = np.array(
        [
            found.of(name, partial(fitted.prior, layer, variant, found, features, core))
            for name, variant in families.items()
        ]
    )
    # Passes and loop turns often grow together: least squares may charge all of it to the one or the other.
    steps = [at for at, part in enumerate(ops.parts_of(layer)) if part.removeprefix("left_") in PASSES]
    table[:, steps] = np.maximum(table[:, steps], LEAST_STEP * prices[:, steps])
    return table if own else table * (1 + TIMING_SHARE * (priors / prices - 1))


def scratch_of(layer: Layer, variants: Sequence[Variant | None]) -> np.ndarray:
    """Scratch of each variant, computed once per combination of the knobs that may matter."""
    from cmsisnn_x.buffers import layer_scratch_bytes

    knobs = _all_knobs_but(NOT_IN_SCRATCH)
    found: dict[object, int] = {}
    column = np.zeros(len(variants), np.int64)
    for at, v in enumerate(variants):
        if v is None:
            continue
        if (held := knobs(v)) not in found:
            found[held] = layer_scratch_bytes(layer, v)
        column[at] = found[held]
    return column


def _footprints(layer: Layer, variants: tuple[Variant | None, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Scratch and weight bytes, each computed once per combination of the knobs that may matter."""
    from cmsisnn_x.packing import pack_device_weights

    packing_knobs = _all_knobs_but((*NOT_IN_BYTES, *ops.cost_of(layer).not_in_packing))
    weights: dict[object, int] = {}
    column = np.zeros(len(variants), np.int64)
    bias = 0 if layer.bias is None else layer.bias.nbytes
    for at, v in enumerate(variants):
        if v is None:
            column[at] = plain_weights_bytes(layer)
            continue
        has_records = v.weight_layout != "coupled"  # of all channels; else one may do
        if (packed := packing_knobs(v)) not in weights and ops.has_twin(layer) and has_records:
            twin = ops.twin_of(layer)
            size = pack_device_weights(twin, v).nbytes if twin.weights is not None else 0
            weights[packed] = size * layer.groups + RECORD_BYTES * layer.output_image[2]
        elif packed not in weights and layer.type.is_affine:
            weights[packed] = _operand_bytes(layer, v)
        elif packed not in weights:
            weights[packed] = (pack_device_weights(layer, v).nbytes if layer.weights is not None else 0) + bias
        column[at] = weights[packed]
    return scratch_of(layer, variants), column


@cache
def _all_knobs_but(names: tuple[str, ...]) -> Callable[[Variant], object]:
    """By exclusion: a knob that is forgotten costs time, not bytes."""
    return attrgetter(*(knob.name for knob in fields(Variant) if knob.name not in names))


def plain_weights_bytes(layer: Layer) -> int:
    """Weights and bias as the model has them; tables as they are emitted."""
    if layer.type.is_affine:
        return _operand_bytes(layer, None)
    if layer.weights is None or layer.bias is None:
        return 0
    return prod(layer.weights.shape) * layer.weights_type.dtype.itemsize + layer.bias.nbytes


def _operand_bytes(layer: Layer, variant: Variant | None) -> int:
    from cmsisnn_x.operands import operands_of

    if layer.row.is_weighted and layer.weights is None:
        return 0
    return sum(array.nbytes for array in operands_of(layer, variant).values())


def _deepest(seen: int) -> int | None:
    """A bound on a stack, by the deepest that was seen on other layers; None where none was."""
    return -(-int(seen * STACK_MARGIN) // 8) * 8 + 8 if seen else None


def _size(variant: Variant | None) -> fitted.Sizes:
    """Of kernels that were never compiled for calibration; their stack is not known."""
    code = 400 if variant is None else 600 + 24 * variant.unroll * variant.block_rows * variant.block_cols
    return fitted.Sizes(code, UNKNOWN_SPREAD, 0)
