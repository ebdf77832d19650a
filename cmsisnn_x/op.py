# SPDX-License-Identifier: Apache-2.0
"""What an operation is: one row, which everything that differs by operation asks; and the table of all rows.

The rows themselves stand in ``registry/``, one module per family of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np

from .errors import VariantError
from .isa import Features, Isa
from .scheme import AFFINE_TYPES, POW2_TYPES, TENSOR_TYPES
from .variant import BASELINE, HOST_FAMILIES, Family, Variant, check_knobs

Layer = Any
"""A `layers.Layer`, which finds its row here: to name the class would close a circle."""
Shape = tuple[int, ...]
TYPES = tuple(POW2_TYPES)
"""Those that host functions with knobs know."""


@dataclass(frozen=True)
class Pool:
    """The pooling that a convolution takes in: what its band depends on."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]


@dataclass(frozen=True)
class Case:
    """One operation with its shapes, as a call or a layer has them: what scratch depends on besides the variant.

    `image` is the input ``(h, w, c)`` of one sample and `samples` how many there are; `padding` is that at the top and
    left, `output` the output height and width, `dtype` the type of the activations.
    """

    op: str
    dtype: str
    image: tuple[int, int, int]
    samples: int = 1
    out_channels: int = 1
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    output: tuple[int, int] = (1, 1)
    pool: Pool | None = None

    @property
    def depth(self) -> int:
        """Elements of one im2col column."""
        return self.kernel[0] * self.kernel[1] * self.image[2]


Constraint = Callable[[Layer, Variant], "str | None"]
"""Why the kernel of a variant cannot run a layer; None if it can. Its docstring is the rule, as users read it."""


def _no_families() -> tuple[Family, ...]:
    return ()


def _no_constants(layer: Layer) -> dict[str, Shape]:
    return {}


def _no_macros(layer: Layer) -> Mapping[str, int | str]:
    return {}


def _no_operands(layer: Layer, variant: Variant | None) -> Mapping[str, np.ndarray]:
    return {}


def _no_macs(layer: Layer) -> int:
    return 0


def _no_scratch(case: Case, variant: Variant) -> int:
    return 0


def _whole(layer: Layer, variant: Variant | None) -> int | None:
    return None


def _none(layer: Layer) -> str | None:
    return None


def _one(layer: Layer, variant: Variant | None) -> int:
    return 1


def _never(layer: Layer, variant: Variant, band: int = 0) -> bool:
    return False


def _no_sum(layer: Layer) -> bool:
    return False


