# SPDX-License-Identifier: Apache-2.0
"""How often loops turn: what several operations count alike, and counts by name as a table.

The kernels are loop nests whose bounds are known, so cycles are linear in these counts as far as the compiler writes
the same code for every shape; what one run of a part costs is a coefficient of the (operation, variant, core).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from cmsisnn_x.isa import Features, Isa
from cmsisnn_x.layers import Layer
from cmsisnn_x.variant import Variant

Counts = dict[str, np.ndarray | int | float]
"""Part -> how often it runs, for all variants at once."""
Knobs = Callable[[str], np.ndarray]
"""``knob("unroll")``: a knob of all variants."""


def walk_of(variant: Variant) -> str:
    """The loops that a variant runs in: its lowering, with Helium in vectors, or columns that share words."""
    if variant.inner == "helium":
        return f"{variant.lowering} in vectors"
    if variant.weight_layout == "coupled":
        return variant.weight_layout
    return variant.column_layout if variant.column_layout in ("packed", "paired") else variant.lowering


def by_lowering(
    layer: Layer,
    variants: Sequence[Variant | None],
    features: Features,
    parts: Iterable[str],
    counters: Mapping[str, Callable[[Layer, Knobs, Features], Counts]],
) -> np.ndarray:
    """A table of counts, a row per variant and a column per part, of each by the counter of its `walk_of`."""
    chosen = [variant for variant in variants if variant is not None]
    assert len(chosen) == len(variants), "an operation with knobs has no kernel without"
    walks = np.array([walk_of(variant) for variant in chosen])
    column = {name: at for at, name in enumerate(parts)}
    table = np.zeros((len(chosen), len(column)))
    for kind in dict.fromkeys(walks.tolist()):
        rows = np.flatnonzero(walks == kind)
        alike = [chosen[at] for at in rows.tolist()]

        def knob(name: str, alike: Sequence[Variant] = alike) -> np.ndarray:
            return np.array([getattr(variant, name) for variant in alike])

        for name, value in counters[kind](layer, knob, features).items():
            table[rows, column[name]] = value
    return table


def without_knobs(counts: Counts, variants: Sequence[Variant | None], parts: Iterable[str]) -> np.ndarray:
    """A table of counts of an operation with one kernel: the same row for all."""
    column = {name: at for at, name in enumerate(parts)}
    table = np.zeros((len(variants), len(column)))
    for name, value in counts.items():
        table[:, column[name]] = value
    return table


def loop_turns(passes: np.ndarray | int, unroll: np.ndarray | int) -> np.ndarray:
    """Turns of a loop with a constant number of passes that the compiler was asked to unroll.

    GCC writes up to ``unroll + 1`` passes out, leaves up to ``2 * unroll`` in a loop of single passes, and peels what
    does not fill a turn of the others.
    """
    passes, unroll = np.asarray(passes), np.asarray(unroll)
    return np.where(passes <= unroll + 1, 0, np.where(passes <= 2 * unroll, passes, passes // unroll))


def lane_count(layer: Layer, features: Features) -> int:
    """Elements that a step of the loop that widens or copies them takes."""
    return 2 if features.isa >= Isa.DSP and layer.dtype == "q15" else 4


def copy_turns(layer: Layer, size: int, features: Features) -> np.ndarray:
    """Turns of the loop that copies a run of `size` elements."""
    if features.isa < Isa.DSP:
        return loop_turns(size, 4)
    return loop_turns(size // 4, 2) if layer.dtype == "q7" else np.asarray(size // 2 * (size // 2 > 8))


def zero_runs(size: np.ndarray | int, times: np.ndarray | int = 1) -> Counts:
    """Of `times` runs of `size` zero bytes each."""
    return {"zero_lines": np.sum(size // 16 * times), "zero_bytes": np.sum(size % 16 * times)}


def taps_inside(size: int, out: int, kernel: int, stride: int, before: int) -> np.ndarray:
    """For every output position along one axis, how many taps lie inside the input."""
    first = np.arange(out) * stride - before
    return np.maximum(np.minimum(first + kernel, size) - np.maximum(first, 0), 0)


def lines_needed(layer: Layer) -> list[int]:
    """Rows of the padded input that some window needs, each once."""
    out_h, kernel_h, stride = layer.output_image[0], layer.kernel[0], layer.stride[0]
    first = range(-layer.padding[0][0], out_h * stride - layer.padding[0][0], stride)
    return sorted({y + m for y in first for m in range(kernel_h)})
