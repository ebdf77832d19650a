# SPDX-License-Identifier: Apache-2.0
"""One kernel as C text: the macros that it reads and the inclusion that makes it a function.

The firmware, the measured units and the device tests are made of this text alone: what is measured and tested is what
is emitted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cmsisnn_x.channels import channels_of
from cmsisnn_x.layers import Layer
from cmsisnn_x.scheme import TensorType
from cmsisnn_x.steps import Step

from .cgen import C_TYPES, kernel_declare, macro
from .macros import layer_macros

_NEUTRAL = "LAYER"


@dataclass(frozen=True)
class Kernel:
    """What a kernel is, whatever it and its layers are called: equal kernels have equal text, and are one function.

    Attributes
    ----------
    header : str
        Below ``cmsisnn_x/``.
    settings : tuple of tuple
        ``(parameter, value)`` of each layer that it runs: one, or a convolution and the pooling that it takes in.
    operands : tuple of str
        C types that the parameters before the output point to: inputs, then constants. A kernel of any number of inputs
        has one parameter for them all, an array of pointers.
    output : str
        C type of the output's elements.
    """

    header: str
    settings: tuple[tuple[tuple[str, int | str], ...], ...]
    operands: tuple[str, ...]
    output: str

    def macros(self, *prefixes: str) -> dict[str, int | str]:
        """The configuration, with one prefix for each layer."""
        layers = zip(prefixes, self.settings, strict=True)
        return {f"{prefix}_{key}": value for prefix, settings in layers for key, value in settings}

    def inclusion(self, name: str, *prefixes: str, table: str | None = None) -> str:
        """The lines that define the function `name`; the macros under `prefixes` come before them, and so does the
        `table` of a table-driven activation.
        """
        lines = [f"#define CXN_TABLE {table}"] if table else []
        if len(self.settings) == 1:
            lines += [macro("CXN_LAYER", *prefixes), macro("CXN_KERNEL", name)]
        else:
            lines += [macro("CXN_CONVOLVE_LAYER", prefixes[0]), macro("CXN_POOL_LAYER", prefixes[1])]
            lines += [macro("CXN_PAIR", name)]
        declared = kernel_declare(name, self.operands, self.output, is_banded="BAND" in dict(self.settings[0]))
        lines += [declared, f'#include "cmsisnn_x/{self.header}"']
        lines += ["#undef CXN_TABLE"] if table else []
        return "\n".join(lines)


def kernel_of(
    step: Step,
    constants: Sequence[np.ndarray] = (),
    *,
    scratch_bytes: int | None = None,
    input_aligned: bool = True,
    output_aligned: bool = True,
    band: int = 0,
    open_rows: int = 0,
) -> Kernel:
    """The kernel that runs a step.

    Parameters
    ----------
    step : Step
        A layer, or a convolution and the pooling behind it: what that reads lies in the scratch buffer.
    constants : sequence of ndarray
        What the function gets between inputs and output: weights and records of channels, where the layer has them.
    scratch_bytes, input_aligned, output_aligned
        As `layer_macros` takes them; the output is that of the last layer.
    band : int
        Output rows that a call makes at most, which then says its rows; 0: every call makes them all.
    open_rows : int
        Output rows of earlier calls that a call goes on with.
    """
    lead = layer_macros(
        step.lead,
        step.variant,
        _NEUTRAL,
        scratch_bytes=scratch_bytes,
        input_aligned=input_aligned,
        output_aligned=output_aligned or step.pool is not None,
    )
    pool = [] if step.pool is None else [layer_macros(step.pool, None, _NEUTRAL, output_aligned=output_aligned)]
    if step.in_place:
        lead[f"{_NEUTRAL}_IN_PLACE"] = 1
    if band:
        lead[f"{_NEUTRAL}_BAND"] = band
    if open_rows:
        lead[f"{_NEUTRAL}_OPEN_ROWS"] = open_rows
    settings = (tuple((key.removeprefix(f"{_NEUTRAL}_"), own[key]) for key in own) for own in (lead, *pool))
    return Kernel(f"{step.header}.h", tuple(settings), _operands(step.lead, constants), _element(step.last.output_type))


def _element(own: TensorType) -> str:
    """Bytes without a sign only move and index tables, where it makes no difference."""
    return f"int{own.bits}_t"


def _operands(layer: Layer, constants: Sequence[np.ndarray]) -> tuple[str, ...]:
    element, types = _element(layer.type), [C_TYPES[values.dtype] for values in constants]
    if not layer.type.is_affine:
        return element, *types
    if layer.row.is_weighted:
        types[-1] = channels_of(layer).record_type
    if "inputs" in layer.row.roles:
        return f"{element} *const", *types
    return *(element for _ in layer.input_shapes), *types