@dataclass(frozen=True, eq=False, repr=False)
class Op:
    """An operation.

    Attributes
    ----------
    name : str
        Of the Python function, of the header ``include/cmsisnn_x/<name>.h``, and the key of every other table.
    model_name : str
        In model files, and of layers: `Layer.op`.
    roles : tuple of str
        What it takes, in the order of its arguments: tensors (``x``; ``a``, ``b``; any number of ``inputs``), then
        ``weights`` and ``bias``, or a ``table``.
    types : tuple of tuple of str
        Legal types of the activations, and of the weights where there are some.
    infer : callable
        ``(input shape, attributes)`` -> the fields of a `Layer` that follow: its `output_shape`, and for windows
        `kernel`, `stride` and `padding`. Raises `GeometryError`.
    attributes : tuple of str
        The keys of its geometry and formats in a model file, all that `infer` asks for.
    most_elements : int or None
        Of its input, where there is a limit of its own.
    problem : callable
        Layer -> what its kernels cannot do with it, in words; None where there is nothing.
    in_place : tuple of int
        The inputs whose memory the output may take.
    overwrites : callable
        ``(Layer, Variant)`` -> whether a device kernel, told so by its macro `IN_PLACE`, may write its output over its
        input, of the same size: what it needs of a row or of pixels was copied before anything is written there.
    is_joined : bool
        Whether its inputs may lie in its output already, one after the other, where that has a single row.
    constants : callable
        Layer -> role -> shape, of what it takes besides tensors.
    channel_axis : int
        The axis of the weights that counts output channels.
    macs : callable
        Layer -> multiply-accumulates of one inference.
    is_scale_free : bool
        Whether ``f(s x) = s f(x)`` for every s > 0; it keeps its input's fixed-point format then.
    is_nonnegative : bool
        Whether no output is negative, whatever comes in.
    device_families : callable
        The variants of its device kernel; none where there is a single one.
    constraints : tuple of callable
        What a variant asks of a layer.
    baseline : Variant
        What gains are quoted against on a device.
    scratch : callable
        ``(Case, Variant)`` -> bytes, of an operation with knobs.
    pack : callable or None
        ``(Layer, Variant)`` -> weights in the layouts of device kernels other than the plain one.
    least_rows : callable
        ``(Layer, Variant)`` -> the fewest output rows that a call of the device kernel on a band of rows can make; None
        where it cannot work on bands.
    row_step : callable
        ``(Layer, Variant)`` -> a call on a band whose output rows are a multiple of it computes no row or pixel in
        vain.
    overwrites_rows : callable
        ``(Layer, Variant, band)`` -> whether such a call of at most `band` rows, told so by its macro `IN_PLACE`, may
        write its rows over those that its first window begins with, padding included, and on: the output row that it
        makes j-th lies at j output rows.
    sums_rows : callable
        Layer -> whether its only output row comes from all rows of its input, which the device kernel adds up as they
        come.
    takes_rows_as_they_come : callable
        Layer -> whether a call on a band, told so by its macro `OPEN_ROWS`, may go on with that many rows which earlier
        calls made from the rows of the input that were there, so that no row is needed once more.
    macros : callable
        Layer -> macros that its device kernel reads besides those of geometry, scheme and knobs; of layers with zero
        points.
    operands : callable
        ``(Layer, Variant)`` -> the constants that the device kernel of a layer with zero points gets, by name, in the
        order of its arguments.
    append : callable or None
        ``(executor, layer, constants)``: adds a checked layer to a host network. None: no network can have it yet.
    """

    name: str
    model_name: str
    roles: tuple[str, ...]
    types: tuple[tuple[str, ...], ...]
    infer: Callable[[Shape, Mapping[str, Any]], dict[str, Any]]
    attributes: tuple[str, ...] = ()
    most_elements: int | None = None
    problem: Callable[[Layer], str | None] = _none
    in_place: tuple[int, ...] = ()
    overwrites: Callable[[Layer, Variant], bool] = _never
    is_joined: bool = False
    constants: Callable[[Layer], dict[str, Shape]] = _no_constants
    channel_axis: int = 0
    macs: Callable[[Layer], int] = _no_macs
    is_scale_free: bool = False
    is_nonnegative: bool = False
    device_families: Callable[[], Iterator[Family] | tuple[Family, ...]] = _no_families
    constraints: tuple[Constraint, ...] = ()
    baseline: Variant = field(default=BASELINE)
    scratch: Callable[[Case, Variant], int] = _no_scratch
    pack: Callable[[Layer, Variant], np.ndarray] | None = None
    least_rows: Callable[[Layer, Variant | None], int | None] = _whole
    row_step: Callable[[Layer, Variant | None], int] = _one
    overwrites_rows: Callable[[Layer, Variant, int], bool] = _never
    sums_rows: Callable[[Layer], bool] = _no_sum
    takes_rows_as_they_come: Callable[[Layer], bool] = _no_sum
    macros: Callable[[Layer], Mapping[str, int | str]] = _no_macros
    operands: Callable[[Layer, Variant | None], Mapping[str, np.ndarray]] = _no_operands
    append: Callable[[Any, Layer, Mapping[str, np.ndarray]], None] | None = None

    def __repr__(self) -> str:
        return f"<Op {self.name}>"

    @property
    def header(self) -> str:
        """Of the device kernel, as firmware includes it."""
        return f"cmsisnn_x/{self.name}.h"

    @property
    def is_pow2(self) -> bool:
        """Whether it has kernels for numbers times powers of two: then there is a host function of its name."""
        return any(types[0] in POW2_TYPES for types in self.types)

    @property
    def is_weighted(self) -> bool:
        """Whether it multiplies weights: then its outputs are requantised, and it has knobs."""
        return "weights" in self.roles

    @property
    def is_windowed(self) -> bool:
        """Whether it slides windows over an image."""
        return "kernel" in self.attributes

    @property
    def has_table(self) -> bool:
        """Whether it looks a function up: its input has a format with integer bits."""
        return "int_bits" in self.attributes

    @property
    def has_knobs(self) -> bool:
        return self.device_families is not _no_families

    def weights_types(self, dtype: str) -> tuple[str, ...]:
        """The types that weights may have beside activations of `dtype`."""
        return tuple(types[1] for types in self.types if types[0] == dtype and len(types) > 1)


OPS: dict[str, Op] = {}
"""Every operation by its Python name."""
MODEL_OPS: dict[str, Op] = {}
"""Those that model files in YAML can have, by their name there."""
NETWORK_OPS: dict[str, Op] = {}
"""Those that networks can have, by the name of their layers."""
_BY_MODEL_NAME: dict[str, Op] = {}


def register(*rows: Op) -> None:
    """Put rows into the tables; `registry` does, when the package is imported."""
    for row in rows:
        OPS[row.name] = _BY_MODEL_NAME[row.model_name] = row
        if row.append is not None:
            NETWORK_OPS[row.model_name] = row
            if row.is_pow2 and row.roles[0] == "x":
                MODEL_OPS[row.model_name] = row


def row_of(model_name: str) -> Op:
    """The row of an operation as layers name it."""
    return _BY_MODEL_NAME[model_name]


def check_op(op: str, dtype: str) -> Op:
    """The row of `op`; a `VariantError` where there is none, or none for `dtype`."""
    if not (isinstance(op, str) and op in OPS):
        raise VariantError(f"op: expected one of {', '.join(OPS)}, got {op!r}")
    if not (isinstance(dtype, str) and dtype in TYPES):
        raise VariantError(f"dtype: expected 'q7' or 'q15', got {dtype!r}")
    return OPS[op]


def check_variant(variant: object, op: str) -> Variant:
    """`variant`, with its knobs as ints, if a kernel of `op` has them; a `VariantError` names the knob otherwise."""
    if not isinstance(variant, Variant):
        raise VariantError(f"variant: expected a cmsisnn_x.Variant or None, got {variant!r}")
    if not OPS[op].has_knobs:
        raise VariantError(f"variant: {op} has a single kernel; expected None, got {variant}")
    return check_knobs(variant)


def variants(op: str, dtype: str) -> tuple[Variant, ...]:
    """Every registered host variant of an operation.

    Parameters
    ----------
    op : str
        Name of the Python function: ``"convolve"``, ``"depthwise_convolve"`` or ``"fully_connected"``; the other
        operations have a single kernel and give an empty tuple.
    dtype : {"q7", "q15"}

    Returns
    -------
    tuple of Variant

    Raises
    ------
    ValueError
        Unknown `op` or `dtype`.
    """
    if not check_op(op, dtype).has_knobs:
        return ()
    return tuple(v for family in HOST_FAMILIES if family.dtype == dtype for v in family.variants())


@lru_cache(maxsize=64)
def device_variants(op: str, dtype: str, features: Features) -> tuple[Variant, ...]:
    """Every registered device variant of an operation on a core.

    Parameters
    ----------
    op : str
        Name of the Python function, as in :func:`variants`.
    dtype : {"q7", "q15"}
        Type of the activations.
    features : Features
        Of the core. With a `schedule`, the assembly that is scheduled for other cores is left out.

    Returns
    -------
    tuple of Variant

    Raises
    ------
    ValueError
        Unknown `op` or `dtype`.
    """
    twin = TENSOR_TYPES[dtype].twin if dtype in AFFINE_TYPES else dtype
    families = (family for family in check_op(op, twin).device_families() if family.dtype == twin)
    return tuple(dict.fromkeys(v for family in families if family.suits(features) for v in family.variants()))


@lru_cache(maxsize=64)
def _registered(op: str, dtype: str, features: Features) -> frozenset[Variant]:
    """Whatever their assembly is scheduled for: it is right on every core that builds it."""
    return frozenset(device_variants(op, dtype, replace(features, schedule=None)))


def device_variant_problem(
    layer: Layer, variant: Variant, features: Features, follower: Layer | None = None
) -> str | None:
    """Why the device kernel of `variant` cannot run `layer` on a core with these features; None if it can. `follower`
    is the pooling that a variant with `fused_pool` takes in.
    """
    row = layer.row
    if variant not in _registered(row.name, layer.dtype, features):
        kind = {Isa.SCALAR: "scalar", Isa.DSP: "DSP", Isa.HELIUM: "Helium"}[features.isa]
        return f"no {kind} kernel of {row.name} {layer.dtype} is registered as {variant}"
    if variant.fused_pool and follower is None:
        return "fused_pool needs a max_pool2d or avg_pool2d layer right behind the convolution"
    return next((problem for rule in row.constraints if (problem := rule(layer, variant)) is not None), None)
